"""Which points lie near which places, as a sparse matrix, and means over them."""

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

PAIRS_AT_ONCE = 4_000_000  # of neighbours: 100 MB
SAMPLED_PLACES = 100


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


def means_within(
    places_um: np.ndarray, xy_um: np.ndarray, values: np.ndarray, radius_um: float
) -> np.ndarray:
    """Means of values (n_units, n_columns) over units within a radius, (n_places, n_columns).

    Each place is a unit's, so that none is alone.
    """
    if len(places_um) == 0:
        return np.empty((0, values.shape[1]), dtype=np.float32)
    means = np.empty((len(places_um), values.shape[1]), dtype=np.float32)
    few = places_um[:: max(len(places_um) // SAMPLED_PLACES, 1)]
    pairs = cKDTree(xy_um).query_ball_point(few, radius_um, return_length=True).mean()
    at_once = max(int(PAIRS_AT_ONCE / pairs), 1)
    for start in range(0, len(places_um), at_once):
        part = slice(start, start + at_once)
        near = within(places_um[part], xy_um, radius_um)
        means[part] = (near @ values) / np.diff(near.indptr)[:, None]
    return means
