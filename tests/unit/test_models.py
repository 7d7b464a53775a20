from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

from histoscribe.errors import UserError
from histoscribe.evaluation.scores import pearson
from histoscribe.models import KINDS, TrainingUnits, kernel, shared_ridge, tensors_under
from histoscribe.models.bundle import Bundle, model_of, predict, read_bundle, write_bundle
from histoscribe.models.multitask import MultitaskNetwork
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.splits import block_folds
from histoscribe.threads import one_thread_a_call

SETTINGS = {
    "ridge": {"alphas": [1, 100, 10000], "n_folds": 4, "block_um": 100},
    "kernel": {
        "n_waves": 64,
        "gamma": 0.3,
        "alphas": [1, 100, 10000],
        "n_folds": 4,
        "block_um": 100,
    },
    "multitask": {
        "hidden": [32],
        "rank": 4,
        "dropout": 0.1,
        "likelihood": "poisson",
        "learning_rate": 0.01,
        "weight_decay": 0.05,
        "batch_size": 64,
        "max_epochs": 20,
        "max_steps": 250,
        "n_members": 2,
    },
    "mean": {},
    "neighbours": {},
    "prts": {
        "hidden": [32, 32],
        "dropout": 0.1,
        "learning_rate": 0.01,
        "weight_decay": 0.05,
        "batch_size": 64,
        "max_epochs": 15,
        "patience": 5,
        "regression_weight": 1.0,
        "output": "gated",
    },
}
SETTINGS["stacked"] = {
    "members": {kind: SETTINGS[kind] for kind in ("kernel", "neighbours")},
    "block_um": 200,
}


@pytest.fixture(scope="module")
def planted():
    """Expression that follows the first two of ten features, with dropout of expression."""
    rng = np.random.default_rng(0)
    n = 2400
    xy = rng.uniform(0, 1000, (n, 2))
    features = rng.normal(size=(n, 10)).astype(np.float32)
    drive = features[:, :2] @ rng.normal(size=(2, 6))
    expression = np.maximum(drive + rng.normal(size=(n, 6)) * 0.5, 0).astype(np.float32)
    section = np.zeros(n, dtype=int)
    validation = block_folds(xy, section, 100, 5, seed=0) == 0
    training = TrainingUnits(
        features, expression, np.ones(n, "f4"), xy, section, validation, ~validation, 20.0
    )
    return training, expression


@pytest.mark.parametrize("kind", KINDS)
def test_model_learns_what_was_planted(planted, kind):
    training, expression = planted
    model = model_of(kind)
    tensors = model.fit(training, SETTINGS[kind], seed=0, threads=2)
    prediction = model.apply(tensors, SETTINGS[kind], training.features)
    assert prediction.expression.shape == prediction.probability.shape == expression.shape
    assert np.isfinite(prediction.expression).all()
    assert prediction.probability.min() >= 0
    assert prediction.probability.max() <= 1
    # The mean of the drive alone bounds what can be reached at about 0.9.
    reached = pearson(expression, prediction.expression).mean()
    if kind == "mean":
        assert reached == 0
        np.testing.assert_allclose(prediction.expression[0], expression.mean(axis=0), rtol=1e-4)
    else:
        assert reached > 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_gives_the_same_model(planted, kind):
    training, _ = planted
    fit = model_of(kind).fit
    first, second = (fit(training, SETTINGS[kind], 3, 1) for _ in range(2))
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name])


def test_stacking_trusts_who_foretells_unseen_tissue(planted):
    """Neighbours among 10 features, 8 of them idle, know less of new tissue than ridge."""
    training, expression = planted
    members = {kind: SETTINGS[kind] for kind in ("neighbours", "kernel", "mean")}
    settings = {"members": members, "block_um": 200}
    tensors = model_of("stacked").fit(training, settings, 0, 2)
    neighbours, kernel, mean = tensors["weights"]
    assert tensors["weights"].sum() == pytest.approx(1)
    assert kernel > neighbours
    assert mean < 1e-3
    stacked = model_of("stacked").apply(tensors, settings, training.features).expression
    by_hand = 0
    for (kind, own), weight in zip(members.items(), tensors["weights"], strict=True):
        fitted = tensors_under(tensors, f"{kind}/")
        by_hand += weight * model_of(kind).apply(fitted, own, training.features).expression
    np.testing.assert_allclose(stacked, by_hand, atol=1e-6)
    half = training.xy_um[:, 0] < 500
    again = model_of("stacked").refit(training, half, settings, tensors)
    np.testing.assert_array_equal(again["weights"], tensors["weights"])
    np.testing.assert_allclose(again["mean/mean"], expression[half].mean(axis=0), rtol=1e-5)


def test_without_blocks_to_hold_out_all_kinds_weigh_the_same(planted):
    settings = {"members": {"neighbours": {}, "mean": {}}, "block_um": 5000}
    tensors = model_of("stacked").fit(planted[0], settings, 0, 2)
    np.testing.assert_array_equal(tensors["weights"], [0.5, 0.5])


def test_ridge_equals_the_closed_form(planted):
    training, expression = planted
    settings = {**SETTINGS["ridge"], "alphas": [50]}
    tensors = model_of("ridge").fit(training, settings, 0, 1)
    x = training.features.astype(np.float64)
    centred = x - x.mean(axis=0)
    weights = np.linalg.solve(
        centred.T @ centred + 50 * np.eye(10), centred.T @ (expression - expression.mean(axis=0))
    )
    np.testing.assert_allclose(tensors["weights"][:, :6], weights, atol=1e-5)
    at_mean = model_of("ridge").apply(tensors, {}, x.mean(axis=0, keepdims=True).astype("f4"))
    np.testing.assert_allclose(at_mean.expression[0], expression.mean(axis=0), atol=1e-5)


def test_ridge_equals_the_closed_form_with_more_features_than_units(planted):
    rng = np.random.default_rng(1)
    few = rng.choice(len(planted[1]), 90, replace=False)
    x = rng.normal(size=(90, 200)).astype(np.float32)
    y, flags = planted[1][few], np.zeros(90, dtype=bool)
    training = TrainingUnits(
        x, y, np.ones(90, "f4"), planted[0].xy_um[few], flags.astype(int), flags, ~flags, 20.0
    )
    tensors = model_of("ridge").fit(training, {**SETTINGS["ridge"], "alphas": [50]}, 0, 1)
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    weights = np.linalg.solve(centred.T @ centred + 50 * np.eye(200), centred.T @ (y - y.mean(0)))
    np.testing.assert_allclose(tensors["weights"][:, :6], weights, atol=1e-5)


def test_few_units_give_the_exact_kernel(planted):
    """Ridge with the kernel written out, each unit's kernel to all others as its features."""
    training, _ = planted
    few = TrainingUnits(
        **{k: v[:60] if isinstance(v, np.ndarray) else v for k, v in vars(training).items()}
    )
    settings = SETTINGS["kernel"] | {"alphas": [10]}
    tensors = kernel.fit(few, settings, 0, 1)
    assert "waves" not in tensors
    seen, new = few.features.astype(float), training.features[100:200].astype(float)
    length = (seen**2).sum(axis=1).mean()

    def gram(x: np.ndarray) -> np.ndarray:
        squared = ((x[:, None] - seen) ** 2).sum(axis=2)
        return x @ seen.T + x.shape[1] * np.exp(-settings["gamma"] * squared / length)

    values, vectors = np.linalg.eigh(gram(seen))
    kept = values > 1e-9
    root = vectors[:, kept] / np.sqrt(values[kept])
    as_features = replace(few, features=(gram(seen) @ root).astype(np.float32))
    exact = shared_ridge.fit_on(as_features, settings, 0, lambda x: x)
    expected = np.maximum(gram(new) @ root @ exact["weights"] + exact["intercept"], 0)[:, :6]
    found = kernel.apply(tensors, settings, new.astype(np.float32)).expression
    np.testing.assert_allclose(found, expected, atol=1e-3)
    half = np.arange(60) < 30
    again = kernel.refit(few, half, settings, tensors)
    exact = shared_ridge.refit_on(as_features, half, exact, lambda x: x)
    expected = np.maximum(gram(new) @ root @ exact["weights"] + exact["intercept"], 0)[:, :6]
    found = kernel.apply(again, settings, new.astype(np.float32)).expression
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_many_units_give_waves(planted):
    training, _ = planted
    tensors = kernel.fit(training, SETTINGS["kernel"], 0, 1)
    assert tensors["waves"].shape == (10, 64)
    assert "units" not in tensors


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial"])
def test_multitask_averages_rates_and_probabilities_of_its_members(
    planted, likelihood, monkeypatch
):
    settings = {**SETTINGS["multitask"], "likelihood": likelihood, "max_steps": 20}
    tensors = model_of("multitask").fit(planted[0], settings, 0, 1)
    features = planted[0].features[:50]
    monkeypatch.setattr("histoscribe.models.multitask.CACHED_VALUES", 7 * 6)
    predicted = model_of("multitask").apply(tensors, settings, features)
    rates, chances = [], []
    for number in range(2):
        own = tensors_under(tensors, f"member.{number}.")
        network = MultitaskNetwork(10, 6, [32], 4, 0.1).eval()
        network.load_state_dict({name: torch.from_numpy(value) for name, value in own.items()})
        rate = network(torch.from_numpy(features)).exp().detach().numpy().astype(np.float64)
        dispersion = np.exp(own["log_dispersion"].astype(np.float64))
        none = np.exp(-rate)
        if likelihood == "negative_binomial":
            none = (1 + dispersion * rate) ** (-1 / dispersion)
        rates.append(rate)
        chances.append(1 - none)
    np.testing.assert_allclose(predicted.expression, np.log1p(np.mean(rates, axis=0)), rtol=1e-4)
    np.testing.assert_allclose(predicted.probability, np.mean(chances, axis=0), rtol=1e-4)


def test_ridge_penalises_what_does_not_generalise():
    """Features that only mark the block invite a small penalty within blocks, none across."""
    rng = np.random.default_rng(0)
    xy = np.repeat(rng.uniform(0, 2000, (40, 2)), 30, axis=0)
    signature = np.repeat(rng.normal(size=(40, 60)), 30, axis=0)
    features = (signature + 0.01 * rng.normal(size=(1200, 60))).astype(np.float32)
    expression = np.repeat(rng.random((40, 3)), 30, axis=0).astype(np.float32)
    none = np.zeros(1200, dtype=bool)
    training = TrainingUnits(
        features, expression, np.ones(1200, "f4"), xy, np.zeros(1200), none, ~none, 1.0
    )
    settings = {"alphas": [0.01, 1e6], "n_folds": 5, "block_um": 50}
    tensors = model_of("ridge").fit(training, settings, 0, 1)
    assert (tensors["alpha"][:3] == 1e6).all()


def test_ridge_refuses_blocks_that_leave_nothing_to_hold_out(planted):
    training, _ = planted
    with pytest.raises(UserError, match="Make the blocks smaller"):
        model_of("ridge").fit(training, {**SETTINGS["ridge"], "block_um": 5000}, 0, 1)


def test_prts_probability_is_one(planted):
    """Class weights are undone: the mean probability is the share of units that express."""
    training, expression = planted
    rare = np.where(np.random.default_rng(1).random(expression.shape) < 0.2, expression, 0)
    training = replace(training, expression=rare.astype(np.float32))
    tensors = model_of("prts").fit(training, SETTINGS["prts"], 0, 2)
    probability = model_of("prts").apply(tensors, SETTINGS["prts"], training.features).probability
    np.testing.assert_allclose(probability.mean(axis=0), (rare > 0).mean(axis=0), atol=0.05)


def test_prts_bears_a_gene_seen_in_validation_only(planted):
    training, expression = planted
    seen = np.zeros((len(expression), 1), dtype=np.float32)
    seen[np.flatnonzero(training.validation)[0]] = 2.0
    wider = replace(training, expression=np.hstack([expression, seen]))
    tensors = model_of("prts").fit(wider, SETTINGS["prts"], 0, 2)
    predicted = model_of("prts").apply(tensors, SETTINGS["prts"], training.features).expression
    assert pearson(expression, predicted[:, :6]).mean() > 0.7


def bundle(planted, kind="ridge"):
    training, _ = planted
    return Bundle(
        kind=kind,
        settings=SETTINGS[kind],
        tensors=model_of(kind).fit(training, SETTINGS[kind], 0, 2),
        genes=[f"G{i}" for i in range(6)],
        encoders={"morphology": {"kind": "morphology", "tile_um": 128.0}},
        adapted={},
        use=["local", "global"],
        columns=None,
        feature_mean=np.zeros(10),
        feature_scale=np.ones(10),
        target_sum="median",
        provenance={"sections": {"a": "train"}},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_bundle_round_trip_predicts_the_same(planted, kind, tmp_path):
    training, _ = planted
    written = replace(bundle(planted, kind), neighbours_um=[30.0])
    write_bundle(written, tmp_path / "model.safetensors")
    read = read_bundle(tmp_path / "model.safetensors")
    assert read.neighbours_um == [30.0]
    assert (read.genes, read.encoders, read.use) == (written.genes, written.encoders, written.use)
    before, after = (
        model_of(kind).apply(b.tensors, b.settings, training.features) for b in (written, read)
    )
    np.testing.assert_array_equal(before.expression, after.expression)


@pytest.mark.parametrize("kind", ["ridge", "multitask"])
def test_two_threads_predict_the_same(planted, kind, monkeypatch):
    training, _ = planted
    index = [f"u{i}" for i in range(len(training.features))]
    features = ad.AnnData(obs=pd.DataFrame(index=index))
    features.obsm["local"], features.obsm["global"] = np.hsplit(training.features, [4])
    features.uns[RECORD_KEY] = record(encoder={"kind": "morphology", "tile_um": 128.0})
    monkeypatch.setattr("histoscribe.models.bundle.UNITS_AT_ONCE", 64)
    arguments = (bundle(planted, kind), {"morphology": features}, index, "here")
    one, two = predict(*arguments), predict(*arguments, threads=2)
    np.testing.assert_array_equal(one.expression, two.expression)
    np.testing.assert_array_equal(one.probability, two.probability)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with one_thread_a_call():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_damaged_and_foreign_bundles(planted, tmp_path):
    path = tmp_path / "model.safetensors"
    write_bundle(bundle(planted), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="no readable bundle"):
        read_bundle(path)
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(UserError, match="the format None"):
        read_bundle(path)
