from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histoscribe.evaluation.section import EvaluationSettings, evaluate_section
from histoscribe.experiments import FeatureChoice
from histoscribe.models import TrainingUnits
from histoscribe.models.bundle import predict, read_bundle, write_bundle
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.training import SectionData, TrainingSettings, train
from histoscribe.uncertainty.domain import WARN_MEDIAN, WARN_SHARE
from histoscribe.uncertainty.held_out import held_out_predictions, spatial_folds
from histoscribe.uncertainty.prediction import annotate
from histoscribe.uncertainty.trust import trust_grade

GENES = ["strong", "middling", "weak", "noise"]
RIDGE = {"alphas": [1, 100], "n_folds": 3, "block_um": 150}
CHOICE = FeatureChoice(["morphology"], ["local"], None, [], shuffled=False)
SETTINGS = TrainingSettings(CHOICE, 10_000, 40.0, 200.0, 0.2)


@pytest.mark.parametrize(
    ("pcc", "low", "high", "ceiling", "skill", "grade"),
    [
        (0.30, 0.28, 0.32, 0.40, 0.1, "A"),
        (0.30, 0.20, 0.38, 0.40, 0.1, "B"),  # near its ceiling, but not tight
        (0.22, 0.20, 0.24, 0.40, 0.1, "B"),
        (0.30, 0.02, 0.50, 0.40, 0.1, "C"),
        (0.10, 0.08, 0.12, 0.40, 0.1, "C"),
        (0.04, 0.03, 0.05, 0.04, 0.1, "C"),  # such a ceiling is none
        (0.10, -0.01, 0.20, 0.40, 0.1, "D"),
        (0.30, 0.28, 0.32, 0.40, 0.0, "D"),  # right pattern, wrong levels
        (0.00, 0.00, 0.00, 0.40, 0.0, "D"),
        (0.30, np.nan, np.nan, 0.40, 0.1, "D"),  # nothing was shown
        (0.30, 0.28, 0.32, 0.40, np.nan, "D"),
    ],
)
def test_planted_grades(pcc, low, high, ceiling, skill, grade):
    values = (np.array([x]) for x in (pcc, low, high, ceiling, skill))
    assert trust_grade(*values).tolist() == [grade]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    block_um=st.floats(80, 400),
    tile_um=st.floats(5, 150),
    k=st.booleans(),
)
def test_what_calibrates_was_not_learnt_nor_near_what_was(seed, block_um, tile_um, k):
    rng = np.random.default_rng(seed)
    n = 400
    xy, section = rng.uniform(0, 1000, (n, 2)), rng.integers(0, 2, n)
    among = rng.random(n) < 0.8 if k else np.ones(n, dtype=bool)
    none = np.zeros(n, dtype=bool)
    zeros = np.zeros((n, 1), dtype=np.float32)
    training = TrainingUnits(zeros, zeros, zeros[:, 0], xy, section, none, ~none, tile_um)
    seen = np.zeros(n, dtype=int)
    for learn, held in spatial_folds(training, among, block_um, seed):
        assert not (learn & held).any()
        assert (among[learn]).all()
        seen += held
        for name in (0, 1):
            a, b = xy[learn & (section == name)], xy[held & (section == name)]
            if len(a) and len(b):
                assert np.abs(a[:, None] - b[None]).max(axis=2).min() >= tile_um
    assert seen.max() <= 1
    assert not (seen[~among]).any()


def test_predictions_of_held_out_units_know_nothing_of_them():
    """Features that name the unit's block and nothing else: only a leak could predict."""
    rng = np.random.default_rng(0)
    corner = np.stack(np.meshgrid(np.arange(8), np.arange(8)), axis=-1).reshape(-1, 2)
    xy = np.repeat(corner * 100.0 + 50, 20, axis=0) + rng.uniform(-5, 5, (1280, 2))
    features = np.repeat(np.eye(64), 20, axis=0).astype(np.float32)
    expression = np.repeat(rng.exponential(size=(64, 3)), 20, axis=0).astype(np.float32)
    none = np.zeros(1280, dtype=bool)
    training = TrainingUnits(
        features, expression, np.ones(1280, "f4"), xy, np.zeros(1280), none, ~none, 20.0
    )
    folds = spatial_folds(training, ~none, 100, 0)
    tensors = {"alpha": np.full(6, 1e-3)}
    found = held_out_predictions(training, "ridge", {}, tensors, folds)
    assert sorted(found.rows) == list(range(1280))
    measured = training.expression[found.rows]
    assert max(np.corrcoef(found.expression[:, g], measured[:, g])[0, 1] for g in range(3)) < 0.2


def section(name, seed, n=2500, shift=0.0):
    """Zero-inflated counts of four genes that follow the features less and less."""
    rng = np.random.default_rng(seed)
    index = [f"{name}-{i}" for i in range(n)]
    local = rng.normal(size=(n, 6)).astype(np.float32)
    rate = np.exp(local[:, :4] * [0.9, 0.45, 0.2, 0.0] + np.log([1.5, 0.6, 0.4, 0.2]))
    rate *= np.exp(rng.normal(size=(n, 4)) * [0.0, 0.6, 0.6, 0.0])
    depth = rng.gamma(8, 1 / 8, (n, 1))
    units = ad.AnnData(
        rng.poisson(rate * depth).astype(np.int32),
        obs=pd.DataFrame({"umi": np.round(10_000 * depth[:, 0]).astype(int)}, index=index),
        var=pd.DataFrame(index=GENES),
    )
    units.obsm["spatial"] = rng.uniform(0, 1200, (n, 2))
    features = ad.AnnData(obs=pd.DataFrame(index=index))
    features.obsm["local"] = local + np.float32(shift)
    features.uns[RECORD_KEY] = record(encoder={"kind": "morphology"})
    return SectionData(name, units, {"morphology": features}, False)


@pytest.fixture(scope="module")
def bundle():
    return train([section("a", 0), section("b", 1)], GENES, "ridge", RIDGE, SETTINGS, 0, 1, {})


def annotated(bundle, test, intervals=True):
    prediction = predict(bundle, test.features, list(test.units.obs_names), test.name)
    predicted = ad.AnnData(
        prediction.expression, obs=test.units.obs[[]].copy(), var=pd.DataFrame(index=bundle.genes)
    )
    predicted.layers["probability"] = prediction.probability
    predicted.uns[RECORD_KEY] = record(target_sum=bundle.target_sum)
    annotate(predicted, prediction, bundle.uncertainty, intervals)
    return predicted


@pytest.mark.parametrize("kind", ["ridge", "mean"])
def test_a_bundle_knows_its_errors_on_an_unseen_section(kind):
    model = train([section("a", 0), section("b", 1)], GENES, kind, RIDGE, SETTINGS, 0, 1, {})
    test = section("c", 2)
    evaluation = EvaluationSettings(2, 200, 150, [])
    scores = evaluate_section(annotated(model, test), test.units, evaluation, seed=0).genes
    np.testing.assert_allclose(scores["coverage_randomised"], 0.9, atol=0.02)
    assert (scores["coverage"] >= scores["coverage_randomised"]).all()
    promised, kept = annotated(model, test).var["trust"], scores["trust"]
    if kind == "mean":
        assert set(promised) == set(kept) == {"D"}
    else:
        assert promised["strong"] == kept[0] == "A"
        assert promised["noise"] == kept[3] == "D"


def test_intervals_and_domain_survive_the_bundle(bundle, tmp_path):
    write_bundle(bundle, tmp_path / "model.safetensors")
    test = section("c", 2)
    before, after = (
        annotated(b, test) for b in (bundle, read_bundle(tmp_path / "model.safetensors"))
    )
    for layer in ("lower", "upper"):
        np.testing.assert_array_equal(before.layers[layer], after.layers[layer])
    pd.testing.assert_frame_equal(before.obs, after.obs)
    pd.testing.assert_frame_equal(before.var, after.var)
    after.write_h5ad(tmp_path / "predicted.h5ad")
    again = ad.read_h5ad(tmp_path / "predicted.h5ad")
    np.testing.assert_array_equal(again.varm["interval_high"], before.varm["interval_high"])
    assert again.var["trust"].tolist() == before.var["trust"].tolist()
    assert again.obs["out_of_domain"].dtype == bool


def test_intervals_can_be_left_out(bundle):
    predicted = annotated(bundle, section("c", 2), intervals=False)
    assert list(predicted.layers) == ["probability"]
    assert "interval_low" in predicted.varm  # coverage is scored all the same


def test_a_strange_section_is_called_out(bundle, caplog):
    with caplog.at_level("INFO"):
        predicted = annotated(bundle, section("c", 2))
    assert predicted.obs["out_of_domain"].mean() < 0.03
    assert [r.levelname for r in caplog.records] == ["INFO"]
    caplog.clear()
    predicted = annotated(bundle, section("d", 3, shift=3.0))
    assert predicted.obs["out_of_domain"].mean() > 0.9
    assert "unlike those the model learnt from" in caplog.text
    caplog.clear()
    pale = section("e", 4)  # all units a little off, each within some training unit's range
    seen = pale.features["morphology"].obsm
    seen["local"] = 0.3 * seen["local"] + np.float32(1.4)
    predicted = annotated(bundle, pale)
    assert predicted.obs["out_of_domain"].mean() < WARN_SHARE
    assert predicted.obs["domain_percentile"].median() > WARN_MEDIAN
    assert "unlike those the model learnt from" in caplog.text


def test_sections_of_one_block(caplog):
    """Each is held out whole, if there is another; else the model says nothing, and says so."""
    whole = replace(SETTINGS, block_um=5000.0)
    first, second, third = (section(name, i, n=300) for i, name in enumerate("abc"))
    both = train([first, second, replace(third, validates=True)], GENES, "ridge",
                 {**RIDGE, "block_um": 150}, whole, 0, 1, {})  # fmt: skip
    assert "interval_low" in both.uncertainty
    assert not caplog.records
    with caplog.at_level("WARNING"):
        alone = train([first, replace(second, validates=True)], GENES, "mean", {}, whole, 0, 1, {})
    assert set(alone.uncertainty) == {"training_mean"}
    assert "no domain" in caplog.text
    assert "no intervals and grades" in caplog.text
    predicted = annotated(alone, third)
    assert list(predicted.var) == ["training_mean"]
