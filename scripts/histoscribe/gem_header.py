"""The head of a GEM, Stereo-seq's text of molecules, and whether a file of Stereo-seq holds cells.

Light: the Snakefile imports it.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

from histoscribe.errors import UserError, problem

HDF5_START = b"\x89HDF\r\n\x1a\n"
GZIP_START = b"\x1f\x8b"
GENE_COLUMNS = ("geneID", "geneName")
COUNT_COLUMNS = ("MIDCount", "MIDCounts", "UMICount")
CELL_COLUMNS = ("CellID", "cell", "label")
LONGEST_LINE = 10_000  # characters; more is no GEM


@dataclass(frozen=True)
class GemHeader:
    """Comments (`#key=value`) by key, their number of lines, and the columns by role.

    `gene_id` is what tells genes apart and `gene_name` their symbol; they are one column where the
    file has no more.
    """

    comments: dict[str, str]
    n_comments: int
    gene_id: str
    gene_name: str
    count: str
    cell: str | None
    is_gzipped: bool

    @property
    def bin_size(self) -> int:
        """DNBs along the edge of a bin of which a row tells; 1 where rows are of single DNBs."""
        said = self.comments.get("BinSize", "1")
        return int(said) if said.isdigit() and int(said) else 1

    @property
    def cells_only(self) -> bool:
        """Whether all rows are of cells, so that 0 is a cell and not what lies between them."""
        return self.cell is not None and self.comments.get("BinType") == "CellBin"


def read_gem_header(path: Path) -> GemHeader:
    """Read the head of a GEM. Raises UserError where it is damaged or lacks columns."""
    comments: dict[str, str] = {}
    n_comments = 0
    is_gzipped = _starts_with(path, GZIP_START)
    opened = gzip.open if is_gzipped else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            while (line := file.readline(LONGEST_LINE)).startswith("#"):
                key, _, value = line[1:].rstrip().partition("=")
                comments[key] = value
                n_comments += 1
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(
            problem(
                str(path),
                f"an unreadable file ({error})",
                "a GEM (tab-separated text, plain or gzipped) or a GEF (HDF5)",
                "Give the matrix that SAW wrote; where it is cut short, copy it again.",
            )
        ) from error
    columns = line.rstrip("\r\n").split("\t")
    genes = [name for name in GENE_COLUMNS if name in columns]
    count = next((name for name in COUNT_COLUMNS if name in columns), None)
    if not genes or count is None or not {"x", "y"} <= set(columns):
        raise UserError(
            problem(
                str(path),
                f"the columns {', '.join(columns)[:200] or 'of nothing'}",
                f"x, y, {' or '.join(GENE_COLUMNS)}, and {' or '.join(COUNT_COLUMNS)}",
                "Give a GEM (tab-separated, as SAW writes it) or a GEF.",
            )
        )
    size = comments.get("BinSize", "1")
    if not size.isdigit() and not size.lower().startswith("cell"):
        raise UserError(
            problem(str(path), f"#BinSize={size}", "a number of DNBs", "Correct the comment.")
        )
    cell = next((name for name in CELL_COLUMNS if name in columns), None)
    return GemHeader(comments, n_comments, genes[0], genes[-1], count, cell, is_gzipped)


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5, as a GEF is. Raises UserError where it can't be read."""
    return _starts_with(path, HDF5_START)


def holds_cells(path: Path) -> bool:
    """Whether a GEM or GEF gives cells; not where it is absent or damaged, as its reader says."""
    try:
        if not is_hdf5(path):
            return read_gem_header(path).cell is not None
        import h5py

        with h5py.File(path) as file:
            return "cellBin" in file
    except (OSError, UserError):
        return False


def _starts_with(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError as error:
        raise UserError(
            problem(str(path), f"an unreadable file ({error})", "a GEM or GEF", "Copy it again.")
        ) from error
