"""Units and their counts: nuclei from bins or transcripts, and units where nothing was measured."""

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy import sparse

from histoscribe.counting.assignment import PointAssigner, assign_bins, sum_bins
from histoscribe.counting.bins import Bins
from histoscribe.counting.grid import SEVERAL
from histoscribe.counting.sharing import area_weights, deal_molecules
from histoscribe.errors import UserError, problem
from histoscribe.readers.transcript_table import TranscriptTable

STRATEGIES = ("nucleus", "expanded", "area")


def count_nuclei(
    bins: Bins,
    nuclei: gpd.GeoDataFrame,
    strategy: str = "nucleus",
    grown: gpd.GeoDataFrame | None = None,
    seed: int = 0,
    outlined: str = "nucleus",
) -> tuple[ad.AnnData, dict[str, int]]:
    """Nuclei x genes from bins, and the accounting of bins and molecules.

    `grown` are the outlines to count in under `expanded`, in the order of `nuclei`; `seed` deals
    the molecules under `area`, where a bin lies in a nucleus that covers any of it. `outlined`,
    nucleus or cell, is what the accounting calls the outlines; grown ones are cells. `obs` has
    area_um2 and n_bins (those with a part in the nucleus), and counted_area_um2 under `expanded`.
    Raises UserError when no bin lies in any nucleus.
    """
    outlines = _counted_outlines(nuclei, strategy, grown)
    umi = np.asarray(bins.counts.sum(axis=1)).ravel()
    if strategy == "area":
        weights = area_weights(outlines, bins.centre_um, bins.row, bins.column)
        n_covering = np.bincount(weights.indices, minlength=len(umi))
        in_one, in_several = n_covering == 1, n_covering > 1
        n_bins = np.diff(weights.indptr)
    else:
        nucleus = assign_bins(outlines, bins.centre_um, bins.row, bins.column)
        in_one, in_several = nucleus >= 0, nucleus == SEVERAL
        n_bins = np.bincount(nucleus[in_one], minlength=len(nuclei))
    if not n_bins.any():
        raise _nothing_inside(f"{len(umi)} bins", len(nuclei))
    if strategy == "area":
        counts = deal_molecules(bins.counts, weights, seed)
    else:
        counts = sum_bins(bins.counts, nucleus, len(nuclei))
    units = _units(counts, nuclei, bins.var, outlines if strategy == "expanded" else None)
    units.obs["n_bins"] = n_bins
    one, several = _names(strategy, outlined)
    touching = strategy == "area"
    accounting = {
        "bins_under_tissue": len(umi),
        f"bins_{'touching' if touching else 'in'}_one_{one}": int(in_one.sum()),
        f"bins_{'touching' if touching else 'in'}_several_{several}": int(in_several.sum()),
        "umi_under_tissue": int(umi.sum()),
        f"umi_in_{'touched_bins' if touching else several}": int(umi[in_one | in_several].sum()),
        "umi_assigned": int(counts.sum()),
    }
    return units, accounting


def count_transcripts(
    x_um: np.ndarray,
    y_um: np.ndarray,
    gene_codes: np.ndarray,
    genes: list[str],
    outlines: np.ndarray,
) -> sparse.csr_matrix:
    """Nuclei x genes from molecules with positions of their own: (n_nuclei, n_genes) int32.

    `x_um`, `y_um`, `gene_codes` (n_transcripts,); a code is the gene's place in `genes`. A
    molecule belongs to the one outline that alone holds it.
    """
    nucleus = PointAssigner(outlines).assign(np.column_stack([x_um, y_um]))
    return _sum_transcripts(nucleus, gene_codes, (len(outlines), len(genes)))


def count_table(
    table: TranscriptTable,
    nuclei: gpd.GeoDataFrame,
    strategy: str = "nucleus",
    grown: gpd.GeoDataFrame | None = None,
    outlined: str = "nucleus",
) -> tuple[ad.AnnData, dict[str, int]]:
    """Nuclei x genes from a table of transcripts, read in pieces, and its accounting.

    As `count_nuclei`, but that `area` is `nucleus`, since a point has no area.
    """
    outlines = _counted_outlines(nuclei, strategy, grown)
    assigner = PointAssigner(outlines)
    shape = len(nuclei), len(table.genes)
    counts = sparse.csr_matrix(shape, dtype=np.int32)
    total = in_several = 0
    for points_um, gene_codes in table.pieces():
        nucleus = assigner.assign(points_um)
        counts = counts + _sum_transcripts(nucleus, gene_codes, shape)
        total += len(nucleus)
        in_several += int((nucleus == SEVERAL).sum())
    assigned = int(counts.sum())
    if assigned == 0:
        raise _nothing_inside(f"{total} transcripts", len(nuclei))
    _, several = _names(strategy, outlined)
    accounting = {
        **table.facts["accounting"],
        f"transcripts_in_{several}": assigned + in_several,
        f"transcripts_in_several_{several}": in_several,
        "transcripts_assigned": assigned,
    }
    units = _units(counts, nuclei, table.var, outlines if strategy == "expanded" else None)
    return units, accounting


def count_given(measured: ad.AnnData, cells: gpd.GeoDataFrame) -> tuple[ad.AnnData, dict[str, int]]:
    """Cells x genes as the platform's own software counted them, and the accounting of molecules.

    `measured.uns` has umi_under_tissue, with the molecules between cells. Cells without an
    outline in `cells` are left out, and outlines without counts. Raises UserError where no cell
    has both.
    """
    at = measured.obs_names.get_indexer(cells.index)
    if not (at >= 0).any():
        raise _nothing_inside(f"{measured.n_obs} counted cells", len(cells))
    units = _units(measured.X[at[at >= 0]], cells[at >= 0], measured.var)
    assigned = int(units.X.sum())
    accounting = {
        "umi_under_tissue": int(measured.uns["umi_under_tissue"]),
        "umi_in_cells": int(measured.X.sum()),
        "umi_assigned": assigned,
    }
    return units, accounting


def _names(strategy: str, outlined: str) -> tuple[str, str]:
    """What the accounting calls one outline and several: grown nuclei are cells."""
    is_cell = strategy == "expanded" or outlined == "cell"
    return ("cell", "cells") if is_cell else ("nucleus", "nuclei")


def _sum_transcripts(
    nucleus: np.ndarray, gene_codes: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_matrix:
    inside = nucleus >= 0
    ones = np.ones(int(inside.sum()), dtype=np.int32)
    return sparse.coo_matrix((ones, (nucleus[inside], gene_codes[inside])), shape=shape).tocsr()


def _counted_outlines(
    nuclei: gpd.GeoDataFrame, strategy: str, grown: gpd.GeoDataFrame | None
) -> np.ndarray:
    if strategy not in STRATEGIES:
        raise UserError(
            problem(
                "config, counting strategy",
                strategy,
                " or ".join(STRATEGIES),
                "Choose one of them.",
            )
        )
    if strategy != "expanded":
        return np.asarray(nuclei.geometry)
    if grown is None or not grown.index.equals(nuclei.index):
        raise ValueError("strategy expanded needs grown outlines in the order of the nuclei")
    return np.asarray(grown.geometry)


def _units(
    counts: sparse.csr_matrix,
    nuclei: gpd.GeoDataFrame,
    var: pd.DataFrame,
    grown: np.ndarray | None = None,
) -> ad.AnnData:
    """Units x genes; `grown` are the outlines that were counted in, where they are not `nuclei`."""
    units = outline_units(nuclei)
    units = ad.AnnData(counts, obs=units.obs, var=var.copy(), obsm=units.obsm)
    if grown is not None:
        units.obs["counted_area_um2"] = shapely.area(grown)
    return units


def _nothing_inside(what: str, n_nuclei: int) -> UserError:
    return UserError(
        problem(
            "nuclei and what was measured",
            f"none of {what} inside any of {n_nuclei} nuclei",
            "nuclei that lie on the tissue that was measured",
            "Check that the polygons belong to this image and are in its scale.",
        )
    )


def grid_units(width_um: float, height_um: float, bin_um: float) -> ad.AnnData:
    """Square bins that tile an image of nothing measured: units without genes."""
    x, y = np.meshgrid(
        np.arange(bin_um / 2, width_um, bin_um), np.arange(bin_um / 2, height_um, bin_um)
    )
    row, column = np.indices(x.shape)
    units = ad.AnnData(
        sparse.csr_matrix((x.size, 0), dtype=np.int32),
        obs=pd.DataFrame(
            {"array_row": row.ravel(), "array_col": column.ravel()},
            index=[f"bin_{r}_{c}" for r, c in zip(row.ravel(), column.ravel(), strict=True)],
        ),
    )
    units.obsm["spatial"] = np.column_stack([x.ravel(), y.ravel()])
    return units


def outline_units(nuclei: gpd.GeoDataFrame) -> ad.AnnData:
    """Nuclei of an image of nothing measured: units without genes."""
    units = ad.AnnData(
        sparse.csr_matrix((len(nuclei), 0), dtype=np.int32),
        obs=pd.DataFrame(
            {"area_um2": nuclei["area_um2"].to_numpy()}, index=nuclei.index.astype(str)
        ),
    )
    units.obsm["spatial"] = shapely.get_coordinates(shapely.centroid(np.asarray(nuclei.geometry)))
    return units
