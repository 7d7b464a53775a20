"""Models: from standardised features of units to the expression of a gene panel.

Each kind is one module with `fit(training, settings, seed, threads) -> tensors` and
`apply(tensors, settings, features) -> Prediction`; `KINDS` names them. Tensors are plain float32
arrays, so that a model is a safetensors bundle and nothing else. A kind that is quick to fit has
`refit(training, chosen, settings, tensors) -> tensors` too, which learns from chosen units only;
it ignores `validation`, and intervals are calibrated on units that such fits have not seen.
"""

from dataclasses import dataclass

import numpy as np

KINDS = ("ridge", "kernel", "multitask", "prts", "stacked", "neighbours", "mean")


@dataclass(frozen=True)
class TrainingUnits:
    """What a model learns from; nothing in it comes from test sections.

    `features` (n_units, n_features) standardised and `expression` (n_units, n_genes) log1p
    values, float32; `xy_um` (n_units, 2) and `section` (n_units,) say where units lie, for
    spatial splits; `exposure` (n_units,) float32 is a unit's molecules over the total that its
    expression is scaled to; `validation` (n_units,) bool marks units for early stopping, `usable`
    (n_units,) bool those that may train beside them.
    """

    features: np.ndarray
    expression: np.ndarray
    exposure: np.ndarray
    xy_um: np.ndarray
    section: np.ndarray
    validation: np.ndarray
    usable: np.ndarray
    tile_um: float


@dataclass(frozen=True)
class Prediction:
    """Predicted log1p expression and probability of being expressed, (n_units, n_genes) each.

    `domain_percentile` (n_units,) is filled by `bundle.predict` (see `uncertainty.domain`).
    """

    expression: np.ndarray
    probability: np.ndarray
    domain_percentile: np.ndarray | None = None


def tensors_under(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The tensors whose names begin with `prefix`, by what follows it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
