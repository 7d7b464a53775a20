"""Which units of a section are neighbours, as a sparse matrix, and means over them."""

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

ROUNDING = 1e-6


def neighbour_graph(
    xy_um: np.ndarray, n_neighbours: int, radius_um: float | None
) -> sparse.csr_matrix:
    """(n_units, n_units) float32, symmetric, 1 for neighbours and for a unit with itself.

    Neighbours are the `n_neighbours` nearest of either unit, no further than `radius_um` where that
    is given. `xy_um` (n_units, 2).
    """
    n_units = len(xy_um)
    nearest = np.arange(1, min(n_neighbours + 1, n_units) + 1)  # the unit itself is the first
    furthest = np.inf if radius_um is None else radius_um * (1 + ROUNDING)  # which is left out
    distance, index = cKDTree(xy_um).query(xy_um, k=nearest, distance_upper_bound=furthest)
    is_near = np.isfinite(distance)
    rows = np.repeat(np.arange(n_units), is_near.sum(axis=1))
    ones = np.ones(len(rows), dtype=np.float32)
    near = sparse.csr_matrix((ones, (rows, index[is_near])), shape=(n_units, n_units))
    graph = near.maximum(near.T).maximum(sparse.eye(n_units, dtype=np.float32, format="csr"))
    graph.sort_indices()
    return graph


def mean_over_neighbours(graph: sparse.csr_matrix, n_steps: int) -> sparse.csr_matrix:
    """(n_units, n_units) float32 whose product with values is their mean, `n_steps` times over."""
    degree = np.asarray(graph.sum(axis=1)).ravel()
    step = sparse.diags((1.0 / degree).astype(np.float32)) @ graph
    reach = step
    for _ in range(n_steps - 1):
        reach = reach @ step
    return sparse.csr_matrix(reach, dtype=np.float32)
