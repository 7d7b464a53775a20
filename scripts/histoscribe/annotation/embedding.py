"""A UMAP of units, from neighbours that are already known."""

import sys
import warnings

import numpy as np

from histoscribe.clustering import Neighbours


def umap_layout(position: np.ndarray, nearest: Neighbours, seed: int) -> np.ndarray:
    """UMAP of units, (n_units, 2) float32, begun from their first two components.

    `position` (n_units, n_pcs); `nearest` its neighbours.
    """
    umap = import_umap()
    spread = position[:, :2] if position.shape[1] > 1 else np.repeat(position, 2, axis=1)
    # A little noise parts units that lie on one point, which the layout could never part.
    noise = np.random.default_rng(seed).normal(scale=1e-3, size=spread.shape)
    start = 10 * spread / max(float(np.abs(spread).max()), 1e-9) + noise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one thread, as a seed is given
        layout = umap.UMAP(
            n_neighbors=nearest.index.shape[1],
            min_dist=0.3,
            init=start.astype(np.float32),
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(nearest.index, nearest.distance.astype(np.float32)),
            force_approximation_algorithm=True,
        ).fit_transform(position)
    return layout.astype(np.float32)


def import_umap():
    """The module umap, without TensorFlow, which it would import for parametric maps."""
    absent = object()
    kept = sys.modules.get("tensorflow", absent)
    if kept is absent:
        sys.modules["tensorflow"] = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import umap
    finally:
        if kept is absent:
            del sys.modules["tensorflow"]
    return umap
