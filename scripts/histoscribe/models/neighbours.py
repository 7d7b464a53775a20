"""The baseline that only remembers: the mean of the training units that look most alike."""

import numpy as np

from histoscribe.models import Prediction, TrainingUnits

N_COMPONENTS = 32
MAX_UNITS = 20000
N_NEAREST = 50
UNITS_AT_ONCE = 1024


def fit(training: TrainingUnits, settings: dict, seed: int, threads: int) -> dict[str, np.ndarray]:
    """Training units, at most `MAX_UNITS` of them, in their leading feature components."""
    del settings, threads
    return _remember(training, np.arange(len(training.features)), seed)


def refit(
    training: TrainingUnits, chosen: np.ndarray, settings: dict, tensors: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The same of the chosen units, (n_units,) bool."""
    del settings, tensors
    return _remember(training, np.flatnonzero(chosen), 0)


def _remember(training: TrainingUnits, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.choice(rows, min(len(rows), MAX_UNITS), replace=False))
    features = training.features[kept]
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, vectors = np.linalg.eigh(np.cov(features.T.astype(np.float64)).reshape(len(mean), -1))
    axes = vectors[:, ::-1][:, :N_COMPONENTS].astype(np.float32)
    return {
        "mean": mean,
        "axes": np.ascontiguousarray(axes),
        "places": (features - mean) @ axes,
        "expression": training.expression[kept].astype(np.float16),
    }


def apply(tensors: dict[str, np.ndarray], settings: dict, features: np.ndarray) -> Prediction:
    """Mean expression, and share of expressing units, of the `N_NEAREST` most alike."""
    del settings
    places, expression = tensors["places"], tensors["expression"].astype(np.float32)
    n_nearest = min(N_NEAREST, len(places))
    length = (places**2).sum(axis=1)
    predicted = np.empty((len(features), expression.shape[1]), dtype=np.float32)
    probability = np.empty_like(predicted)
    for start in range(0, len(features), UNITS_AT_ONCE):
        part = slice(start, start + UNITS_AT_ONCE)
        own = (features[part] - tensors["mean"]) @ tensors["axes"]
        distance = length - 2 * own @ places.T
        nearest = np.argpartition(distance, n_nearest - 1, axis=1)[:, :n_nearest]
        found = expression[nearest]
        predicted[part], probability[part] = found.mean(axis=1), (found > 0).mean(axis=1)
    return Prediction(predicted, probability)
