"""The baseline that every model must beat: each unit gets the mean of the training units."""

import numpy as np

from histoscribe.models import Prediction, TrainingUnits


def fit(training: TrainingUnits, settings: dict, seed: int, threads: int) -> dict[str, np.ndarray]:
    """Mean expression and share of expressing units, (n_genes,) each."""
    del seed, threads
    return refit(training, np.ones(len(training.expression), dtype=bool), settings, {})


def refit(
    training: TrainingUnits, chosen: np.ndarray, settings: dict, tensors: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The same over the chosen units, (n_units,) bool."""
    del settings, tensors
    expression = training.expression[chosen]
    return {
        "mean": expression.mean(axis=0, dtype=np.float64).astype(np.float32),
        "prevalence": (expression > 0).mean(axis=0).astype(np.float32),
    }


def apply(tensors: dict[str, np.ndarray], settings: dict, features: np.ndarray) -> Prediction:
    """The same row for each of the (n_units, n_features) units."""
    del settings
    shape = (len(features), len(tensors["mean"]))
    return Prediction(
        np.broadcast_to(tensors["mean"], shape).copy(),
        np.broadcast_to(tensors["prevalence"], shape).copy(),
    )
