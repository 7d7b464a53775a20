"""Spatial splits: blocks of a section, held out with a buffer that no tile reaches across.

Neighbouring units share most of their tile, so random units of a section would be seen in
training. Whole blocks are held out instead, and units near them are left out of training.
"""

import numpy as np
from scipy.spatial import cKDTree


def block_folds(
    xy_um: np.ndarray, section: np.ndarray, block_um: float, n_folds: int, seed: int
) -> np.ndarray:
    """Assign units to folds, (n_units,) in [0, n_folds), a square block of a section at a time.

    Blocks are dealt out from the fullest to the folds that hold fewest units, in seeded order
    among equals, so folds are of like size. `section` (n_units,) keeps blocks within a section.
    """
    corner = np.floor(xy_um / block_um).astype(np.int64)
    _, block, size = np.unique(
        np.column_stack([section, corner]), axis=0, return_inverse=True, return_counts=True
    )
    block = block.ravel()
    shuffled = np.random.default_rng(seed).permutation(len(size))
    order = shuffled[np.argsort(-size[shuffled], kind="stable")]
    fold_of_block = np.empty(len(size), dtype=np.int64)
    filled = np.zeros(n_folds, dtype=np.int64)
    for b in order:
        fold_of_block[b] = np.argmin(filled)
        filled[fold_of_block[b]] += size[b]
    return fold_of_block[block]


def outside_buffer(
    xy_um: np.ndarray, section: np.ndarray, held_out: np.ndarray, buffer_um: float
) -> np.ndarray:
    """Units that may train beside the `held_out` ones, (n_units,) bool.

    A unit is left out when it lies within `buffer_um`, along both axes, of a held-out unit of the
    same section: square tiles of that width would overlap.
    """
    usable = ~held_out
    for name in np.unique(section):
        inside = section == name
        tested = np.flatnonzero(inside & held_out)
        others = np.flatnonzero(inside & ~held_out)
        if len(tested) and len(others):
            distance, _ = cKDTree(xy_um[tested]).query(
                xy_um[others], p=np.inf, distance_upper_bound=buffer_um
            )
            usable[others[distance < buffer_um]] = False
    return usable
