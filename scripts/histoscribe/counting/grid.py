"""The grid of bins, and outlines drawn on it.

Space Ranger places bins by a projective map from the array to the image (affine where the slide
lay flat). Such a map keeps lines straight, so outlines can be drawn on the array itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import shapely

from histoscribe.raster import cells_near_edges, edges_near_rows, scan_edges

NONE, SEVERAL, DOUBTFUL = -1, -2, -3  # labels beside the numbers of outlines
FITTED_BINS = 20_000
BINS_AT_ONCE = 2**15  # few enough to stay in the processor's cache
OUTLINES_AT_ONCE = 5_000
MAX_STRAY = 0.25  # of a bin's edge: how far bins may lie from their places on the grid
MIN_SPREAD = 1e-9  # singular value below which bins do not span a plane
ROUNDING = 1e-9  # of a cell: more than what mapping outlines to the grid rounds away
DECIMALS = 12


@dataclass(frozen=True)
class BinGrid:
    """Cells (row, column) of an array of `shape`; cell k covers [k, k + 1).

    `to_cells` (3, 3) maps um to continuous x (columns), y (rows) of the cells; `first` is the
    array position of cell (0, 0). `stray` is how far, in x or y, the worst bin's centre lies from
    the centre of its cell.
    """

    to_cells: np.ndarray
    first: tuple[int, int]
    shape: tuple[int, int]
    stray: float

    def cell(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Flat numbers of the cells at array positions."""
        return (row - self.first[0]).astype(np.int64) * self.shape[1] + (column - self.first[1])


def fit_grid(
    row: np.ndarray, column: np.ndarray, centre_um: np.ndarray, outlines: np.ndarray
) -> BinGrid | None:
    """The grid on which bins lie; None where they lie on none (few, on a line, or warped).

    `row`, `column` (n_bins,) are array positions and `centre_um` (n_bins, 2) the bins' centres.
    `outlines` (n_nuclei,) polygons in um are what the grid must be able to take.
    """
    if len(row) < 4:
        return None
    first = int(row.min()), int(column.min())
    shape = int(row.max()) - first[0] + 1, int(column.max()) - first[1] + 1
    fitted = np.arange(len(row))
    if len(row) > FITTED_BINS:
        fitted = np.random.default_rng(0).integers(0, len(row), FITTED_BINS)
    cells = np.column_stack([column[fitted] - first[1], row[fitted] - first[0]]) + 0.5
    to_cells = _fit_projective(centre_um[fitted], cells)
    if to_cells is None or not _keeps_sides(to_cells, shapely.total_bounds(outlines)):
        return None
    stray = 0.0
    for start in range(0, len(row), BINS_AT_ONCE):
        part = slice(start, start + BINS_AT_ONCE)
        x, y = project(centre_um[part], to_cells).T
        for off, place, low in ((x, column[part], first[1]), (y, row[part], first[0])):
            off -= place
            off += low - 0.5
            stray = np.max([stray, off.max(), -off.min()])
        if not stray <= MAX_STRAY:
            return None
    return BinGrid(to_cells, first, shape, float(stray))


def project(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points (n, 2) under a projective map (3, 3)."""
    mapped = transform[:, :2] @ points.T
    mapped += transform[:, 2:]
    mapped[:2] /= mapped[2]
    return mapped[:2].T


def _fit_projective(source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """The projective map (3, 3) from source to target points (n, 2), by whitened DLT.

    Hartley and Zisserman 2004, algorithm 4.2. None where the points lie on a line.
    """
    try:
        (source, from_source), (target, from_target) = _whitened(source), _whitened(target)
    except np.linalg.LinAlgError:
        return None
    here = np.column_stack([source, np.ones(len(source))])
    nothing = np.zeros_like(here)
    equations = np.vstack(
        [
            np.hstack([here, nothing, -target[:, :1] * here]),
            np.hstack([nothing, here, -target[:, 1:] * here]),
        ]
    )
    _, spread, directions = np.linalg.svd(equations.T @ equations)
    found = directions[-1].reshape(3, 3)
    if spread[-2] < MIN_SPREAD * spread[0] or found[2, 2] == 0:
        return None
    return np.linalg.inv(from_target) @ (found / found[2, 2]) @ from_source


def _whitened(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points around 0 with unit covariance, and the map (3, 3) that makes them so.

    Raises LinAlgError where they lie on a line.
    """
    move = np.eye(3)
    move[:2, :2] = np.linalg.inv(np.linalg.cholesky(np.cov(points.T)))
    move[:2, 2] = -move[:2, :2] @ points.mean(axis=0)
    return project(points, move), move


def _keeps_sides(transform: np.ndarray, bounds: np.ndarray) -> bool:
    """Whether a projective map stays finite within bounds (x, y low, x, y high)."""
    x, y = bounds[[0, 0, 2, 2]], bounds[[1, 3, 1, 3]]
    return bool(np.all(transform[2, 0] * x + transform[2, 1] * y + transform[2, 2] > 0))


def rings(outlines: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (n_points, 2) of all rings of polygons, their polygon and their ring."""
    simple = shapely.get_type_id(outlines) == shapely.GeometryType.POLYGON
    if simple.all() and not shapely.get_num_interior_rings(outlines).any():
        points, owner = shapely.get_coordinates(outlines, return_index=True)
        return points, owner, owner
    parts, whole = shapely.get_parts(outlines, return_index=True)
    lines, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(lines, return_index=True)
    return points, whole[part[ring]], ring


def label_cells(
    outlines: np.ndarray,
    to_cells: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, int],
    reach: float,
) -> np.ndarray:
    """Which outline holds each cell's centre: (n_rows * n_columns,) int32.

    Outlines' number, NONE, SEVERAL, or DOUBTFUL where the edge of an outline comes within
    `reach` of the centre. `to_cells` maps points (n, 2) in um to x, y of the cells.
    """
    label = np.full(shape[0] * shape[1], NONE, dtype=np.int32)
    near = []
    for start in range(0, len(outlines), OUTLINES_AT_ONCE):
        points, owner, ring = rings(outlines[start : start + OUTLINES_AT_ONCE])
        edges = edges_near_rows(to_cells(points), owner, ring, reach)
        near.append(within_shape(*cells_near_edges(*edges[:2], reach), shape)[1])
        row, column, owner = scan_edges(*edges, DECIMALS)
        inside, cell = within_shape(row, column, shape)
        owner = owner[inside] + start
        covered = cell[label[cell] != NONE]
        label[cell] = owner
        # Of outlines that are drawn at once on one cell, the last stays.
        label[cell[label[cell] != owner]] = SEVERAL
        label[covered] = SEVERAL
    for cell in near:
        label[cell] = DOUBTFUL
    return label


def within_shape(
    row: np.ndarray, column: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Which cells lie in an array of `shape`, and the flat numbers of those."""
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    return inside, row[inside] * shape[1] + column[inside]
