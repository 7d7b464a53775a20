"""Units summed over spots: who lies where, what is summed, what is scored."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from histoscribe.errors import UserError
from histoscribe.evaluation.stored import open_h5ad
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.spots.aggregation import share_of_total, sum_over_spots, variance_within
from histoscribe.spots.comparison import (
    GENE_COLUMNS,
    SECTION_SCORES,
    SpotSettings,
    compare_with_spots,
)
from histoscribe.spots.membership import NO_SPOT, spots_of_units

SETTINGS = SpotSettings(
    diameter_um=None, weights="equal", ceiling_repeats=2, n_replicates=100, block_um=200
)
N_GENES = 30


def grid(n_rows=6, n_columns=8, pitch_um=100.0):
    row, column = np.indices((n_rows, n_columns))
    return np.column_stack([column.ravel(), row.ravel()]) * pitch_um + 100.0


def test_a_unit_lies_in_the_circle_around_the_spot():
    spots = grid()
    units = np.concatenate([spots[[3]] + (27.0, 0), spots[[3]] + (28.0, 0), spots[[9]] + (-19, 19)])
    assert spots_of_units(units, spots, 55.0, "s").tolist() == [3, NO_SPOT, 9]


@given(st.floats(20, 400), st.integers(0, 2**32 - 1))
def test_no_unit_counts_twice_and_none_is_far(diameter_um, seed):
    spots = grid()
    units = np.random.default_rng(seed).uniform(0, 900, (300, 2))
    units[0] = spots[0]
    spot = spots_of_units(units, spots, diameter_um, "s")
    distance = np.linalg.norm(units[:, None] - spots, axis=2)
    inside = distance.min(axis=1) < diameter_um / 2
    np.testing.assert_array_equal(spot >= 0, inside)
    np.testing.assert_array_equal(spot[inside], distance.argmin(axis=1)[inside])


@pytest.mark.parametrize(
    ("units", "cause"),
    [
        (grid() + 5000, "They lie apart: do image, polygons and spots belong to one section"),
        (grid() * 4 + 5000, "Units spread 4 times as far as spots: check the scale"),
        (grid() + 50, "They lie between each other"),
    ],
)
def test_no_overlap_states_both_extents_and_the_likely_cause(units, cause):
    with pytest.raises(UserError) as caught:
        spots_of_units(units, grid(), 55.0, "sample s")
    words = str(caught.value)
    low, high = units.min(axis=0), units.max(axis=0)
    assert f"units reach over x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f}" in words
    assert "spots over x 100 to 800, y 100 to 600 um" in words
    assert "none of 48 units in any of 48 spots of 55 um" in words
    assert cause in words


def random_parts(rng, n_units=200, n_genes=N_GENES, step=70):
    predicted = rng.gamma(1, 0.5, (n_units, n_genes)).astype(np.float32)
    probability = rng.random((n_units, n_genes)).astype(np.float32)
    probability[0, 0] = 1.0
    cut = range(0, n_units, step)
    return (
        predicted,
        probability,
        [(predicted[i : i + step], probability[i : i + step]) for i in cut],
    )


def test_sums_over_spots_equal_sums_made_one_by_one():
    rng = np.random.default_rng(0)
    predicted, probability, parts = random_parts(rng)
    spot = rng.integers(-1, 9, 200)
    weight = rng.random(200)
    sums = sum_over_spots(iter(parts), spot, weight, 10, N_GENES)
    features = sums.expected_features()
    for s in range(10):
        mine = spot == s
        assert sums.n_units[s] == mine.sum()
        expected = (np.expm1(predicted[mine]) * weight[mine, None]).sum(axis=0)
        np.testing.assert_allclose(sums.rate[s], expected, rtol=1e-5)
        found = 1 - np.prod(1.0 - probability[mine].astype(float), axis=0)
        assert features[s] == pytest.approx(found.sum(), rel=1e-5)
    assert sums.n_units[9] == 0
    assert sums.rate[9].sum() == features[9] == 0


def test_parts_that_miss_units_are_refused():
    _, _, parts = random_parts(np.random.default_rng(0))
    with pytest.raises(ValueError, match="140 units in all parts, but 200"):
        sum_over_spots(iter(parts[:-1]), np.zeros(200, int), np.ones(200), 1, N_GENES)


def test_shares_sum_to_the_target_and_empty_spots_stay_empty():
    shares = share_of_total(np.array([[1.0, 3.0], [0.0, 0.0]]), 100.0)
    np.testing.assert_allclose(np.expm1(shares), [[25, 75], [0, 0]])


def within_of(values, spot, n_spots):
    ones = np.ones(len(spot))
    return variance_within(
        sum_over_spots(iter([(values, values * 0)]), spot, ones, n_spots, values.shape[1])
    )


def test_variance_is_parted_without_bias_by_few_units_a_spot():
    """Three units a spot: a plain share of sums of squares would give 0.67 and 0.33."""
    rng = np.random.default_rng(1)
    spot = np.repeat(np.arange(2000), 3)
    noise = rng.normal(size=(6000, 1))
    own = rng.normal(size=(2000, 1))[spot]
    values = np.hstack([noise, own, noise + own])
    by_gene, by_spot = within_of(values, spot, 2001)
    np.testing.assert_allclose(by_gene, [1, 0, 0.5], atol=0.05)
    assert np.isnan(by_spot[2000])
    assert np.nanmean(by_spot) == pytest.approx(0.5, abs=0.05)


def test_variance_of_constant_genes_and_single_units_is_not_a_number():
    by_gene, _ = within_of(np.column_stack([np.ones(6), np.arange(6.0)]), np.arange(6) // 2, 3)
    assert np.isnan(by_gene[0])
    assert 0 <= by_gene[1] < 0.5
    assert all(np.isnan(v).all() for v in within_of(np.random.rand(6, 2), np.arange(6), 6))


@pytest.fixture
def planted():
    """Units of known rates on an array of spots whose counts are drawn from them."""
    rng = np.random.default_rng(3)
    spots_um = grid()
    spot = np.repeat(np.arange(len(spots_um)), rng.integers(4, 12, len(spots_um)))
    units_um = spots_um[spot] + rng.uniform(-18, 18, (len(spot), 2))
    base = rng.gamma(2, 1, N_GENES)
    wave = np.exp(np.sin(spots_um[spot] @ rng.normal(0, 0.01, (2, N_GENES))))
    share = base * wave * rng.gamma(4, 0.25, (len(spot), N_GENES))
    share /= share.sum(axis=1, keepdims=True)
    names = [f"G{i}" for i in range(N_GENES)]
    predicted = ad.AnnData(
        np.log1p(share * 100).astype(np.float32),
        obs=pd.DataFrame({"area_um2": 30.0}, index=[f"u{i}" for i in range(len(spot))]),
        var=pd.DataFrame(index=names),
        layers={"probability": (1 - np.exp(-share * 100)).astype(np.float32)},
        obsm={"spatial": units_um},
    )
    rate = np.zeros((len(spots_um), N_GENES))
    np.add.at(rate, spot, share * 200)
    order = rng.permutation(N_GENES)
    counts = rng.poisson(rate)[:, order]
    # A gene that was not predicted must not matter.
    counts = np.column_stack([counts, rng.poisson(500, len(spots_um))])
    spots = ad.AnnData(
        sparse.csr_matrix(counts.astype(np.int32)),
        obs=pd.DataFrame(index=[f"s{i}" for i in range(len(spots_um))]),
        var=pd.DataFrame(index=[*(names[i] for i in order), "UNSEEN"]),
        obsm={"spatial": spots_um},
    )
    spots.uns[RECORD_KEY] = record(sample="planted", platform="visium", unit_size_um=55.0)
    return predicted, spots, spot


def test_true_rates_reach_the_ceiling(planted):
    predicted, spots, spot = planted
    result = compare_with_spots(predicted, spots, SETTINGS, seed=0)
    genes = result.genes.set_index("gene")
    row = result.section.iloc[0]
    assert list(result.genes.columns) == GENE_COLUMNS
    assert row["fraction_of_ceiling_median"] == pytest.approx(1, abs=0.08)
    assert row["n_genes"] == N_GENES
    assert row["n_spots_compared"] == spots.n_obs
    assert row["units_per_spot"] == pytest.approx(len(spot) / spots.n_obs)
    assert row["pcc_total"] > 0.9
    assert (genes["pcc_low"] <= genes["pcc"]).mean() > 0.9
    assert row["pcc_mean_low"] < row["pcc_mean"] < row["pcc_mean_high"]
    # The same by hand, for one gene.
    shared = spots[:, predicted.var_names].X.toarray()
    total = shared.sum(axis=1)
    measured = np.log1p(shared[:, 4] / total * np.median(total))
    rate = np.zeros((spots.n_obs, N_GENES))
    np.add.at(rate, spot, np.expm1(predicted.X.astype(float)))
    ours = np.log1p(rate[:, 4] / rate.sum(axis=1) * np.median(total))
    assert genes.loc["G4", "pcc"] == pytest.approx(np.corrcoef(measured, ours)[0, 1], abs=1e-5)
    assert genes.loc["G4", "rmse"] == pytest.approx(np.sqrt(np.mean((measured - ours) ** 2)), 1e-4)
    table = result.spots.obs
    assert table["measured_total"].tolist() == total.tolist()
    np.testing.assert_allclose(table["predicted_total"], rate.sum(axis=1), rtol=1e-5)


def test_predictions_may_lie_in_a_file(planted, tmp_path):
    predicted, spots, _ = planted
    whole = compare_with_spots(predicted, spots, SETTINGS, seed=0)
    predicted.write_h5ad(tmp_path / "p.h5ad")
    with open_h5ad(tmp_path / "p.h5ad") as stored:
        read = compare_with_spots(stored, spots, SETTINGS, seed=0)
    pd.testing.assert_frame_equal(whole.genes, read.genes)


def test_density_alone_scores_nothing_gene_by_gene(planted):
    """A model that knows no gene: every unit alike. Totals follow the nuclei, shares must not."""
    predicted, spots, _ = planted
    predicted.X[:] = predicted.X.mean(axis=0)
    row = compare_with_spots(predicted, spots, SETTINGS, seed=0).section.iloc[0]
    assert abs(row["pcc_mean"]) < 1e-3
    assert row["pcc_total"] > 0.9
    assert row["pcc_total"] == pytest.approx(row["pcc_total_n_units"], abs=0.02)


def test_area_weighs_units_in_the_sums_and_not_in_the_variance(planted):
    predicted, spots, spot = planted
    predicted.obs["area_um2"] = np.random.default_rng(0).uniform(10, 90, predicted.n_obs)
    equal, area = (
        compare_with_spots(predicted, spots, SpotSettings(None, weights, 2, 100, 200), seed=0)
        for weights in ("equal", "area")
    )
    weight = (predicted.obs["area_um2"] / predicted.obs["area_um2"].mean()).to_numpy()
    first = spot == 0
    rate = (np.expm1(predicted.X[first].astype(float)) * weight[first, None]).sum()
    assert area.spots.obs["predicted_total"].iloc[0] == pytest.approx(rate, rel=1e-5)
    assert area.section["within_share"].item() == equal.section["within_share"].item()


def test_few_spots_with_units_are_a_stated_skip(planted):
    predicted, spots, spot = planted
    result = compare_with_spots(predicted[spot < 9].copy(), spots, SETTINGS, seed=0)
    row = result.section.iloc[0]
    assert row["note"] == "skipped: 9 spots hold units, fewer than 10"
    assert row[SECTION_SCORES].isna().all()
    assert result.genes.empty
    assert list(result.genes.columns) == GENE_COLUMNS
    assert result.spots.obs["predicted_total"].notna().sum() == 9


def test_genes_of_another_species_are_refused(planted):
    predicted, spots, _ = planted
    spots.var_names = spots.var_names.str.lower()
    with pytest.raises(UserError, match=r"0 shared genes \(predicted begins with G0, G1, G2"):
        compare_with_spots(predicted, spots, SETTINGS, seed=0)


def test_spots_without_molecules_are_not_compared(planted):
    predicted, spots, _ = planted
    counts = spots.X.toarray()
    counts[:3, :-1] = 0
    spots.X = sparse.csr_matrix(counts)
    result = compare_with_spots(predicted, spots, SETTINGS, seed=0)
    assert result.section["n_spots_compared"].item() == spots.n_obs - 3
    assert np.isfinite(result.genes["pcc"]).all()
