"""Intervals: what the sums give is what resampling gives, and they hold the truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from histoscribe.block_bootstrap import (
    Replicates,
    compare,
    interval,
    replicate_scores,
    replicate_table,
    resample_blocks,
)
from histoscribe.evaluation.scores import pearson


@pytest.fixture
def section():
    """Positions, measured and predicted values of 900 units and 3 genes; the last is constant."""
    rng = np.random.default_rng(0)
    xy_um = rng.uniform(0, 1000, (900, 2))
    measured = rng.normal(size=(900, 3)).astype(np.float32) + 5
    predicted = 0.5 * measured + rng.normal(size=(900, 3)).astype(np.float32)
    predicted[:, 2] = 1.5
    return xy_um, measured, predicted


def test_sums_of_blocks_equal_resampled_units(section):
    xy_um, measured, predicted = section
    block, draws = resample_blocks(xy_um, 250, 20, seed=3)
    assert draws.shape == (20, 16)
    assert (draws.sum(axis=1) == 16).all()
    found = replicate_scores(measured, predicted, block, draws)
    for replicate, counts in enumerate(draws):
        rows = np.concatenate([np.flatnonzero(block == b) for b in np.repeat(range(16), counts)])
        a, b = measured[rows].astype(float), predicted[rows].astype(float)
        np.testing.assert_allclose(found.pcc[replicate], pearson(a, b), atol=1e-9)
        rmse = np.sqrt(((a - b) ** 2).mean(axis=0))
        np.testing.assert_allclose(found.rmse[replicate], rmse, rtol=1e-9)


def test_blocks_are_squares_of_the_section():
    xy_um = np.array([[-1.0, 5], [1, 5], [99, 99], [101, 99], [101, 199]])
    block, _ = resample_blocks(xy_um, 100, 5, seed=0)
    assert len(set(block)) == 4
    assert block[1] == block[2]


def test_equal_seeds_draw_equally(section):
    xy_um, _, _ = section
    first, second = (resample_blocks(xy_um, 100, 50, seed=1)[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (resample_blocks(xy_um, 100, 50, seed=2)[1] != first).any()


def field(rng, side, sigma):
    smooth = ndimage.gaussian_filter(rng.normal(size=(side, side)), sigma, mode="wrap")
    return smooth.ravel() / smooth.std()


def test_intervals_hold_the_truth_where_neighbours_are_alike():
    """Units resampled one by one would promise far too much: fields vary over several units."""
    rng = np.random.default_rng(0)
    side, truth, n = 48, 0.5, 60
    row, column = np.mgrid[:side, :side]
    xy_um = 10.0 * np.column_stack([column.ravel(), row.ravel()])
    held = {block_um: 0 for block_um in (120, 1)}
    for _ in range(n):
        a, b = field(rng, side, 2), field(rng, side, 2)
        predicted = (truth * a + np.sqrt(1 - truth**2) * b)[:, None]
        for block_um in held:
            block, draws = resample_blocks(xy_um, block_um, 200, seed=0)
            replicates = replicate_scores(a[:, None], predicted, block, draws).pcc
            low, high = interval(replicates, pearson(a[:, None], predicted))
            held[block_um] += low <= truth <= high
    assert held[120] >= 0.85 * n
    assert held[1] < 0.6 * n


def test_the_interval_allows_for_the_bias_of_resampling():
    """Replicates that lie lower than the estimate do not draw the interval down with them."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.2, 0.02, (20_000, 2))
    even, moved = interval(values, np.array([0.2, 0.22])).T
    np.testing.assert_allclose(even, [0.2 - 0.0392, 0.2 + 0.0392], atol=0.002)
    np.testing.assert_allclose(moved, [0.24 - 0.0392, 0.24 + 0.0392], atol=0.006)
    assert (interval(np.full((100, 1), 0.3), 0.3) == 0.3).all()


def test_replicates_become_the_scores_of_the_summary():
    pcc = np.array([[0.1, 0.4, 0.9], [0.2, 0.5, 0.8]])
    table = replicate_table(
        Replicates(pcc, 2 * pcc), np.array([0.2, 0.5, 0.01]), np.array([True, True, False])
    )
    np.testing.assert_allclose(table["pcc_mean"], pcc.mean(axis=1))
    np.testing.assert_allclose(table["fraction_of_ceiling_median"], [0.65, 1.0])


def test_pairs_are_compared_replicate_by_replicate():
    """Two models that vary together differ surely, though their intervals overlap."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0.3, 0.05, 400)
    tables = {
        "full": pd.DataFrame({"pcc_mean": shared}),
        "worse": pd.DataFrame({"pcc_mean": shared - 0.02 + rng.normal(0, 0.003, 400)}),
    }
    reached = {name: table["pcc_mean"].mean() for name, table in tables.items()}
    (row,) = compare(tables, reached, "full").to_dict("records")
    assert (row["experiment"], row["against"]) == ("worse", "full")
    assert row["low"] < row["pcc_difference"] < row["high"] < 0
    assert row["pcc_difference"] == pytest.approx(-0.02, abs=0.001)
