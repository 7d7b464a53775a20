"""Cells that a file of Stereo-seq gives: their counts and, in DNBs, their outlines."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from scipy import sparse

from histoscribe.errors import UserError, problem
from histoscribe.readers.dnb_counts import (
    LIMIT,
    DnbCounts,
    KeySums,
    count_matrix,
    firsts,
    pair,
    unpair,
)

CELLS_AT_ONCE = 5_000
CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=np.float64)


@dataclass(frozen=True)
class Cells:
    """Names (n_cells,), counts (n_cells, n_genes) int32, genes, and outlines (n_cells,) in DNBs.

    DNB x covers [x, x + 1). `n_molecules` are those of the file, in cells and between them.
    """

    names: np.ndarray
    counts: sparse.csr_matrix
    var: pd.DataFrame
    outlines: np.ndarray
    n_molecules: int


@dataclass
class CellSums:
    """Counts by cell and gene, by cell and DNB, and of all molecules."""

    by_gene: KeySums
    by_place: KeySums
    n_molecules: int = 0


def sum_cells(pieces: Iterable[DnbCounts], first: int, where: str) -> CellSums:
    """Sums over rows that name their cell; those of a cell below the number `first` are of none.

    Raises UserError for huge numbers.
    """
    sums = CellSums(KeySums(), KeySums())
    for piece in pieces:
        sums.n_molecules += int(piece.count.sum())
        inside = np.flatnonzero(piece.cell >= first)
        cell = piece.cell[inside]
        if len(cell) and cell.max() >= LIMIT:
            raise UserError(
                problem(where, f"the cell {cell.max()}", f"ids below {LIMIT}", "Number them anew.")
            )
        count = piece.count[inside]
        sums.by_gene.add(pair(cell, piece.gene[inside]), count)
        sums.by_place.add(pair(pair(cell, piece.x[inside]), piece.y[inside]), count)
    return sums


def hulled_cells(sums: CellSums, var: pd.DataFrame, where: str) -> Cells:
    """Cells by their sums, outlined by the convex hull of their DNBs.

    Files that name each row's cell hold no outlines. Raises UserError where there is no cell.
    """
    numbers, matrix = count_matrix(sums.by_gene, len(var))
    if not len(numbers):
        raise UserError(problem(where, "no row of a cell", "at least one", "Segment nuclei."))
    names = numbers.astype(str).astype(object)
    return Cells(names, matrix, var, _hulls(sums.by_place.total()[0]), sums.n_molecules)


def _hulls(place: np.ndarray) -> np.ndarray:
    """Convex hulls of the squares of DNBs, by sorted keys of cell, x and y."""
    place, y = unpair(place)
    cell, x = unpair(place)
    first = np.append(firsts(cell), len(cell))
    hulls = []
    for start in range(0, len(first) - 1, CELLS_AT_ONCE):
        edges = first[start : start + CELLS_AT_ONCE + 1]
        part = slice(edges[0], edges[-1])
        corners = np.column_stack([x[part], y[part]])[:, None] + CORNERS
        owner = np.repeat(np.arange(len(edges) - 1), np.diff(edges) * len(CORNERS))
        points = shapely.multipoints(corners.reshape(-1, 2), indices=owner)
        hulls.append(shapely.convex_hull(points))
    return np.concatenate(hulls)
