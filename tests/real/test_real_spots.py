"""Sums over spots on real sections."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.spatial import cKDTree

from histoscribe.expression import log_normalise
from histoscribe.filtering import add_quality
from histoscribe.platforms import measured_files
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.readers import open_section, read_section
from histoscribe.spots.comparison import SpotSettings, compare_with_spots

SETTINGS = SpotSettings(
    diameter_um=None, weights="equal", ceiling_repeats=3, n_replicates=100, block_um=400
)


def as_units(counts, names, genes, xy_um, area_um2):
    """Counted cells in the form of a prediction: what a perfect model would see of them."""
    umi = np.asarray(counts.sum(axis=1)).ravel()
    return ad.AnnData(
        log_normalise(counts, umi, "median"),
        obs=pd.DataFrame({"area_um2": area_um2}, index=names),
        var=pd.DataFrame(index=genes),
        layers={"probability": (counts > 0).toarray().astype(np.float32)},
        obsm={"spatial": xy_um},
    )


@pytest.fixture(scope="module")
def breast(real_data):
    """Cells (Xenium) and spots (Visium) of one breast tumour, brought into one frame by others."""
    folder = real_data / "breast_visium_xenium_aligned"
    visium, xenium = (
        pd.read_csv(folder / f"{n}.csv.gz", index_col=0) for n in ("visium", "xenium")
    )
    frame = ["aligned_x", "aligned_y"]
    spots_xy, cells_xy = visium[frame].to_numpy(), xenium[frame].to_numpy()
    pitch = np.median(cKDTree(spots_xy).query(spots_xy, k=2)[0][:, 1])
    um = 100 / pitch
    spot_genes, cell_genes = visium.columns[3:], xenium.columns[5:]
    counts = sparse.csr_matrix(visium[spot_genes].to_numpy(np.int32))
    spots = ad.AnnData(
        counts,
        obs=pd.DataFrame(index=visium["barcode"]),
        var=pd.DataFrame(index=spot_genes),
        obsm={"spatial": spots_xy * um},
    )
    spots.uns[RECORD_KEY] = record(sample="breast", platform="visium", unit_size_um=55.0)
    cells = as_units(
        sparse.csr_matrix(xenium[cell_genes].to_numpy(np.int32)),
        xenium["cell_id"].astype(str).to_numpy(),
        cell_genes,
        cells_xy * um,
        xenium["cell_area"].to_numpy(),
    )
    return cells, spots


def test_measured_cells_summed_over_spots_agree_with_the_measured_spots(breast):
    """Two technologies on neighbouring slices, whose alignment is some 30 um off.

    Mean PCC over 307 genes 0.166 (noise ceiling of the spots alone 0.51; cells have theirs too).
    """
    cells, spots = breast
    result = compare_with_spots(cells, spots, SETTINGS, seed=0)
    row = result.section.iloc[0]
    genes = result.genes.set_index("gene")
    assert row["n_genes"] == 307
    assert row["n_spots_compared"] > 650
    assert row["units_per_spot"] == pytest.approx(6.55, abs=0.3)
    assert row["pcc_mean"] == pytest.approx(0.166, abs=0.01)
    assert row["pcc_mean_low"] > 0.13
    assert row["pcc_total"] > 0.5
    # Fat, fibroblasts, basal epithelium and T cells.
    assert (genes.loc[["ADIPOQ", "CXCL12", "MMP2", "KRT14", "IL7R"], "pcc"] > 0.4).all()


@pytest.mark.parametrize("shift_um", [(250, 0), (-250, 0), (0, 250), (0, -250)])
def test_agreement_is_lost_where_cells_lie_elsewhere(breast, shift_um):
    cells, spots = breast
    here = compare_with_spots(cells, spots, SETTINGS, seed=0).section["pcc_mean"].item()
    moved = cells.copy()
    moved.obsm["spatial"] = moved.obsm["spatial"] + shift_um
    there = compare_with_spots(moved, spots, SETTINGS, seed=0).section["pcc_mean"].item()
    assert there < 0.7 * here


def test_her2st_spots_are_found_again_from_units_within_them(real_data):
    """Units that hold their spot's own expression, on the spots that the reader places."""
    folder = real_data / "her2st" / "C2"
    files = measured_files("legacy_st", folder, "nucleus", 8)
    spots = read_section(open_section("C2", "legacy_st", folder / "C2_HE.jpg", files, None))
    add_quality(spots)
    rng = np.random.default_rng(0)
    xy_um = np.asarray(spots.obsm["spatial"])
    spot = np.repeat(np.arange(spots.n_obs), 5)
    own = spots.var_names[np.argsort(-np.asarray(spots.X.sum(axis=0)).ravel())[:200]]
    counts = spots[:, own].X[spot]
    around = xy_um[spot] + rng.uniform(-30, 30, (len(spot), 2))
    between = xy_um + 90  # spots are 200 um apart and 100 um wide
    units = as_units(
        sparse.vstack([counts, counts[: spots.n_obs]]).tocsr(),
        [f"u{i}" for i in range(len(spot) + spots.n_obs)],
        own,
        np.vstack([around, between]),
        30.0,
    )
    result = compare_with_spots(units, spots, SETTINGS, seed=0)
    row = result.section.iloc[0]
    assert row["diameter_um"] == 100
    assert row["n_units_in_spots"] == len(spot)
    assert (result.genes["pcc"] > 0.999).all()
    assert row["within_share"] < 0.01
