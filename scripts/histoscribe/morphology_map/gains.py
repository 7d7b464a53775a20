"""What the image adds to genes: a question answered from genes, from the image and from both.

Answers are of blocks that nothing was learnt from, features are chosen anew for each of these
parts, intervals come from resampled blocks, and gains are held against what the same features gain
once they are moved over the section.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from histoscribe.block_bootstrap import MIN_BLOCKS, interval, resample_blocks
from histoscribe.morphology_map.information import Part, blocked_parts
from histoscribe.morphology_map.kinds import BOTH, CHOSEN, GENES, IMAGE, INTEGRATION, SETS
from histoscribe.morphology_map.quadrants import MapSettings, Question, relate
from histoscribe.morphology_map.surrogates import moved_units

N_REPLICATES = 500
INNER_MOVES = 50
GAIN_MOVES = 59  # so that the least p is 1/60
IMAGE_COMPONENTS = 30
PENALTY = 0.1  # of ridge regression, for each unit
SHRINKAGE = 0.1  # of the covariance within classes
NO_ANSWER = -1
GAIN_COLUMNS = [
    "from", "measure", "value", "low", "high", "gain", "gain_low", "gain_high", "gain_by_chance",
    "gain_p", "n_features",
]  # fmt: skip

Score = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Answers:
    """Answers for units (n_units,) by set: numbers, or numbers of `classes`; what no part tests has
    none (NaN, -1).

    `moved` holds those with the image's part moved over the section, (n_moves, n_units), of the
    sets of genes and image; `n_chosen` features of the integration quadrant in each part.
    """

    classes: np.ndarray | None
    truth: np.ndarray
    found: dict[str, np.ndarray]
    moved: dict[str, np.ndarray]
    n_chosen: np.ndarray

    @property
    def is_answered(self) -> np.ndarray:
        genes = self.found[GENES]
        return np.isfinite(genes) if self.classes is None else genes != NO_ANSWER

    def in_words(self, name: str) -> np.ndarray:
        """Answers of a set as the question has them; None or NaN where there is none."""
        found = self.found[name]
        return found if self.classes is None else np.append(self.classes, None)[found]


def answer(
    features: pd.DataFrame,
    expression: np.ndarray,
    question: Question,
    xy_um: np.ndarray,
    parts: list[Part],
    settings: MapSettings,
    seed: int,
) -> Answers:
    """Answer the question for each unit from each of SETS.

    By linear discriminants, classes weighing the same however large they are; measures by ridge
    regression. Features of the integration quadrant are those of the learnt units alone, found in
    blocks of these.
    """
    if question.is_categorical:
        classes, truth = np.unique(question.value, return_inverse=True)
        missing = NO_ANSWER
    else:
        classes, truth, missing = None, question.value.astype(np.float64), np.nan
    n_units = len(xy_um)
    moves = list(moved_units(xy_um, GAIN_MOVES, seed))
    found = {name: np.full(n_units, missing, dtype=truth.dtype) for name in SETS}
    moved = {
        name: np.full((GAIN_MOVES, n_units), missing, dtype=truth.dtype) for name in (BOTH, CHOSEN)
    }
    values = features.to_numpy(dtype=np.float64)
    n_chosen = []
    for part in parts:
        chosen = _integration_features(features, expression, question, xy_um, part, settings, seed)
        n_chosen.append(len(chosen))
        image = image_components(values, part.learnt)
        added = {BOTH: image, CHOSEN: features[chosen].to_numpy(dtype=np.float64)}
        sets = {GENES: expression, IMAGE: image}
        sets |= {name: np.hstack([expression, columns]) for name, columns in added.items()}
        for name, told in sets.items():
            found[name][part.tested] = answered(told, truth, classes, part)
        for name, columns in added.items():
            for number, move in enumerate(moves):
                if columns.shape[1]:
                    told = np.hstack([expression, columns[move]])
                    moved[name][number, part.tested] = answered(told, truth, classes, part)
                else:
                    moved[name][number, part.tested] = found[GENES][part.tested]
    return Answers(classes, truth, found, moved, np.array(n_chosen))


def _integration_features(
    features: pd.DataFrame,
    expression: np.ndarray,
    question: Question,
    xy_um: np.ndarray,
    part: Part,
    settings: MapSettings,
    seed: int,
) -> list[str]:
    """Names of features in the integration quadrant of the units that a part learns from."""
    learnt = part.learnt
    inner = replace(settings, n_moves=INNER_MOVES)
    inner_parts = blocked_parts(
        xy_um[learnt], settings.block_um, settings.buffer_um, settings.n_folds, seed
    )
    varies = features.iloc[learnt].std() > 0
    if not inner_parts or not varies.any():
        return []
    own = Question(question.name, question.value[learnt])
    table = relate(
        features.iloc[learnt], expression[learnt], own, xy_um[learnt], inner_parts, inner, seed,
        with_checks=False,
    )  # fmt: skip
    return table.loc[table["quadrant"] == INTEGRATION, "feature"].tolist()


def image_components(values: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """Principal components of scaled features, (n_units, at most 30), fitted on `learnt` units."""
    n_components = min(IMAGE_COMPONENTS, *values[learnt].shape)
    to_components = make_pipeline(StandardScaler(), PCA(n_components, random_state=0))
    return to_components.fit(values[learnt]).transform(values)


def answered(
    told: np.ndarray, truth: np.ndarray, classes: np.ndarray | None, part: Part
) -> np.ndarray:
    """Answers for the units that a part tests, (n_tested,)."""
    known = truth[part.learnt]
    if classes is not None and len(np.unique(known)) == 1:
        return np.full(len(part.tested), known[0])
    if classes is None:
        model = Ridge(PENALTY * len(part.learnt))
    else:
        n_known = len(np.unique(known))
        model = LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage=SHRINKAGE, priors=np.full(n_known, 1 / n_known)
        )
    fitted = make_pipeline(StandardScaler(), model).fit(told[part.learnt], known)
    return fitted.predict(told[part.tested])


def gain_table(answers: Answers, xy_um: np.ndarray, block_um: float, seed: int) -> pd.DataFrame:
    """A row a set and measure: GAIN_COLUMNS; `gain` is the value less that of genes alone.

    Measures are balanced accuracy and ARI of classes, R2 of numbers. Intervals (95 %) by resampling
    blocks of the section, predictions as they are; NaN where blocks are fewer than four. `gain_p`
    is how often features moved over the section gain as much, `gain_by_chance` what they gain on
    average; NaN for genes and the image alone.
    """
    seen = answers.is_answered
    truth = answers.truth[seen]
    n_classes = None if answers.classes is None else len(answers.classes)
    block, draws = resample_blocks(xy_um[seen], block_um, N_REPLICATES, seed)
    n_blocks = draws.shape[1]
    whole = np.ones((1, n_blocks))
    rows = []
    for measure in ("r2",) if n_classes is None else ("balanced_accuracy", "ari"):

        def scorer(found: np.ndarray, measure: str = measure) -> Score:
            if n_classes is None:
                return _r2(truth, found[seen], block, n_blocks)
            return score_of_classes(measure, truth, found[seen], n_classes, block, n_blocks)

        score = scorer(answers.found[GENES])
        usual, usual_drawn = float(score(whole)[0]), score(draws)
        for name in SETS:
            score = scorer(answers.found[name])
            value, drawn = float(score(whole)[0]), score(draws)
            row = {"from": name, "measure": measure, "value": value, "gain": value - usual}
            if n_blocks >= MIN_BLOCKS:
                row["low"], row["high"] = interval(drawn, value)
                ends = interval(drawn - usual_drawn, value - usual)
                row["gain_low"], row["gain_high"] = ends
            if name in answers.moved:
                chance = np.array([scorer(m)(whole)[0] - usual for m in answers.moved[name]])
                row["gain_by_chance"] = chance.mean()
                row["gain_p"] = (1 + (chance >= value - usual).sum()) / (1 + len(chance))
            row["n_features"] = answers.n_chosen.mean() if name == CHOSEN else np.nan
            rows.append(row)
    return pd.DataFrame(rows, columns=GAIN_COLUMNS)


def _r2(truth: np.ndarray, answer: np.ndarray, block: np.ndarray, n_blocks: int) -> Score:
    """A function of how often each replicate draws each block (n, n_blocks) to R2 (n,)."""
    weights = (np.ones(len(truth)), truth, truth**2, (truth - answer) ** 2)
    sums = [np.bincount(block, weights=w, minlength=n_blocks) for w in weights]

    def score(drawn: np.ndarray) -> np.ndarray:
        n, total, squares, off = (drawn @ s for s in sums)
        return 1 - off / np.maximum(squares - total**2 / n, 1e-12)

    return score


def score_of_classes(
    measure: str,
    truth: np.ndarray,
    answer: np.ndarray,
    n_classes: int,
    block: np.ndarray,
    n_blocks: int,
) -> Score:
    """A function of how often each replicate draws each block (n, n_blocks) to a score (n,)."""
    flat = (block * n_classes + truth) * n_classes + answer
    confused = np.bincount(flat, minlength=n_blocks * n_classes**2).reshape(n_blocks, -1)
    of_confusion = _balanced_accuracy if measure == "balanced_accuracy" else _ari

    def score(drawn: np.ndarray) -> np.ndarray:
        shape = (-1, n_classes, n_classes)
        return of_confusion((drawn @ confused).reshape(shape).astype(np.float64))

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
