"""Bins shared by area: weights, and whole molecules dealt by them.

The weight of a nucleus in a bin is the part of the bin's area that it covers. Counts must stay
whole (count models and count splitting need them), so molecules are dealt by chance with the
weights as probabilities: each goes to one nucleus or to none, and the expected count is the
weighted sum.
"""

import numpy as np
import shapely
from scipy import sparse

from histoscribe.counting.grid import (
    BINS_AT_ONCE,
    NONE,
    OUTLINES_AT_ONCE,
    BinGrid,
    fit_grid,
    project,
    rings,
    within_shape,
)
from histoscribe.errors import UserError, problem
from histoscribe.raster import NEGLIGIBLE_SHARE, share_cells

BINS_DEALT_AT_ONCE = 500_000


def area_weights(
    outlines: np.ndarray, centre_um: np.ndarray, row: np.ndarray, column: np.ndarray
) -> sparse.csr_matrix:
    """Weights (n_nuclei, n_bins): the part of each bin's area in each nucleus.

    Arguments are those of `assign_bins`. Weights are exact to 1e-9 on the grid that is fitted to
    the bins. Where nuclei overlap each other, the weights of a bin that would exceed 1 in sum are
    scaled down to it. Bins on no grid get the mean bin's shape around their centres. Raises
    UserError where bins lie on a line, which leaves their shape unknown.
    """
    grid = fit_grid(row, column, centre_um, outlines)
    if grid is None:
        nucleus, bins, weight = _intersect(outlines, centre_um, row, column)
    else:
        nucleus, bins, weight = _draw(outlines, grid, row, column)
    covered = np.bincount(bins, weight, minlength=len(row))
    weight /= np.maximum(covered, 1)[bins]
    return sparse.csr_matrix((weight, (nucleus, bins)), shape=(len(outlines), len(row)))


def _draw(
    outlines: np.ndarray, grid: BinGrid, row: np.ndarray, column: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    bin_of_cell = np.full(grid.shape[0] * grid.shape[1], NONE, dtype=np.int32)
    for start in range(0, len(row), BINS_AT_ONCE):
        stop = min(start + BINS_AT_ONCE, len(row))
        bin_of_cell[grid.cell(row[start:stop], column[start:stop])] = np.arange(start, stop)
    turned = shapely.orient_polygons(outlines)  # holes against their outlines
    found = []
    for start in range(0, len(outlines), OUTLINES_AT_ONCE):
        points, owner, ring = rings(turned[start : start + OUTLINES_AT_ONCE])
        in_row, in_column, owner, share = share_cells(project(points, grid.to_cells), owner, ring)
        inside, cell = within_shape(in_row, in_column, grid.shape)
        bins = bin_of_cell[cell]
        there = bins != NONE
        found.append((owner[inside][there] + start, bins[there], share[inside][there]))
    nucleus, bins, share = (np.concatenate(part) for part in zip(*found, strict=True))
    return nucleus, bins, share


def _intersect(
    outlines: np.ndarray, centre_um: np.ndarray, row: np.ndarray, column: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    array = np.column_stack([row, column, np.ones(len(row))])
    steps, _, rank, _ = np.linalg.lstsq(array, centre_um, rcond=None)
    if rank < 3:
        raise UserError(
            problem(
                "bins",
                f"{len(row)} of them in one line",
                "rows and columns, from which the shape of a bin follows",
                "Count by strategy nucleus, which needs only the bins' centres.",
            )
        )
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) / 2 @ steps[:2]
    squares = shapely.polygons(centre_um[:, None] + corners)
    bins, nucleus = shapely.STRtree(outlines).query(squares, predicate="intersects")
    common = shapely.area(shapely.intersection(squares[bins], outlines[nucleus]))
    share = np.minimum(common / shapely.area(squares)[bins], 1)
    kept = share > NEGLIGIBLE_SHARE
    return nucleus[kept], bins[kept], share[kept]


def deal_molecules(
    counts: sparse.csr_matrix, weights: sparse.csr_matrix, seed: int
) -> sparse.csr_matrix:
    """Deal the molecules of bins to nuclei: whole counts (n_nuclei, n_genes).

    `counts` (n_bins, n_genes) are whole, `weights` (n_nuclei, n_bins) sum to at most 1 over
    nuclei. The molecules of a bin and gene follow a multinomial with the weights as
    probabilities, and the rest goes to none. The same seed deals the same.
    """
    rng = np.random.default_rng(seed)
    by_bin = weights.T.tocsr()
    by_bin.sort_indices()
    dealt = sparse.csr_matrix((weights.shape[0], counts.shape[1]), dtype=counts.dtype)
    shared = np.flatnonzero(np.diff(by_bin.indptr))
    for start in range(0, len(shared), BINS_DEALT_AT_ONCE):
        bins = shared[start : start + BINS_DEALT_AT_ONCE]
        dealt = dealt + _deal_in_turn(counts[bins], by_bin[bins], rng)
    return dealt


def _deal_in_turn(
    left: sparse.csr_matrix, by_bin: sparse.csr_matrix, rng: np.random.Generator
) -> sparse.csr_matrix:
    """A multinomial as binomials in turn: the first nucleus of each bin, then the second, ..."""
    n_nuclei, n_genes = by_bin.shape[1], left.shape[1]
    dealt = sparse.csr_matrix((n_nuclei, n_genes), dtype=left.dtype)
    first, n_sharing = by_bin.indptr[:-1], np.diff(by_bin.indptr)
    undealt = np.ones(len(first))  # probability that is left
    for turn in range(int(n_sharing.max(initial=0))):
        more = n_sharing > turn
        left, first, n_sharing, undealt = left[more], first[more], n_sharing[more], undealt[more]
        weight = by_bin.data[first + turn]
        # Rounding may leave the last weight a hair above what is left.
        chance = np.clip(weight / np.maximum(undealt, weight), 0, 1)
        undealt = undealt - weight
        drawn = rng.binomial(left.data, np.repeat(chance, np.diff(left.indptr)))
        drawn = sparse.csr_matrix(
            (drawn.astype(left.dtype), left.indices, left.indptr), shape=left.shape
        )
        rows = np.arange(len(first))
        to_nucleus = sparse.csr_matrix(
            (np.ones(len(first), left.dtype), (by_bin.indices[first + turn], rows)),
            shape=(n_nuclei, len(first)),
        )
        dealt = dealt + to_nucleus @ drawn
        left = sparse.csr_matrix(
            (left.data - drawn.data, left.indices, left.indptr), shape=left.shape
        )
    dealt.eliminate_zeros()
    return dealt
