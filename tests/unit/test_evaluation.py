from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from histoscribe.errors import UserError
from histoscribe.evaluation import (
    Agreement,
    EvaluationSettings,
    auroc,
    average_precision,
    evaluate_section,
    noise_ceiling,
    pearson,
    score_genes,
    summarise,
)
from histoscribe.expression import log_normalise, targets
from histoscribe.provenance import RECORD_KEY, record

SETTINGS = EvaluationSettings(ceiling_repeats=2, n_replicates=200, block_um=100)
MATRIX = arrays(np.float32, (12, 3), elements=st.floats(0, 10, width=32))


@settings(max_examples=50, deadline=None)
@given(a=MATRIX, b=MATRIX, scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_pearson_is_bounded_symmetric_and_scale_free(a, b, scale, shift):
    r = pearson(a, b)
    assert (np.abs(r) <= 1 + 1e-9).all()
    np.testing.assert_allclose(r, pearson(b, a), atol=1e-9)
    if (a.std(axis=0) > 0.1).all() and (b.std(axis=0) > 0.1).all():
        np.testing.assert_allclose(r, pearson(a.astype(float) * scale + shift, b), atol=1e-4)


def test_scores_agree_with_scipy_and_sklearn():
    rng = np.random.default_rng(0)
    measured = np.maximum(rng.normal(size=(200, 5)), 0).astype(np.float32)
    predicted = (measured + rng.normal(size=(200, 5))).astype(np.float32)
    scores = score_genes(Agreement(measured, predicted, predicted), list("abcde"))
    for i in range(5):
        assert scores["pcc"][i] == pytest.approx(pearsonr(measured[:, i], predicted[:, i])[0])
        expected = roc_auc_score(measured[:, i] > 0, predicted[:, i])
        assert scores["auroc"][i] == pytest.approx(expected)
        expected = average_precision_score(measured[:, i] > 0, predicted[:, i])
        assert scores["auprc"][i] == pytest.approx(expected)
        expected = spearmanr(measured[:, i], predicted[:, i]).statistic
        assert scores["spearman"][i] == pytest.approx(expected)
        expected = np.mean(((measured[:, i] > 0) - predicted[:, i]) ** 2)
        assert scores["brier"][i] == pytest.approx(expected, rel=1e-5)
        assert scores["rmse"][i] == pytest.approx(
            np.sqrt(np.mean((measured[:, i] - predicted[:, i]) ** 2)), rel=1e-5
        )


def test_constant_prediction_scores_nothing():
    measured = np.random.default_rng(0).poisson(1, (100, 2)).astype(np.float32)
    constant = np.full_like(measured, 0.3)
    scores = score_genes(Agreement(measured, constant, constant), ["a", "b"])
    assert scores["pcc"].tolist() == [0, 0]
    assert scores["auroc"].tolist() == [0.5, 0.5]


def test_precision_of_ties_and_of_nothing():
    positive = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], dtype=bool)
    found = average_precision(np.zeros((4, 2)), positive)
    assert found[0] == 0.5
    assert np.isnan(found[1])


def test_auroc_of_one_class_is_undefined():
    assert np.isnan(auroc(np.zeros((5, 1)), np.ones((5, 1), dtype=bool))).all()


@pytest.mark.parametrize("depth", [100, 400])
def test_ceiling_is_what_the_truth_scores(depth):
    """The ceiling estimates the correlation of the expected expression with the counts."""
    rng = np.random.default_rng(1)
    n, g = 20_000, 40
    state = rng.normal(size=(n, 3))
    rate = np.exp(state @ rng.normal(size=(3, g)) * 0.4 + rng.normal(size=g))
    share = rate / rate.sum(axis=1, keepdims=True)
    umi_expected = depth * rng.lognormal(0, 0.2, n)
    counts = rng.poisson(share * umi_expected[:, None])
    umi = counts.sum(axis=1)
    reached = pearson(
        log_normalise(sparse.csr_matrix(counts), umi, "median"),
        np.log1p(share * np.median(umi)),
    )
    ceiling = noise_ceiling(sparse.csr_matrix(counts), umi, "median", 3, seed=0)
    assert np.abs(ceiling - reached).mean() < 0.03
    assert abs((ceiling - reached).mean()) < 0.02


def test_ceiling_of_pure_noise_is_near_zero():
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(0.5, (5000, 30)))
    umi = np.asarray(counts.sum(axis=1)).ravel()
    assert noise_ceiling(counts, umi, 1e4, 3, seed=0).mean() < 0.12


@pytest.fixture
def section():
    rng = np.random.default_rng(0)
    units = ad.AnnData(
        sparse.csr_matrix(rng.poisson(2, (60, 6)), dtype=np.int32),
        obs=pd.DataFrame(index=[f"u{i}" for i in range(60)]),
        var=pd.DataFrame(index=list("ABCDEF")),
    )
    units.obs["umi"] = np.asarray(units.X.sum(axis=1)).ravel()
    units.obsm["spatial"] = rng.uniform(0, 500, (60, 2))
    return units


def predicted_like(units, genes):
    values = np.random.default_rng(1).random((units.n_obs, len(genes)), dtype=np.float32)
    predicted = ad.AnnData(values, obs=units.obs, var=pd.DataFrame(index=genes))
    predicted.layers["probability"] = values
    predicted.uns[RECORD_KEY] = record(target_sum="median")
    return predicted


def test_evaluation_scores_shared_genes_only(section):
    scores, replicates = evaluate_section(
        predicted_like(section, ["C", "Z", "A"]), section, SETTINGS, 0
    )
    assert scores["gene"].tolist() == ["C", "A"]
    assert (scores["pcc_low"] < scores["pcc"]).all()
    assert (scores["pcc_high"] > scores["pcc"]).all()
    row = summarise(scores, replicates, None)
    assert (row["n_genes"], row["n_units"]) == (2, 60)
    assert row["pcc_mean_low"] < row["pcc_mean"] < row["pcc_mean_high"]
    assert np.isnan(row["skill_mean"])


def test_skill_is_the_error_that_is_gone(section):
    scores, replicates = evaluate_section(predicted_like(section, ["C", "A"]), section, SETTINGS, 0)
    baseline = scores.assign(rmse=2 * scores["rmse"])[::-1]
    assert summarise(scores, replicates, baseline)["skill_mean"] == pytest.approx(0.75)


def test_a_section_too_small_for_intervals_has_none(section, caplog):
    settings = replace(SETTINGS, block_um=1000)
    scores, replicates = evaluate_section(predicted_like(section, ["A"]), section, settings, 0)
    assert np.isnan(scores["pcc_low"]).all()
    assert np.isnan(summarise(scores, replicates, None)["pcc_mean_low"])
    assert "only 1 blocks of 1000 um" in caplog.text


def test_no_shared_gene_is_an_error(section):
    with pytest.raises(UserError, match="no shared gene"):
        evaluate_section(predicted_like(section, ["x", "y"]), section, SETTINGS, 0)


def test_other_units_are_an_error(section):
    with pytest.raises(UserError, match="60 and 59 units"):
        evaluate_section(predicted_like(section, ["A"]), section[1:].copy(), SETTINGS, 0)


def test_counts_are_scaled_to_what_the_prediction_was_made_for(section):
    """A model trained on another total than the config's must not be scored on the config's."""
    predicted = predicted_like(section, ["A", "B"])
    predicted.X = targets(section, ["A", "B"], 1e4)
    predicted.uns[RECORD_KEY] = record(target_sum=1e4)
    assert evaluate_section(predicted, section, SETTINGS, 0)[0]["rmse"].max() < 1e-6
