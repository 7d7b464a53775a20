from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse
from scipy.stats import pearsonr, rankdata, spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from histoscribe.errors import UserError
from histoscribe.evaluation.scores import (
    Agreement,
    auroc,
    average_precision,
    pearson,
    ranks,
    score_genes,
)
from histoscribe.evaluation.section import EvaluationSettings, evaluate_section
from histoscribe.evaluation.stored import open_h5ad
from histoscribe.evaluation.summary import SUMMARY_COLUMNS, summarise, summary_table
from histoscribe.expression import targets
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.uncertainty.judgement import JUDGED

SETTINGS = EvaluationSettings(2, n_replicates=200, block_um=100, smoothing_um=[8, 100, 200])
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


def test_ranks_are_scipys():
    values = np.random.default_rng(0).integers(0, 6, (50, 4)).astype(np.float32)
    found = ranks(values)
    for method, ours in (("min", found.low), ("max", found.high), ("average", found.mean)):
        np.testing.assert_array_equal(ours, rankdata(values, method=method, axis=0))


def test_ties_count_as_one_step():
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 5, (300, 3)), rng.random((300, 3)) < 0.2
    found = average_precision(ranks(score), positive)
    for gene in range(3):
        expected = average_precision_score(positive[:, gene], score[:, gene])
        assert found[gene] == pytest.approx(expected)
        expected = roc_auc_score(positive[:, gene], score[:, gene])
        assert auroc(ranks(score), positive)[gene] == pytest.approx(expected)


def test_constant_prediction_scores_nothing():
    measured = np.random.default_rng(0).poisson(1, (100, 2)).astype(np.float32)
    constant = np.full_like(measured, 0.3)
    scores = score_genes(Agreement(measured, constant, constant), ["a", "b"])
    assert scores["pcc"].tolist() == [0, 0]
    assert scores["auroc"].tolist() == [0.5, 0.5]


def test_precision_of_ties_and_of_nothing():
    positive = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], dtype=bool)
    found = average_precision(ranks(np.zeros((4, 2))), positive)
    assert found[0] == 0.5
    assert np.isnan(found[1])


def test_auroc_of_one_class_is_undefined():
    assert np.isnan(auroc(ranks(np.zeros((5, 1))), np.ones((5, 1), dtype=bool))).all()


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


def summary_row(evaluation, baseline=None):
    return summarise(evaluation.genes, evaluation.replicates, evaluation.section, baseline)


def test_evaluation_scores_shared_genes_only(section):
    evaluation = evaluate_section(predicted_like(section, ["C", "Z", "A"]), section, SETTINGS, 0)
    scores = evaluation.genes
    assert scores["gene"].tolist() == ["C", "A"]
    assert (scores["pcc_low"] < scores["pcc"]).all()
    assert (scores["pcc_high"] > scores["pcc"]).all()
    row = summary_row(evaluation)
    assert (row["n_genes"], row["n_units"]) == (2, 60)
    assert row["pcc_mean_low"] < row["pcc_mean"] < row["pcc_mean_high"]
    assert np.isnan(row["skill_mean"])
    assert np.isnan(row["gene_correlation_kept"])  # too few genes


def test_radii_without_neighbours_have_no_columns(section):
    evaluation = evaluate_section(predicted_like(section, ["C", "A"]), section, SETTINGS, 0)
    last = ["pcc_100um", "ceiling_100um", "pcc_200um", "ceiling_200um"]
    assert [c for c in evaluation.genes.columns if c.endswith("00um")] == last
    assert not evaluation.genes.filter(like="8um").size
    uncalibrated = [*JUDGED, "trust"]
    assert evaluation.genes.drop(columns=uncalibrated).notna().all(axis=None)


def test_the_summary_has_radii_last_from_fine_to_coarse(section):
    predicted = predicted_like(section, ["C", "A"])
    rows = [
        {"experiment": name, **summary_row(evaluate_section(predicted, section, settings, 0))}
        for name, settings in (
            ("few", replace(SETTINGS, smoothing_um=[100])),
            ("many", replace(SETTINGS, smoothing_um=[1000, 200, 100])),
        )
    ]
    table = summary_table(rows)
    assert table.columns[: len(SUMMARY_COLUMNS)].tolist() == SUMMARY_COLUMNS
    assert table.columns[len(SUMMARY_COLUMNS) :].tolist() == [
        f"{score}_mean_{radius}um" for radius in (100, 200, 1000) for score in ("pcc", "ceiling")
    ]
    assert table["pcc_mean_200um"].isna().tolist() == [True, False]
    assert table["ssim_mean"].notna().all()


def test_skill_is_the_error_that_is_gone(section):
    evaluation = evaluate_section(predicted_like(section, ["C", "A"]), section, SETTINGS, 0)
    scores = evaluation.genes
    baseline = scores.assign(rmse=2 * scores["rmse"])[::-1]
    assert summary_row(evaluation, baseline)["skill_mean"] == pytest.approx(0.75)


def test_a_section_too_small_for_intervals_has_none(section, caplog):
    settings = replace(SETTINGS, block_um=1000)
    evaluation = evaluate_section(predicted_like(section, ["A"]), section, settings, 0)
    assert np.isnan(evaluation.genes["pcc_low"]).all()
    assert np.isnan(summary_row(evaluation)["pcc_mean_low"])
    assert "only 1 blocks of 1000 um" in caplog.text


def test_a_prediction_in_its_file_scores_as_one_in_memory(section, tmp_path, monkeypatch):
    """Part by part, and with genes in it that the section lacks."""
    predicted = predicted_like(section, ["F", "Z", "A", "C", "Y", "B", "D"])
    predicted.write_h5ad(tmp_path / "predicted.h5ad")
    whole = evaluate_section(predicted, section, SETTINGS, 0)
    monkeypatch.setattr("histoscribe.evaluation.ceiling.VALUES_AT_ONCE", 150)
    monkeypatch.setattr("histoscribe.evaluation.stored.UNITS_AT_ONCE", 17)
    with open_h5ad(tmp_path / "predicted.h5ad") as stored:
        parts = evaluate_section(stored, section, SETTINGS, 0)
    for name in ("genes", "replicates", "reliability", "section"):
        pd.testing.assert_frame_equal(getattr(parts, name), getattr(whole, name), rtol=1e-5)


def test_a_damaged_prediction_is_named(section, tmp_path):
    path = tmp_path / "predicted.h5ad"
    path.write_bytes(b"no such thing")
    with pytest.raises(UserError, match=r"predicted\.h5ad"), open_h5ad(path):
        pass
    section.write_h5ad(path)  # no layers
    with pytest.raises(UserError, match=r"predicted\.h5ad"), open_h5ad(path):
        pass


@pytest.fixture
def smooth_section():
    """900 units 10 um apart, 12 genes that follow two smooth fields; and the true expression."""
    rng = np.random.default_rng(2)
    row, column = np.mgrid[:30, :30]
    xy_um = 10.0 * np.column_stack([column.ravel(), row.ravel()])
    fields = np.stack([np.sin(xy_um[:, 0] / 40), np.cos(xy_um[:, 1] / 50)], axis=1)
    rate = np.exp(fields @ rng.normal(size=(2, 12)))
    share = rate / rate.sum(axis=1, keepdims=True)
    umi = rng.integers(15, 60, 900)
    counts = np.stack([rng.multinomial(n, p) for n, p in zip(umi, share, strict=True)])
    units = ad.AnnData(
        sparse.csr_matrix(counts, dtype=np.int32),
        obs=pd.DataFrame({"umi": umi}, index=[f"u{i}" for i in range(900)]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(12)]),
    )
    units.obsm["spatial"] = xy_um
    predicted = ad.AnnData(
        np.log1p(share * np.median(umi)).astype(np.float32), obs=units.obs, var=units.var
    )
    predicted.layers["probability"] = 1 - (1 - share) ** umi[:, None]
    predicted.uns[RECORD_KEY] = record(target_sum="median")
    return units, predicted


def test_the_truth_reaches_what_is_reachable(smooth_section):
    """The expected expression as the prediction: every score says so, none says more."""
    units, predicted = smooth_section
    settings = replace(SETTINGS, smoothing_um=[10, 20, 40], ceiling_repeats=5)
    evaluation = evaluate_section(predicted, units, settings, 0)
    row = summary_row(evaluation)
    radii = ["", "_10um", "_20um", "_40um"]
    reached = np.array([row[f"pcc_mean{radius}"] for radius in radii])
    ceiling = np.array([row[f"ceiling_mean{radius}"] for radius in radii])
    np.testing.assert_allclose(reached, ceiling, atol=0.03)
    assert (np.diff(reached) > 0.02).all()  # smoothing raises both
    assert (np.diff(ceiling) > 0.02).all()
    assert row["gene_correlation_kept"] == pytest.approx(row["gene_correlation_reachable"], abs=0.1)
    assert row["moran_predicted_mean"] > row["moran_measured_mean"] + 0.2
    assert row["variance_ratio_mean"] == pytest.approx(row["ceiling_mean"] ** 2, abs=0.1)
    assert row["deviance_explained_mean"] > 0.1
    assert row["calibration_error"] < 0.02
    assert 0 < row["pcc_within_type_mean"] < row["pcc_mean"]
    assert row["pcc_beyond_total_mean"] == pytest.approx(row["pcc_mean"], abs=0.05)


def test_a_perfect_prediction_is_perfect(smooth_section):
    units, predicted = smooth_section
    predicted.X = targets(units, list(units.var_names), "median")
    scores = evaluate_section(predicted, units, SETTINGS, 0).genes
    perfect = ["pcc", "pcc_within_type", "pcc_beyond_total", "ssim", "variance_ratio"]
    np.testing.assert_allclose(scores[perfect], 1, atol=1e-5)
    np.testing.assert_allclose(scores["moran_predicted"], scores["moran_measured"])
    assert (scores["deviance_explained"] > 0.9).all()


def test_a_shuffled_prediction_is_found_out(smooth_section):
    units, predicted = smooth_section
    order = np.random.default_rng(0).permutation(900)
    predicted.X = predicted.X[order]
    row = summary_row(evaluate_section(predicted, units, SETTINGS, 0))
    for name in ("pcc", "pcc_within_type", "pcc_beyond_total", "moran_predicted"):
        assert abs(row[f"{name}_mean"]) < 0.05, name
    assert row["deviance_explained_mean"] < 0
    assert row["gene_correlation_kept"] > 0.5  # shuffled units keep how genes go together


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
    assert evaluate_section(predicted, section, SETTINGS, 0).genes["rmse"].max() < 1e-6
