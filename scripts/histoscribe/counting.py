"""Counts of units: bins summed over nuclei, or bins and spots as they are.

A bin belongs to a nucleus when its centre lies in exactly one nucleus (Wen et al. 2025, Methods).
The bins form a grid, so nuclei are drawn on the grid as a label raster, and the sum over bins is
one sparse product.
"""

import logging
from dataclasses import dataclass

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy import sparse

from histoscribe.errors import UserError, problem
from histoscribe.raster import scan_outlines

LOG = logging.getLogger(__name__)
FITTED_BINS = 20_000
GRID_TOLERANCE = 0.05  # of a bin's edge: how far positions may stray from an exact grid


@dataclass(frozen=True)
class BinAssignment:
    """Which nucleus each bin belongs to.

    `nucleus` (n_bins,) is the row of the nucleus, -1 where none or several; `n_covering` (n_bins,)
    counts the nuclei that cover the bin's centre.
    """

    nucleus: np.ndarray
    n_covering: np.ndarray


def assign_bins(
    outlines: np.ndarray, centre_um: np.ndarray, row: np.ndarray, column: np.ndarray
) -> BinAssignment:
    """Assign bins to nuclei by a label raster on the bins' own grid.

    `outlines` (n_nuclei,) polygons and `centre_um` (n_bins, 2) share the image frame; `row` and
    `column` (n_bins,) are the bins' array positions. Positions that are no affine image of the
    array (a warped registration) fall back to an exact point-in-polygon search.
    """
    if len(centre_um) < 3:
        return _assign_by_search(outlines, centre_um)
    to_um = _affine_of_grid(row, column, centre_um)
    residual = max(
        np.abs(row * to_um[0, axis] + column * to_um[1, axis] + to_um[2, axis] - centre).max()
        for axis, centre in enumerate(centre_um.T)
    )
    edge = np.sqrt(abs(np.linalg.det(to_um[:2])))
    if edge == 0 or residual > GRID_TOLERANCE * edge:
        return _assign_by_search(outlines, centre_um)

    first_row, first_column = int(row.min()), int(column.min())
    shape = (int(row.max()) - first_row + 1, int(column.max()) - first_column + 1)
    points, ring = shapely.get_coordinates(shapely.get_exterior_ring(outlines), return_index=True)
    # Array positions are the bins' centres, so a bin covers half a step to either side.
    on_grid = (points - to_um[2]) @ np.linalg.inv(to_um[:2]) + 0.5 - (first_row, first_column)
    in_row, in_column, owner = scan_outlines(on_grid[:, ::-1], ring, ring, decimals=12)
    inside = (in_row >= 0) & (in_row < shape[0]) & (in_column >= 0) & (in_column < shape[1])
    cell = np.ravel_multi_index((in_row[inside], in_column[inside]), shape)
    covering = np.bincount(cell, minlength=shape[0] * shape[1])
    label = np.zeros(shape[0] * shape[1], dtype=np.int32)
    label[cell] = owner[inside]
    bins = np.ravel_multi_index((row - first_row, column - first_column), shape)
    n_covering = covering[bins]
    return BinAssignment(np.where(n_covering == 1, label[bins], -1), n_covering)


def _affine_of_grid(row: np.ndarray, column: np.ndarray, centre_um: np.ndarray) -> np.ndarray:
    """The affine map (3, 2) from row, column, 1 to um, fitted on bins all over the grid."""
    fitted = np.linspace(0, len(row) - 1, min(len(row), FITTED_BINS)).astype(np.int64)
    array = np.column_stack([row[fitted], column[fitted], np.ones(len(fitted))])
    return np.linalg.lstsq(array, centre_um[fitted], rcond=None)[0]


def _assign_by_search(outlines: np.ndarray, centre_um: np.ndarray) -> BinAssignment:
    points = shapely.points(centre_um)
    in_bin, in_nucleus = shapely.STRtree(outlines).query(points, predicate="within")
    n_covering = np.bincount(in_bin, minlength=len(points))
    nucleus = np.full(len(points), -1, dtype=np.int64)
    nucleus[in_bin] = in_nucleus
    return BinAssignment(np.where(n_covering == 1, nucleus, -1), n_covering)


def sum_bins(counts: sparse.csr_matrix, nucleus: np.ndarray, n_nuclei: int) -> sparse.csr_matrix:
    """Counts of nuclei: (n_nuclei, n_genes) from bins x genes and each bin's nucleus (-1: none)."""
    bins = np.flatnonzero(nucleus >= 0)
    indicator = sparse.csr_matrix(
        (np.ones(len(bins), dtype=counts.dtype), (nucleus[bins], bins)),
        shape=(n_nuclei, counts.shape[0]),
    )
    return indicator @ counts


def count_nuclei(bins: ad.AnnData, nuclei: gpd.GeoDataFrame) -> tuple[ad.AnnData, dict[str, int]]:
    """Nuclei x genes from 2 um bins, and the accounting of bins and molecules.

    Raises UserError when no bin lies in any nucleus.
    """
    outlines = np.asarray(nuclei.geometry)
    assignment = assign_bins(
        outlines,
        np.asarray(bins.obsm["spatial"]),
        bins.obs["array_row"].to_numpy(),
        bins.obs["array_col"].to_numpy(),
    )
    assigned = assignment.nucleus >= 0
    if not assigned.any():
        raise UserError(
            problem(
                "nuclei and bins",
                f"none of {bins.n_obs} bins inside any of {len(nuclei)} nuclei",
                "nuclei that lie on the tissue that was measured",
                "Check that the polygons belong to this image and are in its scale.",
            )
        )
    counts = sum_bins(bins.X, assignment.nucleus, len(nuclei))
    units = ad.AnnData(
        counts,
        obs=pd.DataFrame(
            {
                "area_um2": nuclei["area_um2"].to_numpy(),
                "n_bins": np.bincount(assignment.nucleus[assigned], minlength=len(nuclei)),
            },
            index=nuclei.index.astype(str),
        ),
        var=bins.var.copy(),
    )
    units.obsm["spatial"] = shapely.get_coordinates(shapely.centroid(outlines))
    umi = np.asarray(bins.X.sum(axis=1)).ravel()
    if not assigned.all() and umi[assigned].mean() < umi[~assigned].mean():
        LOG.warning(
            "bins in nuclei hold %.2f molecules, those outside %.2f: are the polygons mirrored, "
            "shifted or of another section?",
            umi[assigned].mean(),
            umi[~assigned].mean(),
        )
    accounting = {
        "bins_under_tissue": int(bins.n_obs),
        "bins_in_one_nucleus": int(assigned.sum()),
        "bins_in_several_nuclei": int((assignment.n_covering > 1).sum()),
        "umi_under_tissue": int(umi.sum()),
        "umi_assigned": int(umi[assigned].sum()),
    }
    return units, accounting


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
