"""Closed rings from edges and vertices, all at once."""

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def follow_rings(successor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order of edges along their rings: `order` (n,) and the `ring` (n,) of each ordered edge.

    `successor` (n,) is a permutation: the edge that follows each edge. Every ring starts at its
    lowest edge. Ranks are found by pointer doubling, in log2(longest ring) passes.
    """
    n = len(successor)
    ones = np.ones(n, dtype=np.int8)
    graph = coo_array((ones, (np.arange(n), successor)), shape=(n, n))
    n_rings, ring = connected_components(graph, directed=False)
    start = np.full(n_rings, n)
    np.minimum.at(start, ring, np.arange(n))
    before = np.empty(n, dtype=np.int64)
    before[successor] = np.arange(n)
    before[start] = start
    rank = np.ones(n, dtype=np.int64)
    rank[start] = 0
    while (before != start[ring]).any():
        rank += rank[before]
        before = before[before]
    order = np.lexsort((rank, ring))
    return order, ring[order]


def signed_areas(xy: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Signed area (n_rings,) of open rings of vertices `xy` (n, 2), sorted by `ring` (n,)."""
    first = np.flatnonzero(np.diff(ring, prepend=-1))
    last = np.append(first[1:], len(ring)) - 1
    following = np.append(xy[1:], xy[:1], axis=0)
    following[last] = xy[first]
    cross = xy[:, 0] * following[:, 1] - following[:, 0] * xy[:, 1]
    return np.add.reduceat(cross, first) / 2 if len(first) else np.zeros(0)


def polygons_of_vertices(xy: np.ndarray, ring: np.ndarray, n: int) -> np.ndarray:
    """Polygons (n,) of vertices `xy` (n_vertices, 2), sorted by the `ring` (n_vertices,) they
    belong to, closed or not. Empty where a ring has no three points, or one that is not finite.
    """
    if not len(xy):
        return np.full(n, shapely.Polygon())
    size = np.bincount(ring, minlength=n)
    end = np.cumsum(size)
    first, last = np.maximum(end - size, 0).clip(max=len(xy) - 1), np.maximum(end - 1, 0)
    is_closed = (xy[first] == xy[last]).all(axis=1)
    is_ring = size - is_closed >= 3
    is_ring[ring[~np.isfinite(xy).all(axis=1)]] = False
    used = is_ring[ring]
    polygons = np.full(n, shapely.Polygon())
    number = np.cumsum(is_ring) - 1
    if used.any():
        polygons[is_ring] = shapely.polygons(
            shapely.linearrings(xy[used], indices=number[ring[used]])
        )
    return polygons
