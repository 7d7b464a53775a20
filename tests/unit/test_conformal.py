import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histoscribe.uncertainty.conformal import (
    MAX_GROUPS,
    coverage_of,
    fit_intervals,
    interval_ends,
    intervals_of,
)


def sparse_counts(n, seed, n_genes=12):
    """Predicted and measured log1p values: rates from 0.02 to 8 a unit, depths that differ."""
    rng = np.random.default_rng(seed)
    base = np.geomspace(0.02, 8, n_genes)
    rate = base * np.exp(0.6 * rng.normal(size=(n, n_genes)) - 0.18)
    depth = rng.gamma(4, 0.25, size=(n, 1))
    dispersed = rng.gamma(3, rate / 3)
    measured = np.log1p(rng.poisson(dispersed * depth) / np.maximum(depth, 0.2))
    predicted = np.log1p(rate) * 0.8 + 0.02
    return predicted.astype(np.float32), measured.astype(np.float32)


def fitted(n=20_000, seed=0, miscoverage=0.1):
    predicted, measured = sparse_counts(n, seed)
    return fit_intervals(predicted, measured, np.zeros(n), miscoverage)


@pytest.mark.parametrize("miscoverage", [0.05, 0.1, 0.3])
def test_fresh_zero_inflated_units_are_covered_as_promised(miscoverage):
    intervals = fitted(miscoverage=miscoverage)
    predicted, measured = sparse_counts(20_000, seed=1)
    assert (measured == 0).mean(axis=0).max() > 0.95
    found = coverage_of(intervals, predicted, measured, seed=0)
    np.testing.assert_allclose(found.randomised, 1 - miscoverage, atol=0.02)
    assert (found.plain >= 1 - miscoverage - 0.02).all()
    # Plain coverage exceeds nominal only where an interval holds nothing but 0.
    mixed = (measured == 0).mean(axis=0) < (1 - miscoverage) * 0.9
    np.testing.assert_allclose(found.plain[mixed], 1 - miscoverage, atol=0.02)


def test_coverage_holds_at_every_level_of_the_prediction():
    """Intervals of one width for all would cover faint units too often, bright ones too rarely."""
    intervals = fitted()
    predicted, measured = sparse_counts(40_000, seed=2)
    gene = predicted.shape[1] - 1
    for part in np.array_split(np.argsort(predicted[:, gene]), 5):
        found = coverage_of(intervals, predicted[part], measured[part], seed=0)
        assert found.randomised[gene] == pytest.approx(0.9, abs=0.025)
    lower, upper = interval_ends(intervals, predicted)
    width = (upper - lower)[:, 6]
    faint, *_, bright = np.array_split(np.argsort(predicted[:, 6]), 5)
    assert width[bright].mean() > 1.5 * width[faint].mean()


def test_ends_are_ordered_and_not_negative():
    predicted, measured = sparse_counts(5000, seed=3)
    intervals = fitted(5000)
    lower, upper = interval_ends(intervals, predicted)
    assert lower.dtype == upper.dtype == np.float32
    assert (lower >= 0).all()
    assert (lower <= upper).all()
    inside = ((measured >= lower) & (measured <= upper)).mean(axis=0)
    np.testing.assert_allclose(inside, coverage_of(intervals, predicted, measured, 0).plain)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 900), levels=st.integers(1, 6), seed=st.integers(0, 100))
def test_few_units_and_tied_predictions(n, levels, seed):
    """Equal predictions share a group; small groups are not formed; too few units: no bound."""
    rng = np.random.default_rng(seed)
    predicted = rng.integers(0, levels, (n, 2)).astype(np.float32)
    measured = rng.exponential(size=(n, 2)).astype(np.float32)
    intervals = fit_intervals(predicted, measured, np.zeros(n), 0.1)
    assert intervals.edges.shape == (2, MAX_GROUPS - 1)
    for gene in range(2):
        edges = intervals.edges[gene][np.isfinite(intervals.edges[gene])]
        group = np.searchsorted(edges, predicted[:, gene], side="right")
        assert np.bincount(group).min() >= min(n, 200)
    upper = interval_ends(intervals, predicted)[1]
    assert np.isinf(upper).all() == (n < 19)
    assert not np.isnan(upper).any()


def test_a_prediction_that_only_differs_between_fits_makes_one_group():
    """The training mean of a fold is low where the fold's own units are high."""
    fit_of = np.repeat(np.arange(4), 1000)
    measured = np.random.default_rng(0).exponential(size=(4000, 1)).astype(np.float32)
    predicted = np.array([0.9, 1.0, 1.1, 1.2], dtype=np.float32)[fit_of][:, None]
    intervals = fit_intervals(predicted, measured, fit_of, 0.1)
    assert np.isinf(intervals.edges).all()


def test_the_coin_is_seeded_and_only_for_zeros():
    predicted, measured = sparse_counts(3000, seed=5)
    intervals = fitted()
    first, second, other = (coverage_of(intervals, predicted, measured, s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.randomised, second.randomised)
    assert (first.randomised != other.randomised).any()
    positive = np.where(measured > 0, measured, 0.5)
    found = coverage_of(intervals, predicted, positive, 1)
    np.testing.assert_array_equal(found.randomised, found.plain)


def test_intervals_by_name():
    intervals = fitted(1000)
    again = intervals_of(intervals.arrays())
    np.testing.assert_array_equal(again.high, intervals.high)
    assert intervals_of({"interval_low": intervals.low}) is None
