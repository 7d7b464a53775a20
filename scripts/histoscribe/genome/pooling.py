"""Counts of a unit and its nearest neighbours of the same kind, since one unit holds too few."""

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree


def n_pooled(umi: np.ndarray, pool_umi: float, most: int) -> int:
    """How many units together hold about `pool_umi` molecules, the unit itself included."""
    usual = max(float(np.median(umi)), 1.0)
    return int(np.clip(np.ceil(pool_umi / usual), 1, most))


def neighbour_pools(xy_um: np.ndarray, kind: np.ndarray, n: int) -> sparse.csr_matrix:
    """For each unit its `n` nearest of its own kind, itself among them: (n_units, n_units) of 0, 1.

    `xy_um` (n_units, 2), `kind` (n_units,) text. Units of one kind alone are pooled, so that what
    lies next to what does not pass for a change of copies.
    """
    rows, columns = [], []
    for name in np.unique(kind):
        own = np.flatnonzero(kind == name)
        k = min(n, len(own))
        _, nearest = cKDTree(xy_um[own]).query(xy_um[own], k=k)
        nearest = np.asarray(nearest).reshape(len(own), k)
        # Of more than k units at one place, the unit itself may not be among the nearest.
        absent = np.flatnonzero(~(nearest == np.arange(len(own))[:, None]).any(axis=1))
        nearest[absent, -1] = absent
        rows.append(np.repeat(own, k))
        columns.append(own[nearest.ravel()])
    row, column = np.concatenate(rows), np.concatenate(columns)
    ones = np.ones(len(row), dtype=np.float32)
    return sparse.csr_matrix((ones, (row, column)), shape=(len(kind), len(kind)))


def halves(
    counts: sparse.csr_matrix, seed: int | list[int]
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Two halves of integer counts (n_units, n_genes): each molecule by a fair coin.

    Halves of Poisson counts are independent: what was found in one can be tested in the other.
    """
    one = sparse.csr_matrix(counts, copy=True)
    whole = one.data.astype(np.int64)
    one.data = np.random.default_rng(seed).binomial(whole, 0.5).astype(np.float32)
    other = one.copy()
    other.data = (whole - one.data).astype(np.float32)
    return one, other
