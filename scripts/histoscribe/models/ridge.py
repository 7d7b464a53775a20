"""Ridge regression, with the penalty of each gene chosen by spatial-block cross-validation.

Leave-one-out or random folds choose far too small a penalty, because neighbouring units leak.
Only Gram matrices are kept, so the cost hardly depends on the number of penalties and folds.
"""

import logging

import numpy as np

from histoscribe.models import Prediction, TrainingUnits
from histoscribe.splits import block_folds, outside_buffer

LOG = logging.getLogger(__name__)


def fit(training: TrainingUnits, settings: dict, seed: int, threads: int) -> dict[str, np.ndarray]:
    """Weights (n_features, 2 * n_genes) and intercepts for expression and for being expressed.

    `settings`: alphas (penalties to try), n_folds, block_um. The probability is a linear model
    of the 0/1 indicator, clipped to [0, 1] when applied.
    """
    del threads
    features = training.features
    outcome = np.hstack([training.expression, training.expression > 0]).astype(np.float32)
    fold = block_folds(
        training.xy_um, training.section, settings["block_um"], settings["n_folds"], seed
    )
    alphas = np.asarray(settings["alphas"], dtype=np.float64)
    error = np.zeros((len(alphas), outcome.shape[1]))
    for k in range(settings["n_folds"]):
        held_out = fold == k
        usable = outside_buffer(training.xy_um, training.section, held_out, training.tile_um)
        if not held_out.any() or not usable.any():
            continue
        error += _held_out_error(
            features[usable], outcome[usable], features[held_out], outcome[held_out], alphas
        )
    best = alphas[np.argmin(error, axis=0)]
    LOG.info("penalties chosen (quartiles): %s", np.quantile(best, [0.25, 0.5, 0.75]))
    mean = features.mean(axis=0, dtype=np.float64)
    intercept = outcome.mean(axis=0, dtype=np.float64)
    gram, cross = _moments(features, outcome, mean, intercept)
    weights = np.empty_like(cross)
    values, vectors = np.linalg.eigh(gram)
    rotated = vectors.T @ cross
    for alpha in np.unique(best):
        chosen = best == alpha
        weights[:, chosen] = vectors @ (rotated[:, chosen] / (values + alpha)[:, None])
    return {
        "weights": weights.astype(np.float32),
        "intercept": (intercept - mean @ weights).astype(np.float32),
        "alpha": best.astype(np.float32),
    }


def apply(tensors: dict[str, np.ndarray], settings: dict, features: np.ndarray) -> Prediction:
    """Predict (n_units, n_genes) from standardised (n_units, n_features)."""
    del settings
    both = features @ tensors["weights"] + tensors["intercept"]
    n_genes = both.shape[1] // 2
    return Prediction(np.maximum(both[:, :n_genes], 0), np.clip(both[:, n_genes:], 0, 1))


def _moments(
    features: np.ndarray, outcome: np.ndarray, mean: np.ndarray, intercept: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Centred Gram matrix (p, p) and cross moments (p, q), summed in float64."""
    n = len(features)
    sum_features = features.sum(axis=0, dtype=np.float64)
    sum_outcome = outcome.sum(axis=0, dtype=np.float64)
    gram = np.zeros((features.shape[1], features.shape[1]))
    cross = np.zeros((features.shape[1], outcome.shape[1]))
    for start in range(0, n, 16384):
        x = features[start : start + 16384].astype(np.float64)
        gram += x.T @ x
        cross += x.T @ outcome[start : start + 16384]
    gram += n * np.outer(mean, mean) - np.outer(sum_features, mean) - np.outer(mean, sum_features)
    cross += (
        n * np.outer(mean, intercept)
        - np.outer(sum_features, intercept)
        - np.outer(mean, sum_outcome)
    )
    return gram, cross


def _held_out_error(
    features: np.ndarray,
    outcome: np.ndarray,
    held_features: np.ndarray,
    held_outcome: np.ndarray,
    alphas: np.ndarray,
) -> np.ndarray:
    """Sum of squared errors on held-out units, (n_alphas, q), from moments alone."""
    mean = features.mean(axis=0, dtype=np.float64)
    intercept = outcome.mean(axis=0, dtype=np.float64)
    gram, cross = _moments(features, outcome, mean, intercept)
    held_gram, held_cross = _moments(held_features, held_outcome, mean, intercept)
    total = ((held_outcome.astype(np.float64) - intercept) ** 2).sum(axis=0)
    values, vectors = np.linalg.eigh(gram)
    rotated = vectors.T @ cross
    held_gram = vectors.T @ held_gram @ vectors
    held_cross = vectors.T @ held_cross
    error = np.empty((len(alphas), outcome.shape[1]))
    for i, alpha in enumerate(alphas):
        weights = rotated / (np.maximum(values, 0) + alpha)[:, None]
        error[i] = total - 2 * (weights * held_cross).sum(axis=0)
        error[i] += (weights * (held_gram @ weights)).sum(axis=0)
    return error
