"""Ridge regression, with the penalty of each gene chosen by spatial-block cross-validation.

Leave-one-out or random folds choose far too small a penalty, because neighbouring units leak.
Only moments (sums of squares and products) are kept, so memory does not grow with the number of
units and the cost hardly depends on the number of penalties.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.models import Prediction, TrainingUnits
from histoscribe.splits import block_folds, outside_buffer

LOG = logging.getLogger(__name__)
UNITS_AT_ONCE = 8192
Transform = Callable[[np.ndarray], np.ndarray]


def fit(training: TrainingUnits, settings: dict, seed: int, threads: int) -> dict[str, np.ndarray]:
    """Weights (n_features, 2 * n_genes) and intercepts for expression and for being expressed.

    `settings`: alphas (penalties to try), n_folds, block_um. The probability is a linear model
    of the 0/1 indicator, clipped to [0, 1] when applied. Raises UserError where no fold leaves
    units both to train and to test on.
    """
    del threads
    return fit_on(training, settings, seed, lambda features: features)


def fit_on(
    training: TrainingUnits, settings: dict, seed: int, transform: Transform
) -> dict[str, np.ndarray]:
    """`fit` on what `transform` makes of the features, a part of the units at a time."""
    alphas = np.asarray(settings["alphas"], dtype=np.float64)
    error = np.zeros((len(alphas), 2 * training.expression.shape[1]))
    for fitted, held in moments_of_folds(training, settings, seed, transform):
        error += _held_out_error(fitted, held, alphas)
    best = alphas[np.argmin(error, axis=0)]
    LOG.info("penalties chosen (quartiles): %s", np.quantile(best, [0.25, 0.5, 0.75]))
    everything = np.ones(len(training.features), dtype=bool)
    return refit_on(training, everything, {"alpha": best}, transform)


def moments_of_folds(
    training: TrainingUnits, settings: dict, seed: int, transform: Transform
) -> Iterator[tuple["Moments", "Moments"]]:
    """Of each fold, the moments of the units to fit on and of those held out, in blocks.

    Raises UserError where there is no such fold.
    """
    fold = block_folds(
        training.xy_um, training.section, settings["block_um"], settings["n_folds"], seed
    )
    n_folds_used = 0
    for k in range(settings["n_folds"]):
        held = fold == k
        usable = outside_buffer(training.xy_um, training.section, held, training.tile_um)
        if held.any() and usable.any():
            yield moments_of(training, usable, transform), moments_of(training, held, transform)
            n_folds_used += 1
    if n_folds_used == 0:
        raise UserError(
            problem(
                "model.ridge.block_um",
                f"blocks of {settings['block_um']:g} um, of which none can be held out with a "
                f"buffer of {training.tile_um:g} um",
                "at least one fold with units on both sides",
                "Make the blocks smaller, or add training sections.",
            )
        )


def refit(
    training: TrainingUnits, chosen: np.ndarray, settings: dict, tensors: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Weights by the chosen units, (n_units,) bool, with the penalties in `tensors["alpha"]`."""
    del settings
    return refit_on(training, chosen, tensors, lambda features: features)


def refit_on(
    training: TrainingUnits,
    chosen: np.ndarray,
    tensors: dict[str, np.ndarray],
    transform: Transform,
) -> dict[str, np.ndarray]:
    """`refit` on what `transform` makes of the features."""
    alpha = np.asarray(tensors["alpha"], dtype=np.float64)
    moments = moments_of(training, chosen, transform)
    mean, intercept = moments.feature_mean, moments.outcome_mean
    gram, cross = moments.about(mean, intercept)
    values, vectors = directions_of(gram, moments.n)
    rotated = vectors.T @ cross
    weights = vectors @ (rotated / (values[:, None] + alpha))
    return {
        "weights": weights.astype(np.float32),
        "intercept": (intercept - mean @ weights).astype(np.float32),
        "alpha": alpha.astype(np.float32),
    }


def apply(tensors: dict[str, np.ndarray], settings: dict, features: np.ndarray) -> Prediction:
    """Predict (n_units, n_genes) from standardised (n_units, n_features)."""
    del settings
    both = features @ tensors["weights"] + tensors["intercept"]
    n_genes = both.shape[1] // 2
    return Prediction(np.maximum(both[:, :n_genes], 0), np.clip(both[:, n_genes:], 0, 1))


@dataclass(frozen=True)
class Moments:
    """Sums over n units of features x (p) and outcomes y (q): x, y, xx', xy', y squared."""

    n: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray

    @property
    def feature_mean(self) -> np.ndarray:
        return self.x / self.n

    @property
    def outcome_mean(self) -> np.ndarray:
        return self.y / self.n

    def about(self, x0: np.ndarray, y0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums of (x - x0)(x - x0)' and (x - x0)(y - y0)'."""
        gram = self.xx - np.outer(self.x, x0) - np.outer(x0, self.x) + self.n * np.outer(x0, x0)
        cross = self.xy - np.outer(self.x, y0) - np.outer(x0, self.y) + self.n * np.outer(x0, y0)
        return gram, cross


def moments_of(training: TrainingUnits, chosen: np.ndarray, transform: Transform) -> Moments:
    """Moments of features and outcomes (expression, then its 0/1 indicator), in float64."""
    n_features = transform(training.features[:1]).shape[1]
    n_outcomes = 2 * training.expression.shape[1]
    xx, xy = np.zeros((n_features, n_features)), np.zeros((n_features, n_outcomes))
    x_sum, y_sum, yy = np.zeros(n_features), np.zeros(n_outcomes), np.zeros(n_outcomes)
    rows = np.flatnonzero(chosen)
    for start in range(0, len(rows), UNITS_AT_ONCE):
        part = rows[start : start + UNITS_AT_ONCE]
        x = transform(training.features[part])
        y = np.hstack([training.expression[part], training.expression[part] > 0]).astype(x.dtype)
        xx += x.T @ x
        xy += x.T @ y
        x_sum += x.sum(axis=0, dtype=np.float64)
        y_sum += y.sum(axis=0, dtype=np.float64)
        yy += (y * y).sum(axis=0, dtype=np.float64)
    return Moments(len(rows), x_sum, y_sum, xx, xy, yy)


def directions_of(gram: np.ndarray, n_units: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors; of `n_units` units, no more than these can tell apart."""
    values, vectors = np.linalg.eigh(gram)
    return np.maximum(values[-n_units:], 0), vectors[:, -n_units:]


def _held_out_error(fitted: Moments, held: Moments, alphas: np.ndarray) -> np.ndarray:
    """Sum of squared errors on held-out units, (n_alphas, n_outcomes), from moments alone."""
    mean, intercept = fitted.feature_mean, fitted.outcome_mean
    gram, cross = fitted.about(mean, intercept)
    held_gram, held_cross = held.about(mean, intercept)
    total = held.yy - 2 * intercept * held.y + held.n * intercept**2
    values, vectors = directions_of(gram, fitted.n)
    rotated = vectors.T @ cross
    held_gram = vectors.T @ held_gram @ vectors
    held_cross = vectors.T @ held_cross
    error = np.empty((len(alphas), cross.shape[1]))
    for i, alpha in enumerate(alphas):
        weights = rotated / (values + alpha)[:, None]
        error[i] = total - 2 * (weights * held_cross).sum(axis=0)
        error[i] += (weights * (held_gram @ weights)).sum(axis=0)
    return error
