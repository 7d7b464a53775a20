"""Whether maps look alike: against brute force, and on fields of known smoothness."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from histoscribe.evaluation.scores import pearson
from histoscribe.evaluation.smoothing import pooled_measured, pooled_predicted, pools_of
from histoscribe.evaluation.spatial import (
    morans_i,
    neighbour_weights,
    raster_of,
    ssim,
    variance_ratio,
)
from histoscribe.expression import log_normalise


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def lattice(side, spacing_um=8.0):
    row, column = np.mgrid[:side, :side]
    return spacing_um * np.column_stack([column.ravel(), row.ravel()]).astype(float)


def smooth_field(rng, side, sigma):
    field = ndimage.gaussian_filter(rng.normal(size=(side, side)), sigma, mode="wrap").ravel()
    return field / field.std()


def test_weights_are_those_of_the_nearest_others(rng):
    xy_um = rng.uniform(0, 100, (40, 2))
    weights = neighbour_weights(xy_um).toarray()
    distance_um = np.linalg.norm(xy_um[:, None] - xy_um[None], axis=2)
    np.fill_diagonal(distance_um, np.inf)
    for unit in range(40):
        nearest = np.argsort(distance_um[unit])[:6]
        assert sorted(np.flatnonzero(weights[unit])) == sorted(nearest)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_units_that_share_a_place_are_not_their_own_neighbours():
    weights = neighbour_weights(np.zeros((30, 2))).toarray()
    assert (np.diag(weights) == 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_moran_is_its_formula(rng):
    values, weights = rng.normal(size=(50, 2)) + 4, neighbour_weights(rng.uniform(0, 1, (50, 2)))
    w = weights.toarray()
    for gene in range(2):
        z = values[:, gene] - values[:, gene].mean()
        pairs = sum(w[i, j] * z[i] * z[j] for i in range(50) for j in range(50))
        assert morans_i(values, weights)[gene] == pytest.approx(50 / w.sum() * pairs / (z @ z))


def test_smooth_fields_have_a_larger_moran(rng):
    side = 50
    fields = np.stack([rng.normal(size=side**2)] + [smooth_field(rng, side, s) for s in (1, 4)], 1)
    noise, rough, smooth = morans_i(fields, neighbour_weights(lattice(side)))
    assert abs(noise) < 0.05
    assert noise + 0.3 < rough < smooth - 0.2
    assert smooth > 0.9


def test_moran_of_a_constant_is_undefined():
    weights = neighbour_weights(lattice(5))
    assert np.isnan(morans_i(np.full((25, 1), 0.3, dtype=np.float32), weights)).all()


def test_variance_ratio_is_planted(rng):
    measured = rng.normal(size=(400, 2))
    measured[:, 1] = 2
    assert variance_ratio(measured, 0.5 * measured + 7)[0] == pytest.approx(0.25)
    assert np.isnan(variance_ratio(measured, measured)[1])


def test_pixels_of_a_lattice_hold_four_units():
    raster = raster_of(lattice(20))
    assert raster.n_units.shape == (10, 10)
    assert (raster.n_units == 4).all()
    mapped = raster.map_of(np.arange(400.0))
    assert mapped[0, 0] == pytest.approx(np.mean([0, 1, 20, 21]))
    assert mapped[0, 1] == pytest.approx(np.mean([2, 3, 22, 23]))


def test_ssim_knows_a_perfect_map_a_weak_one_and_a_foreign_one(rng):
    side = 60
    xy_um = lattice(side)[rng.permutation(side**2)[:3000]]  # some pixels hold fewer, some none
    field = 5 + np.stack([smooth_field(rng, side, 3) for _ in range(2)], 1)[:3000]
    raster = raster_of(xy_um)
    np.testing.assert_allclose(ssim(field, field, raster), 1, atol=1e-9)
    other = field[:, ::-1]
    weak = 5 + 0.3 * (field - 5)
    perfect, weakened, foreign = (ssim(field, x, raster).mean() for x in (field, weak, other))
    assert foreign + 0.1 < weakened < perfect - 0.1
    assert np.isnan(ssim(np.ones((3000, 1)), field[:, :1], raster))


def test_ssim_is_that_of_scikit_image_but_for_borders(rng):
    side = 160
    raster = raster_of(lattice(side))
    a = smooth_field(rng, side, 4)[:, None] + 2
    b = 0.6 * a + 0.5 * smooth_field(rng, side, 4)[:, None]
    maps = [raster.map_of(x[:, 0]) for x in (a, b)]
    expected = structural_similarity(
        *maps,
        data_range=np.ptp(maps[0]),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert 0.1 < expected < 0.9
    assert ssim(a, b, raster)[0] == pytest.approx(expected, abs=0.02)


def test_units_in_clumps_do_not_make_a_map_of_trillions_of_pixels(rng):
    clumps = np.repeat(rng.uniform(0, 1e4, (20, 2)), 10, axis=0)
    raster = raster_of(clumps + rng.uniform(0, 0.01, clumps.shape))
    assert raster.n_units.sum() == 200
    assert raster.n_units.size < 40 * 200


def test_pools_hold_what_lies_within_the_radius(rng):
    xy_um = rng.uniform(0, 200, (300, 2))
    (pool,) = pools_of(xy_um, [30], seed=0)
    distance_um = np.linalg.norm(xy_um[:, None] - xy_um[None], axis=2)
    np.testing.assert_array_equal(pool.members.toarray(), distance_um <= 1.01 * 30)


def test_neighbours_on_a_lattice_are_within_its_spacing(rng):
    xy_um = lattice(10) * (1 + 1e-7)  # positions come out of a fit
    (pool,) = pools_of(xy_um, [8], seed=0)
    assert np.median(np.asarray(pool.members.sum(axis=1))) == 5


def test_radii_without_neighbours_are_left_out():
    pools = pools_of(lattice(10, 100.0), [8, 64, 100, 250], seed=0)
    assert [pool.radius_um for pool in pools] == [100, 250]


def test_large_pools_have_fewer_centres(rng, monkeypatch):
    monkeypatch.setattr("histoscribe.evaluation.smoothing.PAIRS_AT_MOST", 5000)
    fine, coarse = pools_of(lattice(30), [8, 64], seed=0)
    assert fine.members.shape == (900, 900)
    assert coarse.members.shape[0] < 50
    assert coarse.members.nnz < 8000
    again = pools_of(lattice(30), [8, 64], seed=0)[1]
    assert (again.members != coarse.members).nnz == 0


def test_counts_and_totals_are_pooled_before_they_are_normalised(rng):
    xy_um, umi = rng.uniform(0, 60, (40, 2)), rng.integers(5, 50, 40)
    counts = rng.poisson(2, (40, 3)).astype(np.float32)
    predicted = rng.uniform(0, 2, (40, 3))
    (pool,) = pools_of(xy_um, [20], seed=0)
    measured = pooled_measured(pool, counts, umi, 100.0)
    ours = pooled_predicted(pool, predicted, umi)
    for unit in range(40):
        near = np.linalg.norm(xy_um - xy_um[unit], axis=1) <= 20.2
        share = counts[near].sum(axis=0) / umi[near].sum()
        np.testing.assert_allclose(measured[unit], np.log1p(100 * share), rtol=1e-5)
        rate = np.average(np.expm1(predicted[near]), axis=0, weights=umi[near])
        np.testing.assert_allclose(ours[unit], np.log1p(rate), rtol=1e-5)


def test_a_perfect_prediction_stays_one_when_pooled(rng):
    xy_um, umi = lattice(12), rng.integers(5, 50, 144)
    counts = rng.poisson(2, (144, 3)).astype(np.float32)
    (pool,) = pools_of(xy_um, [16], seed=0)
    predicted = log_normalise(counts, umi, 100.0)
    measured = pooled_measured(pool, counts, umi, 100.0)
    np.testing.assert_allclose(pooled_predicted(pool, predicted, umi), measured, atol=1e-5)


def test_a_constant_prediction_stays_one_when_pooled(rng):
    """Rounding must not turn the training mean into a map that correlates with anything."""
    umi = rng.integers(5, 50, 900)
    (pool,) = pools_of(lattice(30), [32], seed=0)
    predicted = np.tile(np.float32([0.1, 0.37, 2.2]), (900, 1))
    ours = pooled_predicted(pool, predicted, umi)
    np.testing.assert_array_equal(pearson(rng.normal(size=(len(ours), 3)), ours), 0)
