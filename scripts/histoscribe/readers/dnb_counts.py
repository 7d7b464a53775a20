"""Counts at DNBs, the 0.5 um spots of Stereo-seq, and their sums over bins or cells.

Rows come piece by piece. Their sums are kept as sorted runs of distinct (unit, gene) pairs, each
run twice as long as the next, as a log-structured merge tree keeps them: memory is bounded by the
number of distinct pairs and the piece, whatever the number of rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from histoscribe.errors import UserError, problem

BITS = 21  # of a key, for each of three numbers: rows, columns and genes
LIMIT = 1 << BITS
Run = tuple[np.ndarray, np.ndarray]  # sorted distinct keys (n,), their counts (n,)


@dataclass(frozen=True)
class DnbCounts:
    """A piece of a matrix: gene codes, DNB positions, counts above 0; all (n,).

    `cell` (n,) is the number of each row's cell, where the file gives cells.
    """

    gene: np.ndarray
    x: np.ndarray
    y: np.ndarray
    count: np.ndarray
    cell: np.ndarray | None = None


def checked_counts(piece: DnbCounts, where: str) -> DnbCounts:
    """The rows with a count above 0. Raises UserError for negative and for huge numbers."""
    numbers = {"x": piece.x, "y": piece.y, "count": piece.count}
    for name, values in numbers.items():
        low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
        if low < 0 or high >= LIMIT:
            raise UserError(
                problem(
                    where,
                    f"{name} {low if low < 0 else high}",
                    f"raw counts and positions from 0 to {LIMIT - 1}",
                    "Give the matrix that SAW wrote.",
                )
            )
    if not len(piece.count) or piece.count.min() > 0:
        return piece
    kept = piece.count > 0
    cell = None if piece.cell is None else piece.cell[kept]
    return DnbCounts(piece.gene[kept], piece.x[kept], piece.y[kept], piece.count[kept], cell)


def pair(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Two numbers as one (int64), in order of the first; the second is below 2**21."""
    return (high.astype(np.int64) << BITS) | low


def unpair(key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two numbers of `pair`."""
    return key >> BITS, key & (LIMIT - 1)


class KeySums:
    """Sums of counts by key, over any number of pieces."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    def add(self, key: np.ndarray, count: np.ndarray) -> None:
        """Add counts (n,) to the sums of their keys (n,)."""
        if not len(key):
            return
        run = _summed(key, count)
        while self._runs and len(self._runs[-1][0]) < 2 * len(run[0]):
            run = _merged(self._runs.pop(), run)
        self._runs.append(run)

    def total(self) -> Run:
        """All distinct keys, sorted, and their sums; what was added is handed over."""
        run = np.empty(0, np.int64), np.empty(0, np.int32)
        while self._runs:
            run = _merged(self._runs.pop(), run)
        return run


def count_matrix(sums: KeySums, n_genes: int) -> tuple[np.ndarray, sparse.csr_matrix]:
    """Units (n_units,) and their counts (n_units, n_genes), of sums by `pair(unit, gene)`."""
    unit, count = sums.total()
    gene = (unit & (LIMIT - 1)).astype(np.int32)
    unit >>= BITS
    first = firsts(unit)
    indptr = np.append(first, len(unit))
    units = unit[first]
    matrix = sparse.csr_matrix((count, gene, indptr), shape=(len(units), n_genes), copy=False)
    return units, matrix


def sum_bins(pieces: Iterable[DnbCounts], size: int) -> KeySums:
    """Sums by bin and gene of bins of `size` x `size` DNBs; a bin is `pair(row, column)`."""
    sums = KeySums()
    for piece in pieces:
        sums.add(pair(pair(piece.y // size, piece.x // size), piece.gene), piece.count)
    return sums


def _summed(key: np.ndarray, count: np.ndarray) -> Run:
    """Sums by key of rows in any order."""
    order = np.argsort(key)
    key = key[order]
    first = firsts(key)
    return key[first], np.add.reduceat(count[order], first, dtype=np.int32)


def _merged(long: Run, short: Run) -> Run:
    """Sums of two runs; the counts of the first are added to in place."""
    (key, count), (other_key, other_count) = long, short
    at = np.searchsorted(key, other_key)
    is_new = key.take(at, mode="clip") != other_key
    count[at[~is_new]] += other_count[~is_new]
    n_new = np.count_nonzero(is_new)
    place = at[is_new] + np.arange(n_new)
    is_old = np.ones(len(key) + n_new, dtype=bool)
    is_old[place] = False
    merged = np.empty(len(is_old), np.int64), np.empty(len(is_old), np.int32)
    for whole, old, new in zip(merged, long, short, strict=True):
        whole[is_old] = old
        whole[place] = new[is_new]
    return merged


def firsts(key: np.ndarray) -> np.ndarray:
    """Places where a new value begins in sorted values."""
    return np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
