"""What chance would have two smooth maps share: one moved over the other, as on a torus.

Neighbouring units are alike in the image and in expression, so any two maps of one section look
related. Moved as a whole and mirrored, a map keeps its own smoothness and all that its columns
have to do with each other, and loses its place in the tissue.
"""

from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

LEAST_SHIFT = 0.15  # of the section's extent, along one axis at least


def moved_units(xy_um: np.ndarray, n_moves: int, seed: int) -> Iterator[np.ndarray]:
    """For each of `n_moves` the unit (n_units,) that comes to lie at each unit's place.

    `xy_um` (n_units, 2). Where the moved section has glass, its nearest unit is taken.
    """
    rng = np.random.default_rng(seed)
    low = xy_um.min(axis=0)
    extent = np.maximum(np.ptp(xy_um, axis=0) * (1 + 1e-9), 1e-6)
    place = xy_um - low
    tree = cKDTree(np.minimum(place, np.nextafter(extent, 0)), boxsize=extent)
    for _ in range(n_moves):
        while True:
            shift = rng.uniform(0, 1, 2)
            if np.minimum(shift, 1 - shift).max() >= LEAST_SHIFT:
                break
        mirrored = np.where(rng.random(2) < 0.5, extent - place, place)
        _, unit = tree.query((mirrored + shift * extent) % extent)
        yield unit
