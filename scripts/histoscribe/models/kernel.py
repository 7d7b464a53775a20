"""Ridge regression on a Gaussian kernel, which bends where plain ridge is straight, without epochs.

The kernel is exp(-gamma d^2), with d^2 relative to the mean squared length of a training unit's
features; the features themselves stay beside it. Few units stand for the kernel themselves
(Williams and Seeger, NIPS 2000, with all units: this is exact); for many, random waves over the
features do (Rahimi and Recht, NIPS 2007). Genes borrow from each other (`shared_ridge`).
"""

import numpy as np

from histoscribe.models import Prediction, TrainingUnits, ridge, shared_ridge

BASIS = ("waves", "phases", "height", "units", "whitening", "steepness")
LEAST_SHARE = 1e-6  # of the largest eigenvalue; what is below is rounding


def fit(training: TrainingUnits, settings: dict, seed: int, threads: int) -> dict[str, np.ndarray]:
    """What stands for the kernel, and weights as of `shared_ridge`.

    That is waves (n_features, n_waves) and their phases; or `units` (n_units, n_features) and how
    their kernels are weighed, (n_units, n_directions), where the units are no more than n_waves.
    `settings`: n_waves, gamma, and those of `ridge`.
    """
    del threads
    n_units, n_features = training.features.shape
    length = np.mean(training.features.astype(np.float64) ** 2) * n_features
    steepness = settings["gamma"] / max(length, 1e-12)
    if n_units <= settings["n_waves"]:
        basis = _units(training.features, steepness)
    else:
        basis = _waves(n_features, settings["n_waves"], steepness, seed)
    return basis | shared_ridge.fit_on(training, settings, seed, lambda x: _bent(basis, x))


def refit(
    training: TrainingUnits, chosen: np.ndarray, settings: dict, tensors: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Weights by the chosen units, (n_units,) bool, with the basis and penalties of `tensors`."""
    del settings
    basis = {name: tensors[name] for name in BASIS if name in tensors}
    return basis | shared_ridge.refit_on(training, chosen, tensors, lambda x: _bent(basis, x))


def apply(tensors: dict[str, np.ndarray], settings: dict, features: np.ndarray) -> Prediction:
    """Predict (n_units, n_genes) from standardised (n_units, n_features)."""
    return ridge.apply(tensors, settings, _bent(tensors, features))


def _units(features: np.ndarray, steepness: float) -> dict[str, np.ndarray]:
    basis = {"units": features, "steepness": np.array([steepness], np.float32)}
    values, vectors = np.linalg.eigh(_near(basis, basis["units"]).astype(np.float64))
    kept = values > LEAST_SHARE * values[-1]
    whitening = vectors[:, kept] * np.sqrt(features.shape[1] / values[kept])
    return basis | {"whitening": whitening.astype(np.float32)}


def _waves(n_features: int, n_waves: int, steepness: float, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    waves = rng.normal(0, np.sqrt(2 * steepness), (n_features, n_waves)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, n_waves).astype(np.float32)
    height = np.array([np.sqrt(2 * n_features / n_waves)], dtype=np.float32)
    return {"waves": waves, "phases": phases, "height": height}


def _bent(basis: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """The features and, in ridge's scale, the kernel, which weighs as much as all of them."""
    if "units" in basis:
        kernel = _near(basis, features) @ basis["whitening"]
    else:
        kernel = np.cos(features @ basis["waves"] + basis["phases"]) * basis["height"]
    return np.hstack([features, kernel])


def _near(basis: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """The kernel between features and the basis's units, one row a row of features."""
    units = basis["units"]
    squares = (features**2).sum(axis=1)[:, None] + (units**2).sum(axis=1)
    return np.exp(-basis["steepness"] * np.maximum(squares - 2 * (features @ units.T), 0))
