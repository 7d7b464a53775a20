"""Stereo-seq's GEF (HDF5): square bins (`geneExp/binN`) or cells (`cellBin`), as SAW writes them.

Positions are DNBs in the frame of the registered image, whatever the offset in the attributes
(minX, minY of the bins; offsetX, offsetY of cells), which leads on to the chip. A region cut out
of a GEF has a frame of its own, so that its image must be cut alike, or aligned.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import shapely
from scipy import sparse

from histoscribe.errors import UserError, problem
from histoscribe.readers.dnb_cells import Cells
from histoscribe.readers.dnb_counts import DnbCounts, checked_counts
from histoscribe.readers.hdf5_10x import unique_genes

ROWS_AT_ONCE = 1_000_000
NM_PER_DNB = 500.0
NAME_FIELDS, ID_FIELDS = ("geneName", "gene", "geneID"), ("geneID", "gene", "geneName")
NO_VERTEX = np.iinfo(np.int16).max  # fills up short borders


class Gef:
    """A GEF of square bins, of cells, or of both."""

    def __init__(self, path: Path) -> None:
        """Raises UserError where it is neither, or damaged."""
        self.path = path
        with self._file() as file:
            group = file.get("geneExp", {})
            self._sizes = sorted(int(n[3:]) for n in group if n[:3] == "bin" and n[3:].isdigit())
            if not self._sizes and "cellBin" not in file:
                found = f"the groups {', '.join(file) or 'of nothing'}"
                wanted = "geneExp/bin1 or cellBin, as SAW writes them"
                raise UserError(problem(str(path), found, wanted, "Give a GEF or a GEM."))
            stored = group[f"bin{self._sizes[0]}/expression"] if self._sizes else file["cellBin"]
            nm = stored.attrs.get("resolution", file.attrs.get("resolution", NM_PER_DNB))
            self.um_per_dnb = (float(np.ravel(nm)[0]) or NM_PER_DNB) / 1000

    @property
    def var(self) -> pd.DataFrame:
        """The genes of the bins."""
        with self._file() as file:
            return _genes(file[f"geneExp/bin{self.bin_size()}/gene"][:])

    def bin_size(self) -> int:
        """DNBs along the edge of the finest bins. Raises UserError where there are cells alone."""
        if not self._sizes:
            raise UserError(
                problem(
                    str(self.path),
                    "cells alone",
                    "the group geneExp/bin1",
                    "Give the GEF of square bins (SN.tissue.gef), or choose the unit cell.",
                )
            )
        return self._sizes[0]

    def read_panel(self) -> pd.DataFrame:
        """All genes of the bins."""
        return self.var

    def pieces(self) -> Iterator[DnbCounts]:
        """The rows of the finest bins, piece by piece. Raises UserError where they are damaged."""
        with self._file() as file:
            group = file[f"geneExp/bin{self.bin_size()}"]
            genes, rows = group["gene"][:], group["expression"]
            last = np.cumsum(genes["count"], dtype=np.int64)
            n_shared = last[-1] if len(last) else 0
            if not np.array_equal(genes["offset"], last - genes["count"]) or n_shared != len(rows):
                raise ValueError("genes that do not share out the rows")
            for start in range(0, len(rows), ROWS_AT_ONCE):
                part = rows[start : start + ROWS_AT_ONCE]
                code = np.searchsorted(last, np.arange(start, start + len(part)), side="right")
                x, y, count = (part[name].astype(np.int32) for name in ("x", "y", "count"))
                if part["count"].dtype.kind == "f" and not np.array_equal(count, part["count"]):
                    raise ValueError("fractions among the counts")
                piece = DnbCounts(code.astype(np.int32), x, y, count)
                yield checked_counts(piece, str(self.path))

    def cells(self) -> Cells:
        """The cells, of which counts and borders are stored. Raises UserError where damaged."""
        with self._file() as file:
            group = file["cellBin"]
            cells, rows, genes = group["cell"][:], group["cellExp"][:], _genes(group["gene"][:])
            indptr = np.append(0, np.cumsum(cells["geneCount"], dtype=np.int64))
            if not np.array_equal(cells["offset"], indptr[:-1]) or indptr[-1] != len(rows):
                raise ValueError("cells that do not share out the rows")
            counts = sparse.csr_matrix(
                (rows["count"].astype(np.int32), rows["geneID"].astype(np.int32), indptr),
                shape=(len(cells), len(genes)),
            )
            counts.check_format(full_check=True)
            centre = np.column_stack([cells["x"], cells["y"]])
            outlines = _borders(group["cellBorder"][:], centre)
        names = cells["id"].astype(str).astype(object)
        n_molecules = int(counts.sum())
        if self._sizes:  # the bins tell of what lies between cells, too
            n_molecules = sum(int(piece.count.sum()) for piece in self.pieces())
        return Cells(names, counts, genes, outlines, n_molecules)

    @contextmanager
    def _file(self) -> Iterator[h5py.File]:
        try:
            with h5py.File(self.path) as file:
                yield file
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise UserError(
                problem(
                    str(self.path),
                    f"an unreadable GEF ({type(error).__name__}: {error})",
                    "geneExp/binN/{expression,gene} or cellBin/{cell,cellExp,gene,cellBorder}",
                    "The file is cut short or of another kind; copy it again.",
                )
            ) from error


def _genes(table: np.ndarray) -> pd.DataFrame:
    """`var` of a gene table: name and id, or `gene` for both in older files."""
    names, ids = (_text(table, fields) for fields in (NAME_FIELDS, ID_FIELDS))
    return unique_genes(names.where(names != "", ids), ids)


def _text(table: np.ndarray, fields: tuple[str, ...]) -> pd.Series:
    """The first of `fields` that a table has, as text."""
    field = next((name for name in fields if name in table.dtype.names), None)
    if field is None:
        raise KeyError(f"no field {', '.join(fields)} in the genes")
    return pd.Series([value.decode() for value in table[field]], dtype=object)


def _borders(vertices: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Polygons (n_cells,) of borders (n_cells, n_vertices, 2) about centres (n_cells, 2).

    Polygons of fewer than three vertices are empty.
    """
    if vertices.dtype.itemsize == 1:
        raise ValueError("borders of 8 bits, of an early version, which mark no end")
    is_vertex = (vertices != NO_VERTEX).all(axis=2)
    is_vertex &= is_vertex.sum(axis=1, keepdims=True) >= 3
    cell, _ = np.nonzero(is_vertex)
    outlined, ring = np.unique(cell, return_inverse=True)
    # A vertex is the middle of a DNB at the border.
    rings = shapely.linearrings(vertices[is_vertex] + centre[cell] + 0.5, indices=ring)
    outlines = np.full(len(centre), shapely.Polygon())
    outlines[outlined] = shapely.polygons(rings)
    return outlines
