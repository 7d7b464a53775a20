from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from histoscribe.errors import UserError
from histoscribe.experiments import FeatureChoice
from histoscribe.expression import targets
from histoscribe.models.bundle import predict
from histoscribe.models.inputs import inputs_of
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.training import SectionData, TrainingSettings, train

GENES = ["A", "B", "C"]
RIDGE = {"alphas": [1, 100], "n_folds": 3, "block_um": 100}
CHOICE = FeatureChoice(["morphology"], ["local", "global"], None, [], shuffled=False)
SETTINGS = TrainingSettings(CHOICE, "median", 40.0, 100.0, 0.2)


def section(name, seed, validates=False, encoder="morphology", **identity):
    rng = np.random.default_rng(seed)
    n = 500
    index = [f"{name}-{i}" for i in range(n)]
    local = rng.normal(3, 2, (n, 4)).astype(np.float32)
    rate = np.exp(0.4 * (local[:, :3] - 3)) * 3
    units = ad.AnnData(
        sparse.csr_matrix(rng.poisson(rate), dtype=np.int32),
        obs=pd.DataFrame(index=index),
        var=pd.DataFrame(index=GENES),
    )
    units.obs["umi"] = 400  # of all genes, of which three are in the panel
    units.obsm["spatial"] = rng.uniform(0, 800, (n, 2))
    shuffled = rng.permutation(n)  # features are matched by name, not by row
    features = ad.AnnData(obs=pd.DataFrame(index=[index[i] for i in shuffled]))
    features.obsm["local"] = local[shuffled]
    features.obsm["global"] = rng.normal(size=(n, 2)).astype(np.float32)
    features.uns[RECORD_KEY] = record(encoder={"kind": encoder, **identity})
    return SectionData(name, units, {"morphology": features}, validates)


def test_training_and_prediction_match_units_by_name():
    bundle = train([section("a", 0), section("b", 1)], GENES, "ridge", RIDGE, SETTINGS, 0, 1, {})
    test = section("c", 2)
    rows = list(test.units.obs_names)
    predicted = predict(bundle, test.features, rows, "c").expression
    truth = test.units.X.toarray()
    assert min(np.corrcoef(predicted[:, i], truth[:, i])[0, 1] for i in range(3)) > 0.5


def test_scalers_do_not_see_validation_sections():
    alone = train([section("a", 0)], GENES, "mean", {}, SETTINGS, 0, 1, {})
    beside = train([section("a", 0), section("v", 5, True)], GENES, "mean", {}, SETTINGS, 0, 1, {})
    np.testing.assert_array_equal(alone.feature_mean, beside.feature_mean)
    np.testing.assert_array_equal(alone.tensors["mean"], beside.tensors["mean"])


def test_features_of_another_encoder():
    with pytest.raises(UserError, match="features of b"):
        train(
            [section("a", 0), section("b", 1, encoder="hipt")],
            GENES,
            "mean",
            {},
            SETTINGS,
            0,
            1,
            {},
        )
    bundle = train([section("a", 0)], GENES, "mean", {}, SETTINGS, 0, 1, {})
    other = section("c", 2, encoder="hipt")
    with pytest.raises(UserError, match=r"another encoder \(kind: hipt\)"):
        predict(bundle, other.features, list(other.units.obs_names), "c")


def test_features_of_another_stain_are_named_in_short():
    sections = [section(name, 0, stain={"mean": [0.5] * 1000}) for name in "ab"]
    sections.append(section("c", 1, stain={"mean": [0.25] * 1000}))
    with pytest.raises(UserError, match=r"features of c.*\(stain: .*stain\.method") as raised:
        train(sections, GENES, "mean", {}, SETTINGS, 0, 1, {})
    assert "kind" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_an_encoder_of_before_there_was_stain_has_none():
    bundle = train([section("a", 0)], GENES, "mean", {}, SETTINGS, 0, 1, {})
    new = section("b", 1, stain=None)
    assert predict(bundle, new.features, list(new.units.obs_names), "b").expression.shape[1] == 3


def test_kinds_that_need_no_validation_learn_from_every_unit():
    """Blocks as large as the section leave nothing to set apart, and need not."""
    wide = TrainingSettings(CHOICE, "median", 40.0, 5000.0, 0.2)
    learnt = train([section("a", 0)], GENES, "mean", {}, wide, 0, 1, {})
    measured = targets(section("a", 0).units, GENES, "median")
    np.testing.assert_allclose(learnt.tensors["mean"], measured.mean(axis=0), rtol=1e-5)


def test_missing_genes_and_features_are_named():
    with pytest.raises(UserError, match=r"1 of 4 genes \(such as Q"):
        train([section("a", 0)], [*GENES, "Q"], "mean", {}, SETTINGS, 0, 1, {})
    whole = section("a", 0)
    described = {"morphology": whole.features["morphology"][:250].copy()}
    half = SectionData("a", whole.units, described, False)
    with pytest.raises(UserError, match="no features for 250 of 500 units"):
        train([half], GENES, "mean", {}, SETTINGS, 0, 1, {})


def test_blocks_too_large_to_set_one_apart():
    huge = TrainingSettings(CHOICE, "median", 40.0, 5000.0, 0.2)
    with pytest.raises(UserError, match="Make blocks smaller"):
        train([section("a", 0)], GENES, "prts", {}, huge, 0, 1, {})


def test_means_over_neighbours_are_those_within_the_radius():
    """Of all units of the features' files, in whatever order these have them."""
    described = section("a", 0).features["morphology"]
    described.obsm["spatial"] = np.random.default_rng(1).uniform(0, 300, (500, 2))
    rows = list(described.obs_names[::7][::-1])
    inputs = inputs_of({"morphology": described}, ["local", "global"], None, [20, 90], rows)
    place = described.obs_names.get_indexer(rows)
    own = np.hstack([described.obsm["local"], described.obsm["global"]])
    np.testing.assert_array_equal(inputs[:, :6], own[place])
    xy_um = described.obsm["spatial"]
    for number, radius_um in enumerate((20, 90), 1):
        for row, unit in enumerate(place):
            near = np.linalg.norm(xy_um - xy_um[unit], axis=1) <= radius_um
            found = inputs[row, 6 * number : 6 * number + 6]
            np.testing.assert_allclose(found, own[near].mean(axis=0), rtol=2e-5, atol=1e-5)


def test_neighbours_are_sought_in_parts(monkeypatch):
    described = section("a", 0).features["morphology"]
    described.obsm["spatial"] = np.random.default_rng(1).uniform(0, 300, (500, 2))
    arguments = ({"morphology": described}, ["local"], None, [50.0], list(described.obs_names))
    at_once = inputs_of(*arguments)
    monkeypatch.setattr("histoscribe.models.inputs.PAIRS_AT_ONCE", 300)
    np.testing.assert_allclose(inputs_of(*arguments), at_once, rtol=1e-6)


def test_a_model_keeps_which_neighbours_it_was_trained_with():
    settings = replace(SETTINGS, features=replace(CHOICE, neighbours_um=[60.0]))
    sections = [section(name, seed) for seed, name in enumerate("abc")]
    for each in sections:
        each.features["morphology"].obsm["spatial"] = np.random.default_rng(1).uniform(
            0, 800, (500, 2)
        )
    bundle = train(sections[:2], GENES, "ridge", RIDGE, settings, 0, 1, {})
    assert bundle.neighbours_um == [60.0]
    assert bundle.feature_mean.shape == (2 * 6,)
    rows = list(sections[2].units.obs_names)
    assert predict(bundle, sections[2].features, rows, "c").expression.shape == (500, 3)


def test_blocks_that_an_encoder_lacks_are_passed_over():
    described = {
        "a": section("a", 0).features["morphology"],
        "b": section("a", 0).features["morphology"],
    }
    del described["b"].obsm["global"]
    rows = list(described["a"].obs_names)
    assert inputs_of(described, ["local", "global"], None, [], rows).shape == (500, 4 + 2 + 4)
    with pytest.raises(UserError, match=r"nothing in mean of a, b that matches \*"):
        inputs_of(described, ["mean"], None, [], rows)


def test_adapted_features_have_no_means_over_neighbours():
    """Some of them would know the unit's own expression."""
    described = {"a": section("a", 0).features["morphology"]}
    described["b"] = section("a", 0, encoder="adapted").features["morphology"]
    for each in described.values():
        each.obsm["spatial"] = np.random.default_rng(1).uniform(0, 300, (500, 2))
    rows = list(described["a"].obs_names)
    inputs = inputs_of(described, ["local"], None, [50.0], rows)
    assert inputs.shape == (500, 4 + 4 + 4)


def test_a_unit_without_features_is_missed_with_neighbours_too():
    described = section("a", 0).features["morphology"]
    described.obsm["spatial"] = np.random.default_rng(1).uniform(0, 300, (500, 2))
    with pytest.raises(UserError, match="no features for 1 of 2 units"):
        inputs_of({"a": described}, ["local"], None, [50.0], [described.obs_names[0], "other"])
