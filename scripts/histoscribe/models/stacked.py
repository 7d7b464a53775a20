"""Several kinds of model at once, weighed by how they predict tissue that they have not seen.

Each kind is fitted without some blocks of tissue and predicts these; the weights, none below 0,
are those that bring the sum of the predictions nearest to what was measured there (stacking:
Wolpert, Neural Networks 1992; Breiman, Machine Learning 1996). Then each kind learns from all.
"""

import logging

import numpy as np
from scipy.optimize import nnls

from histoscribe.models import Prediction, TrainingUnits, tensors_under
from histoscribe.models.bundle import model_of
from histoscribe.uncertainty.held_out import held_out_predictions, spatial_folds

LOG = logging.getLogger(__name__)
WEIGHTS = "weights"
GENES_AT_ONCE = 256  # in double precision


def fit(training: TrainingUnits, settings: dict, seed: int, threads: int) -> dict[str, np.ndarray]:
    """Tensors of every kind, named `{kind}/{tensor}`, and `weights` (n_kinds,), which sum to 1.

    `settings`: `members`, the settings of each kind, all of which can be refitted; `block_um`, the
    edge of the blocks. Where no block can be held out, all kinds weigh the same.
    """
    members = settings["members"]
    own = {
        kind: model_of(kind).fit(training, of_kind, seed, threads)
        for kind, of_kind in members.items()
    }
    everything = np.ones(len(training.features), dtype=bool)
    folds = spatial_folds(training, everything, settings["block_um"], seed)
    weights = np.full(len(members), 1 / len(members))
    if folds:
        held_out = [
            held_out_predictions(training, kind, of_kind, own[kind], folds)
            for kind, of_kind in members.items()
        ]
        rows = held_out[0].rows
        weights = _weights([h.expression for h in held_out], training.expression[rows])
    for kind, weight in zip(members, weights, strict=True):
        LOG.info("%s weighs %.2f", kind, weight)
    return {WEIGHTS: weights.astype(np.float32), **_joined(own)}


def refit(
    training: TrainingUnits, chosen: np.ndarray, settings: dict, tensors: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Every kind learns from the chosen units, (n_units,) bool; the weights stay."""
    own = {
        kind: model_of(kind).refit(training, chosen, of_kind, tensors_under(tensors, f"{kind}/"))
        for kind, of_kind in settings["members"].items()
    }
    return {WEIGHTS: tensors[WEIGHTS], **_joined(own)}


def apply(tensors: dict[str, np.ndarray], settings: dict, features: np.ndarray) -> Prediction:
    """The weighed mean of what the kinds predict, (n_units, n_genes)."""
    expression = probability = np.float32(0)
    for (kind, of_kind), weight in zip(settings["members"].items(), tensors[WEIGHTS], strict=True):
        if weight > 0:
            predicted = model_of(kind).apply(tensors_under(tensors, f"{kind}/"), of_kind, features)
            expression = expression + weight * predicted.expression
            probability = probability + weight * predicted.probability
    return Prediction(expression, np.clip(probability, 0, 1))


def _weights(predicted: list[np.ndarray], measured: np.ndarray) -> np.ndarray:
    """Least squares over genes of equal spread, each about its mean; (n_kinds,), sum 1."""
    n_kinds, n_genes = len(predicted), measured.shape[1]
    product, target = np.zeros((n_kinds, n_kinds)), np.zeros(n_kinds)
    for start in range(0, n_genes, GENES_AT_ONCE):
        part = slice(start, start + GENES_AT_ONCE)
        own = [_centred(p[:, part]) for p in predicted]
        truth = _centred(measured[:, part])
        variance = (truth**2).sum(axis=0)
        inverse = np.divide(1, variance, out=np.zeros_like(variance), where=variance > 0)
        for i in range(n_kinds):
            target[i] += (own[i] * truth).sum(axis=0) @ inverse
            for j in range(n_kinds):
                product[i, j] += (own[i] * own[j]).sum(axis=0) @ inverse
    # |R w - R^-T t|^2 with product = R^T R: the same minimum, in n_kinds equations.
    root = np.linalg.cholesky(product + 1e-9 * np.trace(product) * np.eye(n_kinds)).T
    weights, _ = nnls(root, np.linalg.solve(root.T, target))
    return weights / weights.sum() if weights.sum() > 0 else np.full(n_kinds, 1 / n_kinds)


def _centred(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    return values - values.mean(axis=0)


def _joined(own: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {f"{kind}/{name}": value for kind, named in own.items() for name, value in named.items()}
