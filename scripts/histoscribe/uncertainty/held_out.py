"""Predictions for training units by fits that saw neither them nor anything beside them."""

from dataclasses import dataclass

import numpy as np

from histoscribe.models import TrainingUnits
from histoscribe.models.bundle import UNITS_AT_ONCE, is_refitted, model_of
from histoscribe.splits import block_folds, outside_buffer

N_FOLDS = 4


@dataclass(frozen=True)
class HeldOut:
    """Unseen units: `rows` of the training units, (n,), which fit predicted each, and what.

    `mean` (n_fits, n_genes) is the mean expression of the units that each fit learnt from.
    """

    rows: np.ndarray
    fit_of: np.ndarray
    expression: np.ndarray
    mean: np.ndarray


def learns_from(training: TrainingUnits, kind: str) -> np.ndarray:
    """The units that the final model is fitted on, (n_units,) bool.

    Kinds that can be refitted need no units for early stopping.
    """
    everything = np.ones(len(training.features), dtype=bool)
    return everything if is_refitted(kind) else training.usable


def spatial_folds(
    training: TrainingUnits, among: np.ndarray, block_um: float, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Up to N_FOLDS pairs of units to learn from and units held out, (n_units,) bool each.

    No unit to learn from lies within the width of a tile of a unit held out. Folds without units
    on both sides are left out.
    """
    fold = block_folds(training.xy_um, training.section, block_um, N_FOLDS, seed)
    pairs = []
    for k in range(N_FOLDS):
        held = among & (fold == k)
        learn = among & outside_buffer(training.xy_um, training.section, held, training.tile_um)
        if held.any() and learn.any():
            pairs.append((learn, held))
    return pairs


def held_out_predictions(
    training: TrainingUnits,
    kind: str,
    settings: dict,
    tensors: dict[str, np.ndarray],
    folds: list[tuple[np.ndarray, np.ndarray]],
) -> HeldOut | None:
    """Predict every held-out unit; None where there is none.

    Kinds with `refit` (`tensors` are those of the final fit) are fitted anew without each fold. The
    others are too slow for that: their validation units serve, which stopped them but were not
    learnt from.
    """
    refit = getattr(model_of(kind), "refit", None)
    if refit is None:
        folds = [(training.usable, training.validation)] if training.validation.any() else []
    rows, fits, expression, mean = [], [], [], []
    for k, (learn, held) in enumerate(folds):
        fitted = refit(training, learn, settings, tensors) if refit else tensors
        rows.append(np.flatnonzero(held))
        fits.append(np.full(len(rows[-1]), k))
        expression.append(predict_rows(kind, fitted, settings, training.features, rows[-1]))
        mean.append(training.expression[learn].mean(axis=0, dtype=np.float64))
    if not rows:
        return None
    return HeldOut(*(np.concatenate(part) for part in (rows, fits, expression)), np.stack(mean))


def predict_rows(
    kind: str,
    tensors: dict[str, np.ndarray],
    settings: dict,
    features: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """Predicted expression of chosen rows, (n, n_genes) float32, in pieces."""
    apply = model_of(kind).apply
    pieces = [rows[start : start + UNITS_AT_ONCE] for start in range(0, len(rows), UNITS_AT_ONCE)]
    return np.concatenate(
        [apply(tensors, settings, features[piece]).expression for piece in pieces]
    ).astype(np.float32)
