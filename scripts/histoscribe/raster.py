"""Which pixels, or bins of a grid, lie in outlines."""

from dataclasses import dataclass

import numpy as np
import shapely

NEGLIGIBLE_SHARE = 1e-9  # of a cell: above rounding errors, far below what any count shows
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
    return scan_edges(*edges_near_rows(points, owner, ring, 0.0), decimals)


def edges_near_rows(
    points: np.ndarray, owner: np.ndarray, ring: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges that come within `reach` of the centre line of a row: starts, ends (n, 2), owners.

    Most edges of nuclei on bins are shorter than a row is high, and come near none.
    """
    y = points[:, 1]
    low, high = np.minimum(y[:-1], y[1:]), np.maximum(y[:-1], y[1:])
    near = np.floor(high + (reach - 0.5)) >= np.ceil(low - (reach + 0.5))
    near &= ring[1:] == ring[:-1]
    edge = np.flatnonzero(near)
    return points[edge], points[edge + 1], owner[edge]


def scan_edges(
    start: np.ndarray, end: np.ndarray, owner: np.ndarray, decimals: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`scan_outlines` of edges: starts and ends (n_edges, 2), and their owners, ascending."""
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.ceil(low - 0.5).astype(np.int64)
    rows = np.ceil(high - 0.5).astype(np.int64) - first
    edge = np.repeat(np.arange(len(owner)), rows)
    row = first[edge] + _count_up(rows)
    start, end, owner = start[edge], end[edge], owner[edge]
    rise, run = end[:, 1] - start[:, 1], end[:, 0] - start[:, 0]
    x = np.round(start[:, 0] + (row + 0.5 - start[:, 1]) * run / rise, decimals)
    line = owner * (np.ptp(row) + 1) + row if len(row) else row
    order = np.lexsort((x, line))
    row, x, owner = row[order][::2], x[order], owner[order][::2]
    left = np.ceil(x[::2] - 0.5).astype(np.int64)
    length = np.ceil(x[1::2] - 0.5).astype(np.int64) - left
    span = np.repeat(np.arange(len(length)), length)
    return row[span], left[span] + _count_up(length), owner[span]


def cells_near_edges(
    start: np.ndarray, end: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of cells whose centres have an edge within `reach` in both x and y.

    `start` and `end` (n_edges, 2) are in cells of a unit grid. A cell comes once for each edge
    near it. With a reach of 0.5 these are the cells that edges meet.
    """
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.ceil(low - (reach + 0.5)).astype(np.int64)
    rows = np.floor(high + (reach - 0.5)).astype(np.int64) - first + 1
    edge = np.repeat(np.arange(len(rows)), rows)
    row = first[edge] + _count_up(rows)
    start, end = start[edge], end[edge]
    enter, leave = _within(start[:, 1], end[:, 1], row + 0.5 - reach, row + 0.5 + reach)
    run = end[:, 0] - start[:, 0]
    x, other_x = start[:, 0] + enter * run, start[:, 0] + leave * run
    left = np.ceil(np.minimum(x, other_x) - (reach + 0.5)).astype(np.int64)
    length = np.floor(np.maximum(x, other_x) + (reach - 0.5)).astype(np.int64) - left + 1
    span = np.repeat(np.arange(len(length)), length)
    return row[span], left[span] + _count_up(length)


def share_cells(
    points: np.ndarray, owner: np.ndarray, ring: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cells of a unit grid that outlines cover in part or whole: rows, columns, owners, shares.

    Arguments are those of `scan_outlines`; holes run against their outline. A share is the covered
    part of the cell's area, exact but for rounding (below 1e-9; smaller shares are left out).
    Edges are cut at the cells' borders. By Green's theorem, a piece of an edge that rises by dy
    covers dy of every cell to its right and a part of its own, so shares are running sums along
    the rows of an outline.
    """
    joined = np.flatnonzero(ring[1:] == ring[:-1])
    start, end, owner = points[joined], points[joined + 1], owner[joined]
    start, end, row, edge = _cut(start, end, axis=1)
    owner = owner[edge]
    start, end, column, edge = _cut(start, end, axis=0)
    row, owner = row[edge], owner[edge]
    rise = end[:, 1] - start[:, 1]
    to_right = rise * ((start[:, 0] + end[:, 0]) / 2 - column)
    row, owner = np.tile(row, 2), np.tile(owner, 2)
    column = np.concatenate([column, column + 1])
    change = np.concatenate([rise - to_right, to_right])
    order = np.lexsort((column, row, owner))
    row, column, owner, change = row[order], column[order], owner[order], change[order]
    same_row = (np.diff(row) == 0) & (np.diff(owner) == 0)
    first = np.flatnonzero(np.append(True, ~(same_row & (np.diff(column) == 0))))[: len(row)]
    share = np.abs(np.cumsum(np.add.reduceat(change, first))) if len(row) else change
    row, column, owner = row[first], column[first], owner[first]
    # The share of an entry holds up to the next entry of the row; that of a row's last is 0.
    going_on = (np.diff(row) == 0) & (np.diff(owner) == 0)
    length = np.where(going_on, np.diff(column), 0)
    length[share[: len(length)] < NEGLIGIBLE_SHARE] = 0
    span = np.repeat(np.arange(len(length)), length)
    column = column[span] + _count_up(length)
    return row[span], column, owner[span], np.minimum(share[span], 1)


def _cut(start: np.ndarray, end: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """Cut edges at the whole numbers of an axis: starts, ends, cell on the axis, cut edge."""
    low = np.minimum(start[:, axis], end[:, axis])
    high = np.maximum(start[:, axis], end[:, axis])
    first = np.floor(low).astype(np.int64)
    pieces = np.maximum(np.ceil(high).astype(np.int64) - first, 1)
    edge = np.repeat(np.arange(len(first)), pieces)
    cell = first[edge] + _count_up(pieces)
    start, end = start[edge], end[edge]
    enter, leave = _within(start[:, axis], end[:, axis], cell, cell + 1)
    run = end - start
    return start + enter[:, None] * run, start + leave[:, None] * run, cell, edge


def _within(
    start: np.ndarray, end: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Parts of the ways from start to end, 0 to 1, at which they enter and leave low to high."""
    run = np.where(end == start, 1.0, end - start)
    one, other = (low - start) / run, (high - start) / run
    level = end == start
    enter = np.where(level, 0.0, np.clip(np.minimum(one, other), 0, 1))
    return enter, np.where(level, 1.0, np.clip(np.maximum(one, other), 0, 1))


def _count_up(lengths: np.ndarray) -> np.ndarray:
    """0 .. length - 1 for every length, one after another."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
