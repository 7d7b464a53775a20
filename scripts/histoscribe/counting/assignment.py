"""Which nucleus a bin or a molecule belongs to: the one, and only one, that holds its point.

The rule of Wen et al. 2025 (Methods). A point on an outline lies in none. Outlines are drawn on a
grid as labels; where an outline comes too near for a label to be sure, the point is tested
exactly, so that labels change the speed and never the result.
"""

import numpy as np
import shapely
from scipy import sparse

from histoscribe.counting.grid import (
    BINS_AT_ONCE,
    DOUBTFUL,
    NONE,
    ROUNDING,
    SEVERAL,
    fit_grid,
    label_cells,
    project,
)

MAX_CELLS = 2**26
MIN_CELL_UM = 0.5
POINTS_AT_ONCE = 500_000


def assign_bins(
    outlines: np.ndarray, centre_um: np.ndarray, row: np.ndarray, column: np.ndarray
) -> np.ndarray:
    """The nucleus of each bin: (n_bins,) int32, NONE (-1) or SEVERAL (-2) where not just one.

    `outlines` (n_nuclei,) polygons and `centre_um` (n_bins, 2) share the image frame; `row` and
    `column` (n_bins,) are the bins' array positions. Bins that lie on no grid (a warped
    registration) are searched one by one.
    """
    grid = fit_grid(row, column, centre_um, outlines)
    if grid is None:
        return search_points(outlines, centre_um)
    label = label_cells(
        outlines, lambda um: project(um, grid.to_cells), grid.shape, grid.stray + ROUNDING
    )
    nucleus = np.empty(len(row), dtype=np.int32)
    for start in range(0, len(row), BINS_AT_ONCE):
        part = slice(start, start + BINS_AT_ONCE)
        nucleus[part] = label[grid.cell(row[part], column[part])]
    _settle_doubt(nucleus, outlines, centre_um)
    return nucleus


class PointAssigner:
    """Assigns points to outlines by labels on a fine grid that is drawn once.

    A cell that no outline crosses lies in an outline as a whole; the points of other cells are
    tested one by one.
    """

    def __init__(self, outlines: np.ndarray) -> None:
        self._outlines = outlines
        x_low, y_low, x_high, y_high = shapely.total_bounds(outlines)
        width_um, height_um = x_high - x_low, y_high - y_low
        self._cell_um = max(MIN_CELL_UM, np.sqrt(width_um * height_um / MAX_CELLS))
        self._corner_um = np.array([x_low, y_low])
        self._shape = int(height_um // self._cell_um) + 1, int(width_um // self._cell_um) + 1
        self._label = label_cells(outlines, self._to_cells, self._shape, 0.5 + ROUNDING)

    def assign(self, points_um: np.ndarray) -> np.ndarray:
        """The outline of each point (n, 2): (n,) int32, NONE or SEVERAL where not just one."""
        nucleus = np.full(len(points_um), NONE, dtype=np.int32)
        for start in range(0, len(points_um), POINTS_AT_ONCE):
            points = np.asarray(points_um[start : start + POINTS_AT_ONCE], dtype=np.float64)
            column, row = np.floor(self._to_cells(points)).astype(np.int64).T
            inside = (row >= 0) & (row < self._shape[0]) & (column >= 0)
            inside &= column < self._shape[1]
            found = np.full(len(points), NONE, dtype=np.int32)
            found[inside] = self._label[row[inside] * self._shape[1] + column[inside]]
            _settle_doubt(found, self._outlines, points)
            nucleus[start : start + POINTS_AT_ONCE] = found
        return nucleus

    def _to_cells(self, points_um: np.ndarray) -> np.ndarray:
        return (points_um - self._corner_um) / self._cell_um


def _settle_doubt(nucleus: np.ndarray, outlines: np.ndarray, points_um: np.ndarray) -> None:
    doubtful = np.flatnonzero(nucleus == DOUBTFUL)
    if len(doubtful):
        nucleus[doubtful] = search_points(outlines, points_um[doubtful])


def search_points(outlines: np.ndarray, points_um: np.ndarray) -> np.ndarray:
    """The outline that alone holds each point, by an exact search; as in `assign_bins`."""
    tree = shapely.STRtree(outlines)
    found = np.full(len(points_um), NONE, dtype=np.int32)
    for start in range(0, len(points_um), POINTS_AT_ONCE):
        points = shapely.points(points_um[start : start + POINTS_AT_ONCE])
        point, outline = tree.query(points, predicate="within")
        n_covering = np.bincount(point, minlength=len(points))
        part = found[start : start + POINTS_AT_ONCE]
        part[point] = outline
        part[n_covering > 1] = SEVERAL
    return found


def sum_bins(counts: sparse.csr_matrix, nucleus: np.ndarray, n_nuclei: int) -> sparse.csr_matrix:
    """Counts of nuclei: (n_nuclei, n_genes) from bins x genes and each bin's nucleus (-1: none)."""
    bins = np.flatnonzero(nucleus >= 0)
    indicator = sparse.csr_matrix(
        (np.ones(len(bins), dtype=counts.dtype), (nucleus[bins], bins)),
        shape=(n_nuclei, counts.shape[0]),
    )
    return indicator @ counts
