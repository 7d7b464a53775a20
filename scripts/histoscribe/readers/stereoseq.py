"""Stereo-seq as SAW writes it: molecules at DNBs, spots 0.5 um apart, in a GEM or a GEF.

The image is SAW's registered one, whose pixel (x, y) is DNB (x, y) of the matrix; another image
needs an alignment file (`*imagealignment.csv`), a matrix that maps its pixels to these DNBs.
DNBs are summed to bins, given to nuclei one molecule at a time as transcripts, or summed to the
cells that the file itself gives.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely

from histoscribe.errors import UserError, problem
from histoscribe.gem_header import is_hdf5
from histoscribe.readers.dnb_counts import count_matrix, sum_bins, unpair
from histoscribe.readers.gef import Gef
from histoscribe.readers.gem import Gem
from histoscribe.readers.image_alignment import read_alignment, stretch
from histoscribe.readers.transcript_table import Piece

if TYPE_CHECKING:
    import anndata as ad

LOG = logging.getLogger(__name__)
SHAPE = "square"


def um_per_px(files: dict[str, Path]) -> float | None:
    """Resolution of the image: a DNB a pixel where it is registered, else by its alignment."""
    per_px = stretch(read_alignment(files["alignment"])) if "alignment" in files else 1.0
    return per_px * _open(files).um_per_dnb


def read(files: dict[str, Path], bin_um: float) -> tuple[ad.AnnData, float]:
    """Bins x genes with `obs` array_row, array_col, of bins of `bin_um`; and that edge.

    Memory grows with the pairs of bin and gene that have counts, not with the rows. Raises
    UserError for damaged files, files without rows, and bins that no whole DNBs fill.
    """
    import anndata as ad

    matrix = _open(files)
    size = _dnbs_along(bin_um, matrix)
    sums = sum_bins(matrix.pieces(), size)
    var = matrix.var
    bins, counts = count_matrix(sums, len(var))
    if not len(bins):
        raise UserError(
            problem(str(matrix.path), "no row with a count", "at least one", "Copy it again.")
        )
    row, column = unpair(bins)
    centre = (np.column_stack([column, row]) + 0.5) * size
    adata = ad.AnnData(
        counts,
        obs=pd.DataFrame(
            {"array_row": row.astype(np.int32), "array_col": column.astype(np.int32)},
            index=[f"bin_{r}_{c}" for r, c in zip(row, column, strict=True)],
        ),
        var=var,
        obsm={"spatial_px": _mapped(centre, _to_image_px(files))},
    )
    return adata, size * matrix.um_per_dnb


def read_cells(files: dict[str, Path]) -> tuple[ad.AnnData, float]:
    """The file's own cells x genes; and the edge in um of a square as large as their median.

    `uns` has umi_under_tissue: all molecules, also those between cells where the file tells of
    them. Cells without an outline are left out, with a warning. Raises UserError for damaged
    files and files without cells.
    """
    import anndata as ad

    matrix = _open(files)
    cells = matrix.cells()
    outlined = np.flatnonzero(~shapely.is_empty(cells.outlines))
    if not len(outlined):
        found = f"{len(cells.names)} cells, none with an outline"
        raise UserError(problem(str(matrix.path), found, "outlined cells", "Segment nuclei."))
    if len(outlined) < len(cells.names):
        n_bare = len(cells.names) - len(outlined)
        LOG.warning("%s: %d cells without an outline are left out", matrix.path, n_bare)
    outlines = cells.outlines[outlined]
    centre = shapely.get_coordinates(shapely.centroid(outlines))
    adata = ad.AnnData(
        cells.counts[outlined],
        obs=pd.DataFrame(index=cells.names[outlined]),
        var=cells.var,
        obsm={"spatial_px": _mapped(centre, _to_image_px(files))},
        uns={"umi_under_tissue": cells.n_molecules},
    )
    return adata, float(np.sqrt(np.median(shapely.area(outlines)))) * matrix.um_per_dnb


def read_panel(files: dict[str, Path]) -> pd.DataFrame:
    """All genes of the file as `var` with gene_id."""
    return _open(files).read_panel()


def read_transcripts(
    files: dict[str, Path], um_per_px: float, genes: pd.Index, accounting: dict[str, int]
) -> Iterator[Piece]:
    """Positions (n, 2) in um of the image and gene codes of molecules, piece by piece.

    Each molecule lies in the middle of its DNB; `genes` are those of `read_panel`. Adds to
    `accounting` how many there were. Raises UserError for damaged files and for files of bins.
    """
    matrix = _open(files)
    _require_stored(1, matrix)
    to_um = np.diag([um_per_px, um_per_px, 1.0]) @ _to_image_px(files)
    accounting["transcripts_under_tissue"] = 0
    for piece in matrix.pieces():
        points = _mapped(np.column_stack([piece.x, piece.y]) + 0.5, to_um)
        accounting["transcripts_under_tissue"] += int(piece.count.sum())
        yield np.repeat(points, piece.count, axis=0), np.repeat(piece.gene, piece.count)


def read_cell_outlines(files: dict[str, Path], um_per_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Polygons (n_cells,) in um of the image and names (n_cells,) of the file's own cells."""
    cells = _open(files).cells()
    to_um = np.diag([um_per_px, um_per_px, 1.0]) @ _to_image_px(files)
    return shapely.transform(cells.outlines, lambda xy: _mapped(xy, to_um)), cells.names


def _open(files: dict[str, Path]) -> Gem | Gef:
    path = files["molecules"]
    return Gef(path) if is_hdf5(path) else Gem(path)


def _to_image_px(files: dict[str, Path]) -> np.ndarray:
    """The affine map (3, 3) from DNBs to pixels of the image."""
    if "alignment" not in files:
        LOG.info("%s: the image is taken to be registered, a DNB a pixel", files["molecules"])
        return np.eye(3)
    return np.linalg.inv(read_alignment(files["alignment"]))


def _mapped(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return points @ affine[:2, :2].T + affine[:2, 2]


def _dnbs_along(bin_um: float, matrix: Gem | Gef) -> int:
    """DNBs along the edge of a bin of `bin_um`."""
    size = round(bin_um / matrix.um_per_dnb)
    if size < 1 or not np.isclose(size * matrix.um_per_dnb, bin_um, rtol=1e-6):
        raise UserError(
            problem(
                f"config, units/bin_um, for {matrix.path}",
                f"{bin_um:g} um",
                f"a multiple of {matrix.um_per_dnb:g} um, the distance between DNBs",
                "Bins are summed of whole DNBs: bin 20 is 10 um, bin 50 is 25 um.",
            )
        )
    _require_stored(size, matrix)
    return size


def _require_stored(size: int, matrix: Gem | Gef) -> None:
    """Raise UserError unless bins of `size` DNBs can be summed of what the file stores."""
    stored = matrix.bin_size()
    if size % stored:
        wanted = "DNB by DNB (bin 1)" if size == 1 else f"in bins that fill bins of {size} DNBs"
        raise UserError(
            problem(
                str(matrix.path),
                f"counts in bins of {stored} DNBs",
                f"counts {wanted}",
                "Give the matrix of bin 1, or change units.bin_um to a multiple of its bins.",
            )
        )
