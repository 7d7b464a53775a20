import numpy as np
import pytest

from histoscribe.splits import block_folds, outside_buffer
from histoscribe.uncertainty.domain import OUT_OF_DOMAIN, domain_percentile, fit_domain

N_FEATURES = 30
MIXING = np.random.default_rng(9).normal(size=(8, N_FEATURES))


def units(n, seed):
    """Standardised features that follow eight hidden causes and a little noise."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 2000, (n, 2))
    features = rng.normal(size=(n, 8)) @ MIXING / 3 + 0.3 * rng.normal(size=(n, N_FEATURES))
    return features.astype(np.float32), xy


@pytest.fixture(scope="module")
def domain():
    features, xy = units(6000, 0)
    section = np.zeros(len(xy))
    fold = block_folds(xy, section, 400, 4, 0)
    pairs = [(outside_buffer(xy, section, fold == k, 50), fold == k) for k in range(4)]
    return fit_domain(features, pairs, seed=0)


def flagged(domain, features):
    return (domain_percentile(domain, features) > OUT_OF_DOMAIN).mean()


def test_units_like_those_of_training_are_ordinary(domain):
    percentile = domain_percentile(domain, units(5000, 1)[0])
    assert percentile.dtype == np.float32
    assert (percentile > OUT_OF_DOMAIN).mean() == pytest.approx(0.01, abs=0.008)
    # Percentiles are percentiles.
    np.testing.assert_allclose(
        np.quantile(percentile, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.04
    )


def test_a_shifted_section_is_flagged(domain):
    """Another stain moves some features; it stays within the usual range of each alone."""
    features, _ = units(2000, 2)
    shift = np.where(np.arange(N_FEATURES) % 3 == 0, 2.0, 0.0).astype(np.float32)
    assert flagged(domain, features + shift) > 0.9


def test_blur_and_noise_are_flagged(domain):
    features, _ = units(2000, 3)
    # Blur takes the texture, a third of the features, to an end of its range.
    blurred = np.where(np.arange(N_FEATURES) < 10, -3.0, features).astype(np.float32)
    assert flagged(domain, blurred) > 0.9
    noise = 0.9 * np.random.default_rng(0).normal(size=features.shape).astype(np.float32)
    assert flagged(domain, features + noise) > 0.9


def test_usual_features_in_unusual_company_are_flagged(domain):
    """Each feature is in range, but they do not go together as in training."""
    features, _ = units(2000, 4)
    rng = np.random.default_rng(0)
    shuffled = np.column_stack([rng.permutation(column) for column in features.T])
    assert flagged(domain, shuffled) > 0.9


def test_the_strangest_possible_unit_is_at_one(domain):
    features = np.full((1, N_FEATURES), 8, dtype=np.float32)
    assert domain_percentile(domain, features) == 1


def test_what_never_varied_does_not_break_it():
    features = np.zeros((500, 3), dtype=np.float32)
    features[:, 0] = np.random.default_rng(0).normal(size=500)
    half = np.arange(500) < 250
    found = fit_domain(features, [(half, ~half), (~half, half)], 0)
    assert np.isfinite(domain_percentile(found, features)).all()
    features[:, 2] = 5
    assert flagged(found, features) == 1


def test_it_is_small_with_many_features():
    features = np.random.default_rng(0).normal(size=(3000, 1000)).astype(np.float32)
    half = np.arange(3000) < 1500
    found = fit_domain(features, [(half, ~half)], 0)
    assert sum(np.asarray(v).nbytes for v in found.values()) < 400_000
