"""Stereo-seq's GEM: a row for each gene at each DNB, as text, plain or gzipped, read in pieces.

x and y lie in the frame of the registered image: SAW has taken the chip's #OffsetX and #OffsetY
off them, and adding these gives positions on the chip (STOmics/SAW, issue 175).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from histoscribe.errors import UserError, problem
from histoscribe.gem_header import read_gem_header
from histoscribe.readers.dnb_cells import Cells, hulled_cells, sum_cells
from histoscribe.readers.dnb_counts import DnbCounts, checked_counts
from histoscribe.readers.hdf5_10x import unique_genes

BYTES_AT_ONCE = 1 << 24
UM_PER_DNB = 0.5


class Gem:
    """A GEM. Genes are numbered in the order in which they appear."""

    um_per_dnb = UM_PER_DNB

    def __init__(self, path: Path) -> None:
        """Raises UserError where the head is damaged or lacks columns."""
        self.path = path
        self._header = read_gem_header(path)
        self._code: dict[str, int] = {}
        self._names: list[str] = []

    @property
    def var(self) -> pd.DataFrame:
        """The genes met so far."""
        return unique_genes(pd.Series(self._names, dtype=object), pd.Series(list(self._code)))

    def bin_size(self) -> int:
        """DNBs along the edge of the bins that rows tell of."""
        return self._header.bin_size

    def read_panel(self) -> pd.DataFrame:
        """All genes, by a pass over them alone. Raises UserError for damaged rows."""
        for batch in self._batches([self._header.gene_id, self._header.gene_name]):
            self._codes(batch)
        return self.var

    def pieces(self, with_cells: bool = False) -> Iterator[DnbCounts]:
        """The rows, piece by piece. Raises UserError for damaged rows and no raw counts."""
        header = self._header
        columns = [header.gene_id, header.gene_name, "x", "y", header.count]
        cell = [header.cell] if with_cells else []
        for batch in self._batches(columns + cell):
            x, y, count = (batch[name].to_numpy() for name in ("x", "y", header.count))
            cells = batch[cell[0]].to_numpy() if cell else None
            yield checked_counts(DnbCounts(self._codes(batch), x, y, count, cells), str(self.path))

    def cells(self) -> Cells:
        """The cells of the rows. Raises UserError as `pieces`, and where there are none."""
        if self._header.cell is None:
            raise UserError(
                problem(str(self.path), "no column CellID", "each row's cell", "Segment nuclei.")
            )
        first = 0 if self._header.cells_only else 1
        sums = sum_cells(self.pieces(with_cells=True), first, str(self.path))
        return hulled_cells(sums, self.var, str(self.path))

    def _batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        names = {self._header.gene_id, self._header.gene_name}
        text = pa.dictionary(pa.int32(), pa.string())
        reading = csv.ReadOptions(
            use_threads=False, block_size=BYTES_AT_ONCE, skip_rows=self._header.n_comments
        )
        converting = csv.ConvertOptions(
            include_columns=list(dict.fromkeys(columns)),
            column_types={name: text if name in names else pa.int32() for name in columns},
            null_values=[],
        )
        packing = "gzip" if self._header.is_gzipped else None
        try:
            with pa.input_stream(str(self.path), compression=packing) as stream:
                yield from csv.open_csv(
                    stream, reading, csv.ParseOptions(delimiter="\t", quote_char=False), converting
                )
        except pa.ArrowInvalid as error:
            raise UserError(
                problem(
                    str(self.path),
                    f"rows that can't be read ({error})",
                    "whole numbers in x, y, the counts and the cells, and a cell for each column",
                    "Give raw counts, as SAW writes them.",
                )
            ) from error
        except OSError as error:
            raise UserError(
                problem(str(self.path), f"a damaged file ({error})", "all of it", "Copy it again.")
            ) from error

    def _codes(self, batch: pa.RecordBatch) -> np.ndarray:
        """Codes of the genes (n,), after numbering those that are new."""
        ids = batch[self._header.gene_id]
        place = ids.indices.to_numpy()
        # Of rows that are written to one place in reverse, the first stays.
        first = np.empty(len(ids.dictionary), dtype=np.int64)
        first[place[::-1]] = np.arange(len(place))[::-1]
        code = np.empty(len(first), dtype=np.int32)
        names = batch[self._header.gene_name]
        for at, gene in enumerate(ids.dictionary.to_pylist()):
            if gene not in self._code:
                self._code[gene] = len(self._names)
                self._names.append(names[int(first[at])].as_py() or gene)
            code[at] = self._code[gene]
        return code[place]
