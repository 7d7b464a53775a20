"""Every strategy counts a bin at most once in total, and labels agree with an exact search."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from histoscribe.counting import (
    SEVERAL,
    Bins,
    area_weights,
    assign_bins,
    count_nuclei,
    deal_molecules,
    search_points,
)
from histoscribe.counting.grid import fit_grid, project
from histoscribe.errors import UserError

BIN_SIZES_UM = (2.0, 8.0, 16.0)


def array_of_bins(n_rows, n_cols, bin_um, tilt=0.0, perspective=0.0):
    """Bins under a projective map, as Space Ranger places them: centres, rows, columns."""
    row, col = (a.ravel() for a in np.indices((n_rows, n_cols)))
    x, y = (col + 0.5) * bin_um, (row + 0.5) * bin_um
    depth = 1 + perspective * (x - 0.5 * y) / (n_cols * bin_um)
    centre = np.column_stack([x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y])
    return centre / depth[:, None] + 300.0, row, col


def ragged_nuclei(rng, centre_um, bin_um, n):
    """Polygons, polygons with a hole, and polygons in two parts; some overlap."""
    nuclei = []
    for i, middle in enumerate(centre_um[rng.choice(len(centre_um), n)]):
        angle = np.linspace(0, 2 * np.pi, 11)[:-1]
        reach = bin_um * rng.uniform(1, 6) * rng.uniform(0.7, 1.2, 10)
        ring = np.column_stack([np.cos(angle), np.sin(angle)]) * reach[:, None]
        nucleus = shapely.Polygon(middle + ring, [middle + 0.4 * ring] if i % 3 == 1 else None)
        if i % 3 == 2:
            far = shapely.transform(nucleus, lambda xy: xy + 20 * bin_um)
            nucleus = shapely.MultiPolygon([nucleus, far])
        nuclei.append(nucleus)
    nuclei = np.array(nuclei, dtype=object)
    assert shapely.is_valid(nuclei).all()
    return nuclei


def squares_around(centre_um, bin_um):
    corner = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * bin_um / 2
    return shapely.polygons(centre_um[:, None] + corner)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    bin_um=st.sampled_from(BIN_SIZES_UM),
    tilt=st.floats(-0.7, 0.7),
    perspective=st.floats(0, 0.05),
    stray=st.sampled_from([0.0, 1e-6, 0.02, 0.2]),
)
def test_labels_equal_the_exact_search(seed, bin_um, tilt, perspective, stray):
    rng = np.random.default_rng(seed)
    centre, row, col = array_of_bins(40, 30, bin_um, tilt, perspective)
    centre = centre + rng.uniform(-stray, stray, centre.shape) * bin_um
    nuclei = ragged_nuclei(rng, centre, bin_um, 15)
    kept = rng.random(len(centre)) < 0.8
    centre, row, col = centre[kept], row[kept], col[kept]
    found = assign_bins(nuclei, centre, row, col)
    np.testing.assert_array_equal(found, search_points(nuclei, centre))
    assert (found >= 0).any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_centres_on_edges_and_corners_lie_in_no_nucleus(seed):
    """Outlines along the lattice of centres: nearly every border bin is a tie."""
    rng = np.random.default_rng(seed)
    centre, row, col = array_of_bins(30, 30, 2.0)
    corner = centre[rng.choice(len(centre), 20)]
    size = 2.0 * rng.integers(1, 7, (20, 2))
    boxes = shapely.box(*corner.T, *(corner + size).T)
    diamonds = shapely.transform(boxes, lambda xy: xy @ np.array([[1, 1], [-1, 1]]) / 2 + 150)
    nuclei = np.concatenate([boxes, diamonds])
    found = assign_bins(nuclei, centre, row, col)
    np.testing.assert_array_equal(found, search_points(nuclei, centre))
    box = shapely.box(*centre[0], *(centre[0] + (8, 6)))
    assert (assign_bins(np.array([box]), centre, row, col) == 0).sum() == 3 * 2


def test_a_real_projective_map_is_a_grid():
    """Space Ranger's positions are no affine image of the array; a bin's tenth off, unnoticed."""
    centre, row, col = array_of_bins(60, 60, 2.0, 0.01, 0.003)
    grid = fit_grid(row, col, centre, shapely.points(centre[[0, -1]]))
    assert grid.stray < 1e-9
    np.testing.assert_allclose(
        project(centre, grid.to_cells), np.column_stack([col, row]) + 0.5, atol=1e-9
    )


@pytest.mark.parametrize("n_bins", [1, 2, 3, 30])
def test_bins_in_one_line_are_searched(n_bins):
    centre = np.column_stack([np.full(n_bins, 5.0), np.arange(n_bins) * 2.0])
    nuclei = np.array([shapely.box(0, -1, 9, 3), shapely.box(0, 1, 9, 5)])
    found = assign_bins(nuclei, centre, np.arange(n_bins), np.zeros(n_bins, int))
    expected = np.full(n_bins, -1)
    expected[:3] = [0, SEVERAL, 1][:n_bins]
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(UserError, match="in one line"):
        area_weights(nuclei, centre, np.arange(n_bins), np.zeros(n_bins, int))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    bin_um=st.sampled_from(BIN_SIZES_UM),
    mirrored=st.booleans(),
)
def test_area_weights_are_areas_of_intersections(seed, bin_um, mirrored):
    rng = np.random.default_rng(seed)
    centre, row, col = array_of_bins(40, 30, bin_um)
    if mirrored:
        row = row.max() - row
    nuclei = ragged_nuclei(rng, centre, bin_um, 12)
    kept = rng.random(len(centre)) < 0.8
    centre, row, col = centre[kept], row[kept], col[kept]
    weights = area_weights(nuclei, centre, row, col).toarray()
    squares = squares_around(centre, bin_um)
    share = shapely.area(shapely.intersection(nuclei[:, None], squares[None])) / bin_um**2
    np.testing.assert_allclose(weights, share / np.maximum(share.sum(axis=0), 1), atol=1e-8)


def test_area_weights_of_outlines_along_the_bins():
    centre, row, col = array_of_bins(10, 10, 2.0)
    low = centre.min(axis=0) - 1
    nuclei = np.array(
        [shapely.box(*low, low[0] + 6, low[1] + 4), shapely.box(*(low - 3), *(low + 1))]
    )
    weights = area_weights(nuclei, centre, row, col)
    assert weights[1].sum() == pytest.approx(0.25 / 1.25)
    # The first bin lies in both: 1 and a quarter, scaled down to 1 in sum.
    assert weights[0].nnz == 6
    assert weights[:, 0].sum() == pytest.approx(1)
    assert weights[0].sum() == pytest.approx(5 + 1 / 1.25)


def test_area_weights_on_a_warped_grid():
    rng = np.random.default_rng(1)
    centre, row, col = array_of_bins(25, 25, 2.0)
    centre = centre + np.column_stack([np.sin(row / 3), np.cos(col / 3)])
    nuclei = ragged_nuclei(rng, centre, 2.0, 9)
    assert fit_grid(row, col, centre, nuclei) is None
    weights = area_weights(nuclei, centre, row, col)
    assert weights.sum(axis=0).max() <= 1 + 1e-9
    # Whole bins' worth of a nucleus, give or take the warp.
    inside = nuclei[shapely.within(nuclei, shapely.box(304, 304, 346, 346))]
    found = area_weights(inside, centre, row, col)
    overlap = shapely.area(shapely.union_all(inside)) / 4
    assert found.sum() == pytest.approx(overlap, rel=0.35)


def counted(rng, strategy, bin_um):
    centre, row, col = array_of_bins(30, 30, bin_um)
    nuclei = ragged_nuclei(rng, centre, bin_um, 14)
    counts = sparse.csr_matrix(rng.poisson(2.0, (len(centre), 5)), dtype=np.int32)
    var = pd.DataFrame(index=list("abcde"))
    frame = gpd.GeoDataFrame(
        {"area_um2": shapely.area(nuclei)}, geometry=nuclei, index=[f"n{i}" for i in range(14)]
    )
    grown = frame.set_geometry(shapely.buffer(nuclei, bin_um))
    bins = Bins(counts, row, col, centre, var, {})
    return bins, count_nuclei(bins, frame, strategy, grown, seed=3)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    strategy=st.sampled_from(["nucleus", "expanded", "area"]),
    bin_um=st.sampled_from(BIN_SIZES_UM),
)
def test_a_molecule_counts_at_most_once(seed, strategy, bin_um):
    bins, (units, accounting) = counted(np.random.default_rng(seed), strategy, bin_um)
    assert units.X.dtype == np.int32
    assert units.X.data.min(initial=1) > 0
    assert np.all(units.X.sum(axis=0) <= bins.counts.sum(axis=0))
    assert accounting["umi_assigned"] == units.X.sum()
    where = {"nucleus": "nuclei", "expanded": "cells", "area": "touched_bins"}[strategy]
    assert accounting["umi_assigned"] <= accounting[f"umi_in_{where}"]
    assert accounting[f"umi_in_{where}"] <= accounting["umi_under_tissue"] == bins.counts.sum()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_each_bin_is_dealt_at_most_once(seed):
    """With a gene of its own for each bin, the columns of the result are bins."""
    rng = np.random.default_rng(seed)
    centre, row, col = array_of_bins(15, 15, 2.0)
    weights = area_weights(ragged_nuclei(rng, centre, 2.0, 9), centre, row, col)
    molecules = rng.integers(1, 6, len(centre)).astype(np.int32)
    dealt = deal_molecules(sparse.diags(molecules, format="csr", dtype=np.int32), weights, seed)
    total = np.asarray(dealt.sum(axis=0)).ravel()
    assert np.all(total <= molecules)
    covered = np.asarray(weights.sum(axis=0)).ravel()
    np.testing.assert_array_equal(total[covered == 0], 0)
    full = covered > 1 - 1e-12
    np.testing.assert_array_equal(total[full], molecules[full])


def test_dealing_expects_the_weighted_sum_and_follows_its_seed():
    rng = np.random.default_rng(0)
    centre, row, col = array_of_bins(20, 20, 2.0)
    weights = area_weights(ragged_nuclei(rng, centre, 2.0, 8), centre, row, col)
    counts = sparse.csr_matrix(rng.poisson(3.0, (len(centre), 4)), dtype=np.int32)
    dealt = [deal_molecules(counts, weights, seed).toarray() for seed in range(400)]
    expected = (weights @ counts).toarray()
    # A molecule's share has variance w (1 - w); five standard errors of the mean of 400.
    variance = ((weights - weights.multiply(weights)) @ counts).toarray()
    spread = np.sqrt(variance / len(dealt))
    assert np.all(np.abs(np.mean(dealt, axis=0) - expected) <= 5 * spread + 1e-9)
    np.testing.assert_array_equal(dealt[7], deal_molecules(counts, weights, 7).toarray())
    assert (dealt[7] != dealt[8]).any()


def test_expanded_counts_in_the_grown_outlines():
    rng = np.random.default_rng(5)
    bins, (units, _) = counted(rng, "expanded", 2.0)
    assert (units.obs["counted_area_um2"] > units.obs["area_um2"]).all()
    grown = units.obs["counted_area_um2"].to_numpy()
    assert units.obs["n_bins"].sum() > 0
    assert np.all(units.obs["n_bins"] <= 1.5 * grown / 4 + 10)
    assert len(bins.row) == 900


def test_an_unknown_strategy_is_named():
    with pytest.raises(UserError, match="found nearest; expected nucleus or expanded or area"):
        counted(np.random.default_rng(0), "nearest", 2.0)
