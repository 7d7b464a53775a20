"""Tuning: a search for settings of a model, scored on training tissue that no fit has seen.

Blocks of the training sections are held out in turn; each trial is fitted without them, and
without what lies within a tile of them, and scored by them. A trial that does worse than most
before it is given up between two folds. Sections that are tested or that validate score nothing.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import yaml
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from histoscribe.errors import UserError, problem
from histoscribe.evaluation.scores import pearson
from histoscribe.models import TrainingUnits
from histoscribe.models.bundle import model_of
from histoscribe.uncertainty.held_out import predict_rows, spatial_folds

LOG = logging.getLogger(__name__)
Space = dict[str, BaseDistribution]
Folds = list[tuple[np.ndarray, np.ndarray]]

# Hidden layers are searched as so many of one width.
LAYERS = ("width", "n_layers")
SPACES: dict[str, Space] = {
    "kernel": {
        "n_waves": IntDistribution(256, 2048, log=True),
        "gamma": FloatDistribution(0.01, 10, log=True),
    },
    "multitask": {
        "width": IntDistribution(64, 512, log=True),
        "n_layers": IntDistribution(1, 3),
        "rank": IntDistribution(8, 256, log=True),
        "dropout": FloatDistribution(0, 0.6),
        "likelihood": CategoricalDistribution(["poisson", "negative_binomial"]),
        "learning_rate": FloatDistribution(2e-4, 2e-2, log=True),
        "weight_decay": FloatDistribution(1e-3, 1, log=True),
        "max_steps": IntDistribution(250, 2000, log=True),
    },
    "prts": {
        "width": IntDistribution(128, 1024, log=True),
        "n_layers": IntDistribution(1, 4),
        "dropout": FloatDistribution(0, 0.5),
        "learning_rate": FloatDistribution(1e-4, 3e-2, log=True),
        "weight_decay": FloatDistribution(1e-3, 1, log=True),
        "regression_weight": FloatDistribution(0.3, 30, log=True),  # the authors' code has 30
        "output": CategoricalDistribution(["gated", "expected"]),
    },
}
# Trials that count; failed ones were killed.
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
SHIPPED, SETTINGS = "shipped", "settings"  # what is noted of a trial


@dataclass(frozen=True)
class TuningSettings:
    """When a search ends, and by what it scores.

    It has `n_trials` done in all, counting those of former calls; none is begun `timeout_s` after
    this call's start. Blocks of `block_um` are held out. A study goes on only under the same
    `code`, a digest.
    """

    n_trials: int
    timeout_s: float | None
    block_um: float
    code: str


def space_of(kind: str) -> Space:
    """What is searched, by name. Raises UserError for kinds that have nothing to search."""
    if kind not in SPACES:
        raise UserError(
            problem(
                "model.kind",
                f"{kind}, which has no settings to search",
                f"one of {', '.join(SPACES)}",
                "Tune an experiment of such a kind.",
            )
        )
    return SPACES[kind]


def tune(
    training: TrainingUnits,
    kind: str,
    shipped: dict,
    search: TuningSettings,
    seed: int,
    threads: int,
    folder: Path,
) -> optuna.Study:
    """Search from the `shipped` settings, which are the first trial; the study is in `folder`.

    Its file is named by a digest of all that a score depends on, so that a search goes on where
    it stopped and never on other data. Raises UserError for kinds without a space, where no block
    can be held out, and where no trial could be scored.
    """
    space = space_of(kind)
    folds = spatial_folds(training, training.usable, search.block_um, seed)
    if not folds:
        raise UserError(
            problem(
                "training.block_um and features.tile_um",
                f"{search.block_um:g} and {training.tile_um:g} um, of which no block of the "
                f"{training.usable.sum()} training units can be held out",
                "at least one, and units beyond a tile of it",
                "Make blocks smaller, or add training sections.",
            )
        )
    described = {name: distribution_to_json(found) for name, found in space.items()}
    digest = _digest(training, [kind, shipped, described, search.block_um, seed, search.code])
    study = _open_study(folder / f"{digest}.journal")
    if not any(t.user_attrs.get(SHIPPED) for t in study.trials if t.state != TrialState.FAIL):
        study.enqueue_trial(_nearest(space, shipped), user_attrs={SHIPPED: True})
    n_done = len(done_trials(study))
    LOG.info("%d training units in %d folds", training.usable.sum(), len(folds))
    LOG.info("%d trials of %d are there (%s)", n_done, search.n_trials, digest)
    started = time.monotonic()
    while n_done < search.n_trials:
        if search.timeout_s is not None and time.monotonic() - started > search.timeout_s:
            LOG.warning("time is up after %d of %d trials", n_done, search.n_trials)
            break
        # Each trial has its own seed, or a search that goes on would draw what it began with.
        sequence = np.random.SeedSequence([seed, len(study.trials)])
        study.sampler = optuna.samplers.TPESampler(seed=int(sequence.generate_state(1)[0]))
        trial = study.ask(space)
        chosen = _searched(space, shipped) if _is_shipped(trial) else settings_of(trial.params)
        trial.set_user_attr(SETTINGS, chosen)
        # Several members of an ensemble would rank settings alike, at several times the cost.
        settings = {**shipped, **chosen, "n_members": 1}
        _finish(study, trial, fold_scores(training, kind, settings, folds, seed, threads), folds)
        n_done += 1
    if not study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
        raise UserError(
            problem(
                f"model.{kind}",
                f"{n_done} trials, none of which could be scored",
                "at least one",
                "Allow tuning.n_trials or tuning.timeout_minutes more, or lower the learning rate.",
            )
        )
    return study


def fold_scores(
    training: TrainingUnits, kind: str, settings: dict, folds: Folds, seed: int, threads: int
) -> Iterator[float]:
    """Of each fold: the PCC over held-out units of a section, mean over genes and over sections.

    Sections count by their units, constant genes as 0. Kinds that stop early do so by the
    validation units of `training`, which are held out in no fold.
    """
    for learn, held in folds:
        fitted = model_of(kind).fit(_without(training, learn), settings, seed, threads)
        rows = np.flatnonzero(held)
        predicted = predict_rows(kind, fitted, settings, training.features, rows)
        total = 0.0
        for section in np.unique(training.section[rows]):
            own = training.section[rows] == section
            pcc = pearson(training.expression[rows[own]], predicted[own])
            total += own.sum() * pcc.mean()
        yield float(total / len(rows))


def settings_of(parameters: dict) -> dict:
    """The settings of a model that searched `parameters` stand for, rounded to three digits."""
    settings = {}
    if LAYERS[0] in parameters:
        settings["hidden"] = [parameters[LAYERS[0]]] * parameters[LAYERS[1]]
    for name, value in parameters.items():
        if name not in LAYERS:
            settings[name] = float(f"{value:.3g}") if isinstance(value, float) else value
    return settings


def done_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that were scored, or given up between two folds."""
    return study.get_trials(deepcopy=False, states=DONE)


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """One row a trial: number, state, score, n_folds, the searched settings, seconds.

    The score is the mean over the `n_folds` folds that the trial was scored on. Killed trials have
    the state fail and nothing else.
    """
    rows = []
    for trial in study.get_trials(deepcopy=False):
        is_done = trial.state in DONE
        scores = trial.intermediate_values if is_done else {}
        rows.append(
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "score": scores[max(scores)] if scores else np.nan,
                "n_folds": len(scores),
                **(trial.user_attrs.get(SETTINGS, {}) if is_done else {}),
                "seconds": round(trial.duration.total_seconds(), 1) if is_done else np.nan,
            }
        )
    table = pd.DataFrame(rows).convert_dtypes()  # whole numbers stay so beside gaps
    table = table.astype({"score": float, "seconds": float})  # 5.0 s is not 5
    return table[[*table.columns.drop("seconds"), "seconds"]]


def best_override(study: optuna.Study, kind: str) -> str:
    """YAML to paste under an experiment: the searched settings of the best trial."""
    best = study.best_trial
    first = next(trial for trial in done_trials(study) if _is_shipped(trial))
    former = "could not be scored" if first.value is None else f"had {first.value:.4f}"
    comment = (
        f"# Trial {best.number}: mean PCC {best.value:.4f} on held-out blocks of the training\n"
        f"# sections; the settings that the search began with (trial {first.number}) {former}.\n"
        f"# Paste this under the experiment.\n"
    )
    override = {"model": {"kind": kind, kind: best.user_attrs[SETTINGS]}}
    return comment + yaml.safe_dump(override, sort_keys=False, default_flow_style=None)


def _finish(study: optuna.Study, trial: Trial, scores: Iterator[float], folds: Folds) -> None:
    """Score a trial fold by fold, by the mean so far, until it is done or given up."""
    total = n_units = 0.0
    state, mean = TrialState.COMPLETE, np.nan
    try:
        for step, (_, held) in enumerate(folds):
            total += next(scores) * held.sum()
            n_units += held.sum()
            mean = total / n_units
            if not np.isfinite(mean):
                raise ArithmeticError("the prediction is not finite")
            trial.report(mean, step)
            if step + 1 < len(folds) and trial.should_prune():
                state = TrialState.PRUNED
                break
    except ArithmeticError as error:  # settings that cannot be fitted are a result too
        LOG.info("trial %d: %s", trial.number, error)
        state = TrialState.PRUNED
    study.tell(trial, mean if state == TrialState.COMPLETE else None, state)
    LOG.info("trial %d %s after %d folds: %.4f", trial.number, state.name, step + 1, mean)


def _open_study(path: Path) -> optuna.Study:
    """The study in a journal, new or as a killed job left it. Only one job writes to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = JournalFileOpenLock(str(path))
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.is_file():
        written = path.read_bytes()
        path.write_bytes(written[: written.rfind(b"\n") + 1])  # without a line cut short
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="tuning",
        storage=JournalStorage(JournalFileBackend(str(path), lock)),
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        LOG.info("trial %d was killed", trial.number)
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _without(training: TrainingUnits, learn: np.ndarray) -> TrainingUnits:
    """Only the units to learn from, (n_units,) bool, and those that say when to stop."""
    kept = learn | training.validation
    arrays = {k: v[kept] for k, v in vars(training).items() if isinstance(v, np.ndarray)}
    return replace(training, **{**arrays, "usable": learn[kept]})


def _digest(training: TrainingUnits, facts: list) -> str:
    """Digest of units, their features and expression, and facts that JSON can hold."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, value in vars(training).items():
        array = np.asarray(value)
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).data)
    return digest.hexdigest()[:12]


def _is_shipped(trial: FrozenTrial | Trial) -> bool:
    return trial.user_attrs.get(SHIPPED, False)


def _searched(space: Space, settings: dict) -> dict:
    """The part of a model's settings that is searched."""
    return {k: settings[k] for k in dict.fromkeys("hidden" if n in LAYERS else n for n in space)}


def _nearest(space: Space, settings: dict) -> dict:
    """The point of the space that is nearest to settings, which may lie outside."""
    own = dict(settings)
    if "hidden" in own:
        width = np.exp(np.mean(np.log(own["hidden"])))
        own |= dict(zip(LAYERS, (round(width), len(own["hidden"])), strict=True))
    return {
        name: own[name]
        if isinstance(found, CategoricalDistribution)
        else min(max(own[name], found.low), found.high)
        for name, found in space.items()
    }
