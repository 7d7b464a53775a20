import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

import jsonschema
import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from optuna.distributions import IntDistribution
from optuna.trial import TrialState
from test_training import CHOICE, GENES, section

from histoscribe import tuning
from histoscribe.errors import UserError
from histoscribe.experiments import TUNABLE, resolve_experiments, tunable
from histoscribe.models import KINDS, TrainingUnits
from histoscribe.training import TrainingSettings, prepare
from histoscribe.tuning import SETTINGS, TuningSettings, best_override, trials_table, tune

# Nearly a straight line, which can't follow what is planted below.
BAD = {"n_waves": 32, "gamma": 0.001, "alphas": [1, 100], "n_folds": 2, "block_um": 200}
PRTS = {
    "hidden": [16, 32],
    "dropout": 0.1,
    "learning_rate": 0.01,
    "weight_decay": 0,  # outside the space
    "batch_size": 128,
    "max_epochs": 2,
    "patience": 5,
    "regression_weight": 1.0,
    "output": "gated",
}
N_TRIALS = 10
FEW_WAVES = IntDistribution(16, 64, log=True)
FEATURES = {
    "encoder": "morphology",
    "use": [],
    "columns": None,
    "neighbours_um": [],
    "shuffled": False,
}


@pytest.fixture(scope="module", autouse=True)
def few_waves():
    """Trials of milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tuning.SPACES["kernel"], "n_waves", FEW_WAVES)
        yield


def search(n_trials=N_TRIALS, **changes):
    return replace(TuningSettings(n_trials, None, 200.0, "code"), **changes)


def planted(seed=0, n=500, n_sections=1):
    """Expression that rises with the distance from the middle of feature space: no line fits."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 3)).astype(np.float32)
    height = features[:, :2] ** 2 @ rng.uniform(0.5, 1, (2, 4))
    return TrainingUnits(
        features=features,
        expression=np.log1p(rng.poisson(height)).astype(np.float32),
        exposure=np.ones(n, dtype=np.float32),
        xy_um=rng.uniform(0, 1000, (n, 2)),
        section=np.arange(n) % n_sections,
        validation=np.zeros(n, dtype=bool),
        usable=np.ones(n, dtype=bool),
        tile_um=20.0,
    )


def frozen(study):
    return [(t.number, t.state, t.params, t.intermediate_values, t.value) for t in study.trials]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, few_waves):
    """A study in one go."""
    return tune(planted(), "kernel", BAD, search(), 0, 1, tmp_path_factory.mktemp("unbroken"))


def test_the_best_trial_beats_bad_settings(unbroken):
    table = trials_table(unbroken)
    assert table["number"].tolist() == list(range(N_TRIALS))
    assert table.loc[0, ["gamma", "n_waves"]].tolist() == [BAD["gamma"], BAD["n_waves"]]
    assert table.loc[0, "score"] < 0.2 < 0.5 < unbroken.best_value == table["score"].max()
    assert (table["seconds"] >= 0).all()


def test_whole_seconds_and_scores_are_still_numbers_with_a_point():
    study = optuna.create_study()
    start = datetime(2026, 1, 1)
    trial = optuna.trial.create_trial(
        value=1.0,
        intermediate_values={0: 1.0},
        user_attrs={SETTINGS: {"n_waves": 8}},
    )
    trial.datetime_start, trial.datetime_complete = start, start + timedelta(seconds=5)
    study.add_trial(trial)
    table = trials_table(study)
    assert {c: str(table[c].dtype) for c in ("score", "n_waves", "seconds")} == {
        "score": "float64",
        "n_waves": "Int64",
        "seconds": "float64",
    }
    assert table["seconds"].item() == 5


def test_bad_trials_are_given_up_between_folds(unbroken):
    table = trials_table(unbroken).set_index("state")
    assert (table.loc["complete", "n_folds"] == 4).all()
    pruned = table.loc[["pruned"]]
    assert pruned["n_folds"].between(1, 3).all()
    assert pruned["score"].max() < unbroken.best_value


def test_the_override_is_that_of_the_best_trial(unbroken):
    text = best_override(unbroken, "kernel")
    override = yaml.safe_load(text)
    config = {
        "bundle": None,
        "genes": {},
        "features": FEATURES,
        "model": {"kind": "ridge", "ridge": {"alphas": [1]}, "kernel": {"n_waves": 1, "gamma": 1}},
        "training": {},
    }
    pasted = resolve_experiments(config, {"full": override})["full"]
    best = trials_table(unbroken).set_index("number").loc[unbroken.best_trial.number]
    assert pasted.model["kind"] == "kernel"
    assert pasted.model_settings == {
        "alphas": [1],
        "n_waves": best["n_waves"],
        "gamma": best["gamma"],
    }
    assert f"{unbroken.best_value:.4f}" in text and f"{unbroken.trials[0].value:.4f}" in text


def test_a_search_goes_on_as_if_it_had_not_stopped(unbroken, tmp_path):
    first = frozen(tune(planted(), "kernel", BAD, search(3), 0, 1, tmp_path))
    assert len(first) == 3
    again = frozen(tune(planted(), "kernel", BAD, search(3), 0, 1, tmp_path))
    assert again == first
    more = frozen(tune(planted(), "kernel", BAD, search(5), 0, 1, tmp_path))
    assert len(more) == 5 and more[:3] == first
    assert more == frozen(unbroken)[:5]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("changed", ["data", "seed", "settings", "block_um", "code"])
def test_other_data_or_settings_begin_anew(changed, tmp_path):
    first = frozen(tune(planted(), "kernel", BAD, search(2), 0, 1, tmp_path))
    training, shipped, seed, settings = planted(), BAD, 0, search(1)
    if changed == "data":
        training.expression[0, 0] += 1
    elif changed == "seed":
        seed = 1
    elif changed == "settings":
        shipped = {**BAD, "alphas": [10]}
    else:
        settings = search(1, **{changed: {"block_um": 210.0, "code": "other"}[changed]})
    assert len(tune(training, "kernel", shipped, settings, seed, 1, tmp_path).trials) == 1
    assert frozen(tune(planted(), "kernel", BAD, search(2), 0, 1, tmp_path)) == first


KILLED = """
import os, sys
from pathlib import Path
from test_tuning import BAD, FEW_WAVES, planted, search
from histoscribe import tuning
tuning.SPACES["kernel"]["n_waves"] = FEW_WAVES
scores, trials = tuning.fold_scores, []

def killed(*arguments):
    trials.append(1)
    for score in scores(*arguments):
        yield score
        if len(trials) == int(sys.argv[2]):
            os._exit(9)

tuning.fold_scores = killed
tuning.tune(planted(), "kernel", BAD, search(4), 0, 1, Path(sys.argv[1]))
"""


@pytest.mark.parametrize("in_trial", [1, 3])
def test_a_killed_search_goes_on(in_trial, unbroken, tmp_path, repository):
    folders = [repository / "scripts", repository / "tests", repository / "tests/unit"]
    finished = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(in_trial)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        check=False,
    )
    assert finished.returncode == 9
    journal = next(tmp_path.glob("*.journal"))
    with journal.open("a") as file:  # the last line was cut short, and the lock stayed
        file.write('{"op_code":8,"wor')
    journal.with_name(f"{journal.name}.lock").touch()
    study = tune(planted(), "kernel", BAD, search(4), 0, 1, tmp_path)
    states = [trial.state for trial in study.trials]
    assert states.index(TrialState.FAIL) == in_trial - 1
    assert states.count(TrialState.COMPLETE) == 4 == len(states) - 1
    table = trials_table(study)
    assert table["score"].isna().tolist() == [state == TrialState.FAIL for state in states]
    first = table[table["state"] == "complete"].iloc[0]
    assert first["gamma"] == BAD["gamma"]  # what the search begins with is scored in any case
    assert first["score"] == unbroken.trials[0].value


def test_no_trial_begins_when_time_is_up(tmp_path, monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(tuning, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    study = tune(planted(), "kernel", BAD, search(timeout_s=25), 0, 1, tmp_path)
    assert len(study.trials) == 2


def test_settings_that_cannot_be_fitted_are_given_up(tmp_path, monkeypatch):
    scores = tuning.fold_scores

    def diverging(training, kind, settings, *rest):
        if settings["gamma"] != BAD["gamma"]:
            raise ArithmeticError("the loss is not finite")
        yield from scores(training, kind, settings, *rest)

    monkeypatch.setattr(tuning, "fold_scores", diverging)
    study = tune(planted(), "kernel", BAD, search(3), 0, 1, tmp_path)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert study.best_trial.number == 0
    monkeypatch.setattr(tuning, "fold_scores", lambda *_: iter([np.nan] * 4))
    with pytest.raises(UserError, match="none of which could be scored"):
        tune(planted(seed=1), "kernel", BAD, search(2), 0, 1, tmp_path)


def test_fits_see_nothing_of_what_scores_them(monkeypatch):
    """Held-out expression of noise leaves the fits, and so the predictions, as they were."""
    training = planted(n_sections=2)
    folds = tuning.spatial_folds(training, training.usable, 200.0, 0)
    predicted, model_of, learnt = [], tuning.model_of, []

    class Watched:
        @staticmethod
        def fit(units, *rest):
            learnt.append(units.xy_um)
            return model_of("kernel").fit(units, *rest)

    def predict(*arguments):
        predicted.append(tuning_predict(*arguments))
        return predicted[-1]

    tuning_predict = tuning.predict_rows
    monkeypatch.setattr(tuning, "predict_rows", predict)
    monkeypatch.setattr(tuning, "model_of", lambda kind: Watched)
    settings = {**BAD, "gamma": 0.3}
    learn, held = folds[0]
    score = next(tuning.fold_scores(training, "kernel", settings, folds, 0, 1))
    distance_um = np.abs(learnt[0][:, None] - training.xy_um[None, held]).max(axis=-1)
    same = training.section[learn][:, None] == training.section[held][None]
    assert len(learnt[0]) == learn.sum() and distance_um[same].min() >= training.tile_um
    noise = training.expression.copy()
    noise[held] = np.random.default_rng(1).permutation(noise[held])
    among_noise = replace(training, expression=noise)
    fooled = next(tuning.fold_scores(among_noise, "kernel", settings, folds, 0, 1))
    np.testing.assert_array_equal(predicted[0], predicted[1])
    assert abs(fooled) < 0.2 < score


def test_scores_are_those_of_each_section_and_constant_genes_count_as_0(monkeypatch):
    training = planted(n_sections=2)
    held = training.xy_um[:, 0] < 500
    monkeypatch.setattr(tuning, "predict_rows", lambda *a: training.expression[a[-1]])
    (whole,) = tuning.fold_scores(training, "kernel", BAD, [(~held, held)], 0, 1)
    assert whole == pytest.approx(1)
    training.expression[:, 0] = training.section  # differs between sections, not within
    (score,) = tuning.fold_scores(training, "kernel", BAD, [(~held, held)], 0, 1)
    assert score == pytest.approx(3 / 4)


@pytest.mark.parametrize("kind", ["kernel", "prts"])
def test_validation_sections_are_never_scored(kind, tmp_path, monkeypatch):
    """They only say when a network stops, and teach nothing at all to kinds without that."""
    settings = TrainingSettings(CHOICE, "median", 40.0, 200.0, 0.2)
    sections = [section("a", 0), section("b", 1), section("v", 2, validates=True)]
    training = prepare(sections, GENES, kind, settings, 0).training
    scored, predict_rows = [], tuning.predict_rows

    def predict(*arguments):
        scored.append(arguments[-1])
        return predict_rows(*arguments)

    monkeypatch.setattr(tuning, "predict_rows", predict)
    tune(training, kind, BAD if kind == "kernel" else PRTS, search(1), 0, 1, tmp_path)
    assert sorted(np.concatenate(scored)) == list(range(1000))  # those of a and b, each once
    assert len(training.features) == (1000 if kind == "kernel" else 1500)


def test_units_that_stop_a_network_are_never_scored(tmp_path, monkeypatch):
    settings = TrainingSettings(CHOICE, "median", 40.0, 200.0, 0.2)
    training = prepare([section("a", 0)], GENES, "prts", settings, 0).training
    learnt, scored, model_of = [], [], tuning.model_of

    class Watched:
        @staticmethod
        def fit(units, *rest):
            learnt.append(units)
            return model_of("prts").fit(units, *rest)

    def nothing(kind, fitted, settings, features, rows):
        scored.append(rows)
        return np.zeros((len(rows), len(GENES)), dtype=np.float32)

    monkeypatch.setattr(tuning, "predict_rows", nothing)
    monkeypatch.setattr(tuning, "model_of", lambda kind: Watched)
    tune(training, "prts", PRTS, search(2), 0, 1, tmp_path)
    assert training.validation.sum() > 50
    assert not training.validation[np.concatenate(scored)].any()
    for units, rows in zip(learnt, scored, strict=True):
        assert units.validation.sum() == training.validation.sum()
        stops_or_teaches = units.xy_um[units.validation | units.usable]
        distance_um = np.abs(stops_or_teaches[:, None] - training.xy_um[None, rows]).max(axis=-1)
        assert distance_um.min() >= 40


def test_the_first_trial_is_exact_even_outside_the_space(tmp_path):
    training = replace(planted(), validation=np.arange(500) % 2 == 0, usable=np.arange(500) % 2 > 0)
    study = tune(training, "prts", PRTS, search(2), 0, 1, tmp_path)
    table = trials_table(study)
    shipped = {name: PRTS[name] for name in study.trials[0].user_attrs["settings"]}
    assert table.iloc[0][list(shipped)].to_dict() == shipped
    assert {"hidden", "weight_decay", "output"} <= set(shipped) and "max_epochs" not in shipped
    assert len(set(table["hidden"].iloc[1])) == 1  # layers of one width


@pytest.mark.parametrize("kind", TUNABLE)
def test_the_whole_space_is_allowed_by_the_schema(kind, repository):
    assert tuple(tuning.SPACES) == TUNABLE
    schema = yaml.safe_load((repository / "workflow/schemas/config.schema.yaml").read_text())
    defaults = yaml.safe_load((repository / "config/config.yaml").read_text())["model"][kind]
    known = schema["$defs"]["model"]["properties"][kind]
    for end in ("low", "high"):
        point = {
            name: getattr(found, end) if hasattr(found, end) else found.choices[end == "high"]
            for name, found in tuning.SPACES[kind].items()
        }
        settings = tuning.settings_of(point)
        jsonschema.validate(settings, known)
        assert set(settings) == set(tuning._searched(tuning.SPACES[kind], defaults))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(TUNABLE)))
def test_kinds_without_a_space(kind, tmp_path):
    with pytest.raises(UserError, match=f"model.kind: found {kind}, .* one of kernel, multitask"):
        tune(planted(), kind, {}, search(), 0, 1, tmp_path)
    assert not list(tmp_path.iterdir())


def test_experiments_without_a_space_are_left_out():
    config = {
        "bundle": None,
        "genes": {},
        "features": FEATURES,
        "model": {"kind": "ridge"},
        "training": {},
    }
    overrides = {"line": {}, "bent": {"model": {"kind": "kernel"}}}
    assert tunable(resolve_experiments(config, overrides)) == ["bent"]
    with pytest.raises(UserError, match=r"experiments to tune: found line \(ridge\); expected"):
        tunable(resolve_experiments(config, {"line": {}}))
    with pytest.raises(UserError, match="experiments to tune: found none"):
        tunable(resolve_experiments({**config, "bundle": "model.safetensors"}, {}))


def test_blocks_too_large_to_hold_one_out(tmp_path):
    with pytest.raises(UserError, match="Make blocks smaller"):
        tune(planted(), "kernel", BAD, search(block_um=5000.0), 0, 1, tmp_path)


def test_the_table_keeps_whole_numbers(unbroken, tmp_path):
    trials_table(unbroken).to_csv(tmp_path / "trials.tsv", sep="\t", index=False)
    read = pd.read_csv(tmp_path / "trials.tsv", sep="\t")
    assert read["n_waves"].dtype == "int64"
