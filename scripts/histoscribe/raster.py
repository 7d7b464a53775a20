"""Which pixels, or bins of a grid, lie in outlines."""

from dataclasses import dataclass

import numpy as np
import shapely

ROUND_PX = 6  # decimals: an edge on a pixel centre must fall the same way wherever it lies


@dataclass(frozen=True)
class PixelSets:
    """Pixels of n footprints, sorted by footprint: row, column and the footprint's number."""

    row: np.ndarray
    column: np.ndarray
    owner: np.ndarray
    n: int

    def count(self) -> np.ndarray:
        return np.bincount(self.owner, minlength=self.n)

    def where(self, keep: np.ndarray) -> "PixelSets":
        return PixelSets(self.row[keep], self.column[keep], self.owner[keep], self.n)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean of values, one a pixel of the sets, by footprint; 0 for a footprint without."""
        total = np.bincount(self.owner, values, minlength=self.n)
        return total / np.maximum(self.count(), 1)


def covered_pixels(
    footprints: np.ndarray, centre_um: np.ndarray, um_per_px: float, box_px: tuple[int, ...]
) -> PixelSets:
    """Pixels whose centres lie in the outlines of footprints.

    Holes of a polygon are filled; of two outlines in a collection, one around the other, the space
    between them counts (even-odd rule).

    Rows and columns count from the corner of `box_px` (x, y, width, height), to which they are
    cut. Footprints that share an edge share no pixel. One that covers no pixel centre gets the
    pixel of its `centre_um`, which must lie in the box.
    """
    n = len(footprints)
    x_px, y_px, width, height = box_px
    row, column, owner = scan_outlines(*_outlines(footprints, um_per_px), ROUND_PX)
    row, column = row - y_px, column - x_px
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    if not inside.all():
        row, column, owner = row[inside], column[inside], owner[inside]
    bare = np.flatnonzero(np.bincount(owner, minlength=n) == 0)
    if len(bare):
        middle = np.floor(np.round(centre_um[bare] / um_per_px, ROUND_PX)).astype(np.int64)
        row = np.concatenate([row, np.clip(middle[:, 1] - y_px, 0, height - 1)])
        column = np.concatenate([column, np.clip(middle[:, 0] - x_px, 0, width - 1)])
        owner = np.concatenate([owner, bare])
        order = np.argsort(owner, kind="stable")
        row, column, owner = row[order], column[order], owner[order]
    return PixelSets(row, column, owner, n)


def _outlines(footprints: np.ndarray, um_per_px: float) -> tuple[np.ndarray, ...]:
    """Vertices of closed outlines in px, the footprint and the ring that each belongs to."""
    parts, owner = shapely.get_parts(np.asarray(footprints, dtype=object), return_index=True)
    parts, whole = shapely.get_parts(parts, return_index=True)  # collections of multipolygons
    points, ring = shapely.get_coordinates(shapely.get_exterior_ring(parts), return_index=True)
    return np.round(points / um_per_px, ROUND_PX), owner[whole[ring]], ring


def scan_outlines(
    points: np.ndarray, owner: np.ndarray, ring: np.ndarray, decimals: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of a unit grid whose centres lie in outlines: rows, columns, owners, by owner.

    `points` (n_points, 2) are x, y of the vertices of closed rings, one ring after another;
    `owner` and `ring` (n_points,) say whose they are. Cell k covers [k, k + 1), so its centre is
    k + 0.5. All outlines are scanned at once, by the even-odd rule; crossings are rounded to
    `decimals`.
    """
    joined = ring[1:] == ring[:-1]
    start, end, owner = points[:-1][joined], points[1:][joined], owner[:-1][joined]
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.ceil(low - 0.5).astype(np.int64)
    rows = np.ceil(high - 0.5).astype(np.int64) - first
    edge = np.repeat(np.arange(len(owner)), rows)
    row = first[edge] + _count_up(rows)
    rise = end[edge, 1] - start[edge, 1]
    run = end[edge, 0] - start[edge, 0]
    x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * run / rise
    x = np.round(x, decimals)
    order = np.lexsort((x, row, owner[edge]))
    row, x, owner = row[order][::2], x[order], owner[edge][order][::2]
    left = np.ceil(x[::2] - 0.5).astype(np.int64)
    length = np.ceil(x[1::2] - 0.5).astype(np.int64) - left
    span = np.repeat(np.arange(len(length)), length)
    return row[span], left[span] + _count_up(length), owner[span]


def _count_up(lengths: np.ndarray) -> np.ndarray:
    """0 .. length - 1 for every length, one after another."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
