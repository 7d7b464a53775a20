"""Ridge for many genes that borrow from each other: what they borrow, and how that is judged."""

from dataclasses import replace

import numpy as np
import pytest

from histoscribe.evaluation.scores import pearson
from histoscribe.models import TrainingUnits, ridge, shared_ridge
from histoscribe.models.ridge import moments_of
from histoscribe.models.shared_ridge import _held_out_products, _Solver, _worth

SETTINGS = {"alphas": [1, 10, 100, 1000], "n_folds": 4, "block_um": 200}


def as_it_is(features):
    return features


def units(n: int, seed: int, noise: float = 4.0) -> tuple[TrainingUnits, np.ndarray]:
    """Fifty genes that three combinations of thirty features drive, and what they would be."""
    plan, rng = np.random.default_rng(99), np.random.default_rng(seed)
    drive = plan.normal(size=(30, 3)) @ plan.normal(size=(3, 50)) / 5
    features = rng.normal(size=(n, 30)).astype(np.float32)
    truth = features @ drive
    measured = (truth + rng.normal(0, noise, truth.shape)).astype(np.float32)
    none = np.zeros(n, dtype=bool)
    xy_um = rng.uniform(0, 1200, (n, 2))
    training = TrainingUnits(
        features, measured, np.ones(n, "f4"), xy_um, np.zeros(n), none, ~none, 10.0
    )
    return training, truth


def test_few_noisy_units_are_told_by_few_directions():
    training, _ = units(200, 0)
    new, truth = units(500, 1)
    shared = shared_ridge.fit_on(training, SETTINGS, 0, as_it_is)
    alone = ridge.fit_on(training, SETTINGS, 0, as_it_is)
    assert (shared["worth"][0] > 0.5).sum() <= 5

    def score(tensors):
        expression = new.features @ tensors["weights"] + tensors["intercept"]
        return pearson(expression[:, :50], truth.astype(np.float32)).mean()

    assert score(shared) > score(alone) + 0.03


def test_directions_that_are_all_worth_one_leave_plain_ridge():
    training, _ = units(300, 0)
    everything = np.ones(300, dtype=bool)
    tensors = {"alpha": np.full(2, 10.0), "worth": np.ones((2, 50))}
    shared = shared_ridge.refit_on(training, everything, tensors, as_it_is)
    alone = ridge.refit_on(training, everything, {"alpha": np.full(100, 10.0)}, as_it_is)
    for name in ("weights", "intercept"):
        np.testing.assert_allclose(shared[name], alone[name], atol=1e-5)


def test_worth_is_judged_by_units_held_out():
    """The sums from moments are those over the units' own predictions."""
    training, _ = units(300, 0)
    held = training.xy_um[:, 0] < 400
    fitted, seen = (moments_of(training, chosen, as_it_is) for chosen in (~held, held))
    product, square = _held_out_products(fitted, seen, np.array([10.0, 50.0]), 7)
    solver = _Solver(fitted)
    for number, alpha in enumerate((10.0, 50.0)):
        weights, main, spread = solver.weights(0, alpha, 7)
        centred = training.features[held] - fitted.feature_mean
        predicted = centred @ solver.vectors @ weights / spread @ main
        measured = (training.expression[held] - fitted.outcome_mean[:50]) / spread @ main
        np.testing.assert_allclose(
            product[number, 0], (predicted * measured).sum(axis=0), rtol=1e-4
        )
        np.testing.assert_allclose(square[number, 0], (predicted**2).sum(axis=0), rtol=1e-4)


def test_no_direction_is_worth_more_than_a_former_one():
    found = _worth(np.array([9.0, 2.0, 4.0, -1.0]), np.array([10.0, 4.0, 4.0, 1.0]))
    np.testing.assert_allclose(found, [0.9, 0.75, 0.75, 0.0])


def test_a_gene_seen_only_where_it_is_held_out_changes_nothing():
    training, _ = units(300, 0)
    seen_once = np.zeros((300, 1), dtype=np.float32)
    seen_once[np.argmin(training.xy_um.sum(axis=1))] = 1.0
    wider = replace(training, expression=np.hstack([training.expression, seen_once]))
    alone, beside = (shared_ridge.fit_on(t, SETTINGS, 0, as_it_is) for t in (training, wider))
    assert beside["alpha"][0] == alone["alpha"][0]
    np.testing.assert_allclose(beside["worth"][0][:5], alone["worth"][0][:5], atol=0.05)
    assert np.isfinite(beside["weights"]).all()


@pytest.mark.parametrize("n_genes", [1, 200])
def test_any_number_of_genes(n_genes):
    training, _ = units(100, 0)
    expression = np.tile(training.expression, (1, 4))[:, :n_genes]
    tensors = shared_ridge.fit_on(replace(training, expression=expression), SETTINGS, 0, as_it_is)
    assert tensors["weights"].shape == (30, 2 * n_genes)
    assert np.isfinite(tensors["weights"]).all()
