"""What is left without types and totals, and in counts: planted, and against formulas."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.metrics import adjusted_rand_score, d2_tweedie_score

from histoscribe.evaluation.adjusted import deviance_explained, pcc_beyond, pcc_within
from histoscribe.evaluation.calibration import N_BINS, probability_sums, reliability_table
from histoscribe.evaluation.clusters import types_of
from histoscribe.evaluation.scores import pearson


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_types_alone_leave_nothing_within_them(rng):
    """A predictor that only tells types apart, and one that also knows what differs within."""
    kind = rng.integers(0, 4, 4000)
    inside = rng.normal(size=(4000, 2))
    measured = 3 * kind[:, None] + inside + rng.normal(size=(4000, 2))
    predicted = np.stack([kind.astype(float), 3 * kind + inside[:, 1]], axis=1)
    assert (pearson(measured, predicted) > 0.9).all()
    of_type, of_more = pcc_within(measured, predicted, kind)
    assert abs(of_type) < 0.01
    assert of_more == pytest.approx(np.sqrt(0.5), abs=0.03)


def test_within_types_is_the_correlation_of_deviations(rng):
    kind = np.array([0] * 5 + [3] * 7 + [1] * 8)  # no unit of kind 2
    measured, predicted = rng.normal(size=(2, 20, 1))
    deviations = [
        np.concatenate([x[kind == k] - x[kind == k].mean() for k in (0, 3, 1)]).ravel()
        for x in (measured, predicted)
    ]
    expected = stats.pearsonr(*deviations).statistic
    assert pcc_within(measured, predicted, kind)[0] == pytest.approx(expected)


def test_partial_correlation_is_its_formula_and_planted(rng):
    known, shared = rng.normal(size=(2, 20_000))
    measured = 2 * known + shared + rng.normal(size=20_000)
    predicted = np.stack([-known + shared + rng.normal(size=20_000), known], axis=1)
    found = pcc_beyond(np.stack([measured] * 2, axis=1), predicted, known)
    r = np.corrcoef([measured, predicted[:, 0], known])
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    assert found[0] == pytest.approx(expected)
    assert found[0] == pytest.approx(0.5, abs=0.02)
    assert found[1] == 0  # what only knows the total


def test_a_total_that_never_differs_changes_nothing(rng):
    measured, predicted = rng.normal(size=(2, 100, 3))
    found = pcc_beyond(measured, predicted, np.full(100, 4.0))
    np.testing.assert_allclose(found, pearson(measured, predicted))


def test_deviance_is_sklearns_and_the_truth_explains_most(rng):
    n, total = 5000, 80.0
    umi = rng.integers(20, 200, n)
    rate = np.exp(rng.normal(size=n))
    counts = rng.poisson(rate * umi / total)[:, None]
    truth = np.log1p(rate)[:, None]
    candidates = (truth, truth * 0.7, truth + 1)
    shares = [deviance_explained(counts, x, umi, total)[0] for x in candidates]
    assert shares[0] == max(shares) > 0.4
    # The constant rate of sklearn's score is a mean count, so totals must be equal.
    even = np.full(n, 80)
    expected = d2_tweedie_score(counts[:, 0], np.expm1(truth)[:, 0], power=1)
    assert deviance_explained(counts, truth, even, total)[0] == pytest.approx(expected)


def test_constant_rates_explain_no_deviance(rng):
    umi = rng.integers(20, 200, 3000)
    counts = rng.poisson(np.array([0.02, 0.0]) * umi[:, None])
    constant = np.full(counts.shape, np.log1p(80 * counts[:, 0].sum() / umi.sum()))
    share, absent = deviance_explained(counts, constant, umi, 80.0)
    assert share == pytest.approx(0, abs=1e-9)
    assert np.isnan(absent)
    assert deviance_explained(counts, constant + 0.5, umi, 80.0)[0] < -0.05


def test_rates_of_zero_and_less_stay_finite(rng):
    umi = rng.integers(20, 200, 500)
    counts = rng.poisson(0.02 * umi[:, None])
    nothing = deviance_explained(counts, np.full((500, 1), -0.3), umi, 80.0)
    assert np.isfinite(nothing).all()
    assert nothing[0] < -1


def typed_section(rng, n_genes=60):
    """Eight types of 150 units, each with its own genes; and the same units' types."""
    kind = np.repeat(np.arange(8), 150)
    share = np.ones((8, n_genes))
    for k in range(8):
        share[k, k::8] = 12
    counts = rng.poisson(share[kind])
    units = ad.AnnData(
        sparse.csr_matrix(counts, dtype=np.int32),
        obs=pd.DataFrame({"umi": counts.sum(axis=1)}, index=[f"u{i}" for i in range(len(kind))]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]),
    )
    return units, kind


def test_clusters_are_the_planted_types(rng):
    units, kind = typed_section(rng)
    genes = list(units.var_names[::-1])
    types = types_of(units, genes, seed=0)
    assert types.kinds.shape == (2, 1200)
    for found in types.kinds:
        assert adjusted_rand_score(kind, found) > 0.9
    again = types_of(units, genes, seed=0)
    np.testing.assert_array_equal(types.kinds, again.kinds)


def test_no_gene_is_scored_within_clusters_of_itself(rng):
    """Else part of its noise would be taken out of the measured side. Changing it changes none."""
    units, _ = typed_section(rng)
    genes = list(units.var_names)
    before = types_of(units, genes, seed=0)
    for gene in (0, 7):
        changed = units.copy()
        values = changed.X.toarray()
        values[:, gene] = rng.permutation(values[:, gene])  # the order of genes stays
        changed.X = sparse.csr_matrix(values)
        after = types_of(changed, genes, seed=0)
        mine = before.kind_set[gene]
        assert after.kind_set[gene] == mine
        np.testing.assert_array_equal(after.kinds[mine], before.kinds[mine])
        assert (after.kinds[1 - mine] != before.kinds[1 - mine]).any()


def test_given_types_are_taken(rng):
    units, kind = typed_section(rng)
    units.obs["cell_type"] = np.where(kind == 2, None, np.array(list("abcdefgh"))[kind])
    types = types_of(units, ["g3", "g1"], seed=0)
    assert types.kind_set.tolist() == [0, 0]
    assert adjusted_rand_score(kind, types.kinds[0]) == 1


def test_a_few_units_are_one_cluster(rng):
    units, _ = typed_section(rng)
    assert (types_of(units[:30].copy(), ["g1"], seed=0).kinds == 0).all()


def test_calibrated_probabilities_lie_on_the_diagonal(rng):
    probability = rng.beta(0.5, 2, (40_000, 5))
    probability[0, 0] = 1
    expressed = rng.random(probability.shape) < probability
    table = reliability_table(probability_sums(probability, expressed)).set_index("bin")
    curve = table.drop(index="all")
    assert len(curve) == N_BINS
    assert curve["n"].sum() == table.loc["all", "n"] == probability.size
    off = (curve["mean_probability"] - curve["share_expressed"]).abs()
    assert off.max() < 0.04
    np.testing.assert_allclose(curve["calibration_error"], off)
    assert table.loc["all", "calibration_error"] < 0.005
    assert table.loc["all", "mean_probability"] == pytest.approx(probability.mean())


def test_overstated_probabilities_have_the_error_that_is_planted(rng):
    truth = np.full((100_000, 1), 0.2)
    expressed = rng.random(truth.shape) < truth
    table = reliability_table(probability_sums(truth + 0.33, expressed))
    assert table["bin"].tolist() == ["0.50-0.55", "all"]
    np.testing.assert_allclose(table["calibration_error"], 0.33, atol=0.01)


def test_curves_of_parts_add_up(rng):
    probability = rng.random((500, 4))
    expressed = rng.random((500, 4)) < 0.3
    parts = sum(probability_sums(probability[:, [g]], expressed[:, [g]]) for g in range(4))
    np.testing.assert_allclose(parts, probability_sums(probability, expressed))
