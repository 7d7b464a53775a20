"""Which points lie near which places, as a sparse matrix."""

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree


def within(places_um: np.ndarray, points_um: np.ndarray, radius_um: float) -> sparse.csr_matrix:
    """(n_places, n_points) float32, 1 where a point lies within the radius of a place.

    `places_um` (n_places, 2), `points_um` (n_points, 2). Memory is 24 bytes a pair: take places in
    parts where there are many.
    """
    shape = (len(places_um), len(points_um))
    if 0 in shape:
        return sparse.csr_matrix(shape, dtype=np.float32)
    pairs = cKDTree(places_um).sparse_distance_matrix(
        cKDTree(points_um), radius_um, output_type="ndarray"
    )
    ones = np.ones(len(pairs), dtype=np.float32)
    return sparse.csr_matrix((ones, (pairs["i"], pairs["j"])), shape=shape)


def typical_reach(xy_um: np.ndarray) -> float:
    """A radius that takes in the neighbours of most of `xy_um` (n_points, 2), in um.

    One and a half times the median distance to the nearest point: the 8 neighbours of a bin.
    """
    if len(xy_um) < 2:
        return 0.0
    nearest, _ = cKDTree(xy_um).query(xy_um, k=2)
    return 1.5 * float(np.median(nearest[:, 1]))
