"""Ridge regression on a Gaussian kernel, by random Fourier features (Rahimi & Recht, NIPS 2007).

Bends where plain ridge is straight, and needs no epochs. Random waves over the features stand for
the kernel exp(-gamma d^2), with d^2 relative to the mean squared length of a training unit's
features; the features themselves stay beside them. Genes borrow from each other (`shared_ridge`).
"""

import numpy as np

from histoscribe.models import Prediction, TrainingUnits, ridge, shared_ridge


def fit(training: TrainingUnits, settings: dict, seed: int, threads: int) -> dict[str, np.ndarray]:
    """Waves (n_features, n_waves), and weights as of `shared_ridge`.

    `settings`: n_waves, gamma, and those of `ridge`.
    """
    del threads
    rng = np.random.default_rng(seed)
    n_features = training.features.shape[1]
    length = np.mean(training.features.astype(np.float64) ** 2) * n_features
    spread = np.sqrt(2 * settings["gamma"] / max(length, 1e-12))
    waves = rng.normal(0, spread, (n_features, settings["n_waves"])).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, settings["n_waves"]).astype(np.float32)
    # In ridge's scale: all waves together weigh as much as all features.
    height = np.float32(np.sqrt(2 * n_features / settings["n_waves"]))
    tensors = {"waves": waves, "phases": phases, "height": np.array([height])}
    return tensors | shared_ridge.fit_on(training, settings, seed, lambda x: _bent(tensors, x))


def refit(
    training: TrainingUnits, chosen: np.ndarray, settings: dict, tensors: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Weights by the chosen units, (n_units,) bool, with the waves and penalties of `tensors`."""
    del settings
    waves = {name: tensors[name] for name in ("waves", "phases", "height")}
    return waves | shared_ridge.refit_on(training, chosen, tensors, lambda x: _bent(tensors, x))


def apply(tensors: dict[str, np.ndarray], settings: dict, features: np.ndarray) -> Prediction:
    """Predict (n_units, n_genes) from standardised (n_units, n_features)."""
    return ridge.apply(tensors, settings, _bent(tensors, features))


def _bent(tensors: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    waves = np.cos(features @ tensors["waves"] + tensors["phases"]) * tensors["height"]
    return np.hstack([features, waves])
