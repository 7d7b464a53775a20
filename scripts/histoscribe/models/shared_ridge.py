"""Ridge regression for many genes at once, whose predictions borrow from each other.

What an image tells is told by few combinations of genes. The predictions are turned to their own
main directions, and each direction is shrunk by what it is worth on held-out blocks: its slope
there (curds and whey; Breiman and Friedman, JRSS B 1997). Where units are few and counts are noisy,
most directions are worth nothing. One penalty for all genes is chosen along with it.
"""

import logging

import numpy as np
from scipy.optimize import isotonic_regression

from histoscribe.models import TrainingUnits
from histoscribe.models.ridge import (
    Moments,
    Transform,
    directions_of,
    moments_of,
    moments_of_folds,
)

LOG = logging.getLogger(__name__)
MAX_DIRECTIONS = 128
LITTLE = 1e-12


def fit_on(
    training: TrainingUnits, settings: dict, seed: int, transform: Transform
) -> dict[str, np.ndarray]:
    """Tensors as of `ridge.fit_on`, but for `alpha` (2,), of expression and of being expressed.

    `worth` (2, n_directions) is by what the main directions of each are multiplied.
    """
    alphas = np.asarray(settings["alphas"], dtype=np.float64)
    n_genes = training.expression.shape[1]
    n_directions = min(MAX_DIRECTIONS, n_genes)
    # Sums over held-out units: measured times predicted, and predicted squared.
    product, square = np.zeros((2, len(alphas), 2, n_directions))
    for fitted, held in moments_of_folds(training, settings, seed, transform):
        of_fold = _held_out_products(fitted, held, alphas, n_directions)
        product, square = product + of_fold[0], square + of_fold[1]
    worth = np.zeros_like(product)
    for at in np.ndindex(product.shape[:2]):
        worth[at] = _worth(product[at], square[at])
    explained = (2 * worth * product - worth**2 * square).sum(axis=2)  # (n_alphas, 2)
    best = explained.argmax(axis=0)
    chosen = {"alpha": alphas[best], "worth": worth[best, [0, 1]]}
    LOG.info(
        "penalty %g; directions worth more than half: %d of %d",
        chosen["alpha"][0],
        (chosen["worth"][0] > 0.5).sum(),
        n_directions,
    )
    everything = np.ones(len(training.features), dtype=bool)
    return refit_on(training, everything, chosen, transform)


def refit_on(
    training: TrainingUnits,
    chosen: np.ndarray,
    tensors: dict[str, np.ndarray],
    transform: Transform,
) -> dict[str, np.ndarray]:
    """The same by the chosen units, (n_units,) bool, with penalties and worth of `tensors`."""
    moments = moments_of(training, chosen, transform)
    mean, intercept = moments.feature_mean, moments.outcome_mean
    solver = _Solver(moments)
    weights = np.hstack(
        [
            _shrunk(*solver.weights(half, float(alpha), len(worth)), worth)
            for half, (alpha, worth) in enumerate(
                zip(tensors["alpha"], tensors["worth"], strict=True)
            )
        ]
    )
    weights = solver.vectors @ weights
    return {
        "weights": weights.astype(np.float32),
        "intercept": (intercept - mean @ weights).astype(np.float32),
        "alpha": np.asarray(tensors["alpha"], dtype=np.float32),
        "worth": np.asarray(tensors["worth"], dtype=np.float32),
    }


class _Solver:
    """Ridge for any penalty from moments, in the directions of the features."""

    def __init__(self, fitted: Moments) -> None:
        gram, cross = fitted.about(fitted.feature_mean, fitted.outcome_mean)
        self.values, self.vectors = directions_of(gram, fitted.n)
        self.cross = self.vectors.T @ cross
        variance = fitted.yy / fitted.n - fitted.outcome_mean**2
        self.spread = np.sqrt(np.where(variance > LITTLE, variance, 0))  # 0: all units are alike

    def weights(
        self, half: int, alpha: float, n_directions: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights (n_features, n_genes), main directions of what they give, and genes' spreads.

        Directions (n_genes, n_directions) are of genes in units of their spread. `half` is 0 for
        expression and 1 for being expressed.
        """
        n_genes = self.cross.shape[1] // 2
        genes = slice(half * n_genes, (half + 1) * n_genes)
        spread = self.spread[genes]
        weights = self.cross[:, genes] / (self.values + alpha)[:, None]
        scaled = np.sqrt(self.values)[:, None] * _in_spreads(weights, spread)
        _, main = np.linalg.eigh(scaled.T @ scaled)
        return weights, main[:, ::-1][:, :n_directions], spread


def _shrunk(
    weights: np.ndarray, main: np.ndarray, spread: np.ndarray, worth: np.ndarray
) -> np.ndarray:
    """Weights whose predictions have each main direction multiplied by its worth."""
    return (_in_spreads(weights, spread) @ main * worth) @ main.T * spread


def _in_spreads(values: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Values (n, n_genes) over the spread of each gene; 0 for genes that have none."""
    return values * np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)


def _held_out_products(
    fitted: Moments, held: Moments, alphas: np.ndarray, n_directions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of measured x predicted, and of predicted squared, (n_alphas, 2, n_directions) each."""
    solver = _Solver(fitted)
    gram, cross = held.about(fitted.feature_mean, fitted.outcome_mean)
    gram = solver.vectors.T @ gram @ solver.vectors
    cross = solver.vectors.T @ cross
    n_genes = cross.shape[1] // 2
    product, square = np.zeros((2, len(alphas), 2, n_directions))
    for number, alpha in enumerate(alphas):
        for half in (0, 1):
            weights, main, spread = solver.weights(half, alpha, n_directions)
            along = _in_spreads(weights, spread) @ main
            genes = slice(half * n_genes, (half + 1) * n_genes)
            measured = _in_spreads(cross[:, genes], spread) @ main
            product[number, half] = (along * measured).sum(axis=0)
            square[number, half] = (along * (gram @ along)).sum(axis=0)
    return product, square


def _worth(product: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Slopes of the measured on the predicted, none negative, and none above a former one."""
    slope = product / np.maximum(square, LITTLE)
    fitted = isotonic_regression(slope, weights=np.maximum(square, LITTLE), increasing=False)
    return np.maximum(fitted.x, 0)
