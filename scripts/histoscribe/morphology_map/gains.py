"""What the image adds to genes: a question answered from genes, from the image and from both.

Answers are of blocks that nothing was learnt from, features are chosen anew for each of these
parts, and intervals come from resampled blocks.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoscribe.block_bootstrap import MIN_BLOCKS, interval, resample_blocks
from histoscribe.morphology_map.information import Part, blocked_parts
from histoscribe.morphology_map.kinds import BOTH, CHOSEN, GENES, IMAGE, INTEGRATION, SETS
from histoscribe.morphology_map.quadrants import MapSettings, Question, relate

N_REPLICATES = 500
INNER_MOVES = 50
IMAGE_COMPONENTS = 30
STRENGTH = 0.1  # C of logistic regression
PENALTY = 0.1  # of ridge regression, for each unit
GAIN_COLUMNS = [
    "from", "measure", "value", "low", "high", "gain", "gain_low", "gain_high", "n_features",
]  # fmt: skip

Score = Callable[[np.ndarray], np.ndarray]


def answers(
    features: pd.DataFrame,
    expression: np.ndarray,
    question: Question,
    xy_um: np.ndarray,
    parts: list[Part],
    settings: MapSettings,
    seed: int,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The answer (n_units,) for each unit from each of SETS, and how many features each part chose.

    What no part tests has none: None, or NaN for numbers. Features of the integration quadrant are
    those of the learnt units alone, found in blocks of these.
    """
    missing = None if question.is_categorical else np.nan
    kind = object if question.is_categorical else np.float64
    found = {name: np.full(len(xy_um), missing, dtype=kind) for name in SETS}
    values = features.to_numpy(dtype=np.float64)
    n_chosen = []
    for part in parts:
        learnt = part.learnt
        inner = replace(settings, n_moves=INNER_MOVES)
        own = Question(question.name, question.value[learnt])
        inner_parts = blocked_parts(
            xy_um[learnt], settings.block_um, settings.buffer_um, settings.n_folds, seed
        )
        chosen = []
        if inner_parts:
            table = relate(
                features.iloc[learnt], expression[learnt], own, xy_um[learnt], inner_parts, inner,
                seed, with_checks=False,
            )  # fmt: skip
            chosen = table.loc[table["quadrant"] == INTEGRATION, "feature"].tolist()
        n_chosen.append(len(chosen))
        image = _components(values, learnt)
        sets = {
            GENES: expression,
            IMAGE: image,
            BOTH: np.hstack([expression, image]),
            CHOSEN: np.hstack([expression, features[chosen].to_numpy(dtype=np.float64)]),
        }
        for name, told in sets.items():
            model = _model(question, len(learnt)).fit(told[learnt], own.value)
            found[name][part.tested] = model.predict(told[part.tested])
    return found, np.array(n_chosen)


def _components(values: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """Principal components of scaled features, (n_units, at most 30), fitted on `learnt` units."""
    n_components = min(IMAGE_COMPONENTS, *values[learnt].shape)
    to_components = make_pipeline(StandardScaler(), PCA(n_components, random_state=0))
    return to_components.fit(values[learnt]).transform(values)


def _model(question: Question, n_units: int):
    if question.is_categorical:
        model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=300)
    else:
        model = Ridge(alpha=PENALTY * n_units)
    return make_pipeline(StandardScaler(), model)


def gain_table(
    found: dict[str, np.ndarray],
    question: Question,
    xy_um: np.ndarray,
    n_chosen: np.ndarray,
    block_um: float,
    seed: int,
) -> pd.DataFrame:
    """A row a set and measure: GAIN_COLUMNS; `gain` is the value less that of genes alone.

    Measures are balanced accuracy and ARI of classes, R2 of numbers. Intervals (95 %) by resampling
    blocks of the section; NaN where these are fewer than four. The answers of all sets are scored
    on the same units.
    """
    seen = ~pd.isna(found[GENES])
    truth = question.value[seen]
    block, draws = resample_blocks(xy_um[seen], block_um, N_REPLICATES, seed)
    whole = np.ones((1, draws.shape[1]))
    measures = ("balanced_accuracy", "ari") if question.is_categorical else ("r2",)
    rows = []
    for measure in measures:
        of_set = {}
        for name in SETS:
            score = _scorer(measure, truth, found[name][seen], block, draws.shape[1])
            of_set[name] = float(score(whole)[0]), score(draws)
        usual, usual_drawn = of_set[GENES]
        for name, (value, drawn) in of_set.items():
            row = {"from": name, "measure": measure, "value": value, "gain": value - usual}
            few = draws.shape[1] < MIN_BLOCKS
            for key, values, at in (
                ("", drawn, value),
                ("gain_", drawn - usual_drawn, value - usual),
            ):
                ends = (np.nan, np.nan) if few else interval(values, at)
                row[f"{key}low"], row[f"{key}high"] = ends
            row["n_features"] = n_chosen.mean() if name == CHOSEN else np.nan
            rows.append(row)
    return pd.DataFrame(rows, columns=GAIN_COLUMNS)


def _scorer(
    measure: str, truth: np.ndarray, answer: np.ndarray, block: np.ndarray, n_blocks: int
) -> Score:
    """A function of how often each replicate draws each block (n, n_blocks) to its score (n,)."""
    if measure == "r2":
        truth, answer = truth.astype(np.float64), answer.astype(np.float64)
        sums = [
            np.bincount(block, weights=w, minlength=n_blocks)
            for w in (np.ones(len(truth)), truth, truth**2, (truth - answer) ** 2)
        ]

        def r2(drawn: np.ndarray) -> np.ndarray:
            n, total, squares, off = (drawn @ s for s in sums)
            return 1 - off / np.maximum(squares - total**2 / n, 1e-12)

        return r2
    names, code = np.unique(truth, return_inverse=True)
    answered = np.searchsorted(names, answer.astype(names.dtype))
    n = len(names)
    flat = (block * n + code) * n + answered
    confused = np.bincount(flat, minlength=n_blocks * n * n).reshape(n_blocks, n * n)
    of_confusion = _balanced_accuracy if measure == "balanced_accuracy" else _ari

    def score(drawn: np.ndarray) -> np.ndarray:
        return of_confusion((drawn @ confused).reshape(-1, n, n).astype(np.float64))

    return score


def _balanced_accuracy(confused: np.ndarray) -> np.ndarray:
    """Mean recall of the classes that are there, (n,), of confusions (n, classes, classes)."""
    size = confused.sum(axis=2)
    recall = np.diagonal(confused, axis1=1, axis2=2) / np.maximum(size, 1)
    return recall.sum(axis=1) / (size > 0).sum(axis=1)


def _ari(confused: np.ndarray) -> np.ndarray:
    """Adjusted Rand index, (n,), of confusions (n, classes, classes); Hubert & Arabie 1985."""

    def pairs(counts: np.ndarray) -> np.ndarray:
        return counts * (counts - 1) / 2

    together = pairs(confused).sum(axis=(1, 2))
    rows, columns = (pairs(confused.sum(axis=a)).sum(axis=1) for a in (2, 1))
    expected = rows * columns / pairs(confused.sum(axis=(1, 2)))
    most = (rows + columns) / 2
    return (together - expected) / np.where(most > expected, most - expected, 1.0)
