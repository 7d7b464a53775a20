"""Visium HD as Space Ranger writes it: square bins of 2, 8 or 16 um."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from histoscribe.errors import UserError, problem
from histoscribe.readers.hdf5_10x import read_10x_matrix

if TYPE_CHECKING:
    import anndata as ad

SHAPE = "square"
POSITION_COLUMNS = ("array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")


def um_per_px(files: dict[str, Path]) -> float | None:
    """Resolution of the full-resolution image in `scalefactors_json.json`."""
    value = _scalefactors(files["scalefactors"]).get("microns_per_pixel")
    return float(value) if value else None


def read(files: dict[str, Path]) -> tuple[ad.AnnData, float]:
    """Bins x genes with `obs` array_row, array_col; and the bin's edge in um.

    Raises UserError for damaged files and for barcodes without a position.
    """
    import anndata as ad

    matrix = read_10x_matrix(files["matrix"])
    positions = _positions(files["positions"])
    found = pc.index_in(matrix.barcodes, value_set=positions["barcode"])
    if found.null_count:
        missing = matrix.barcodes.filter(found.is_null())
        raise UserError(
            problem(
                str(files["positions"]),
                f"no position for {len(missing)} of {len(matrix.barcodes)} barcodes of the matrix "
                f"(such as {missing[0]})",
                "one row for each barcode",
                "Take matrix and positions from the same bin size of the same section.",
            )
        )
    row, column, y_px, x_px = (
        positions[name].to_numpy()[found.to_numpy()] for name in POSITION_COLUMNS
    )
    del positions, found
    adata = ad.AnnData(
        matrix.counts,
        obs=pd.DataFrame(
            {"array_row": row.astype(np.int32), "array_col": column.astype(np.int32)},
            index=pd.Index(matrix.barcodes.to_pandas()),
        ),
        var=matrix.var,
        obsm={"spatial_px": np.column_stack([x_px, y_px]).astype(np.float64, copy=False)},
    )
    scalefactors = _scalefactors(files["scalefactors"])
    if "bin_size_um" not in scalefactors:
        raise UserError(
            problem(
                str(files["scalefactors"]),
                "no key bin_size_um",
                "the bin's edge in um, as Space Ranger for Visium HD writes it",
                "Is this a Visium (not HD) folder?",
            )
        )
    return adata, float(scalefactors["bin_size_um"])


def _positions(path: Path) -> pa.Table:
    expected = ("barcode", *POSITION_COLUMNS)
    try:
        found = pq.read_schema(path).names
        absent = [column for column in expected if column not in found]
        positions = pq.read_table(path, columns=[c for c in expected if c in found])
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            problem(
                str(path),
                f"an unreadable table ({type(error).__name__}: {error})",
                "a parquet table with a column barcode",
                "Copy it again.",
            )
        ) from error
    if absent:
        raise UserError(
            problem(
                str(path),
                f"the columns {', '.join(found)}",
                "also " + ", ".join(absent),
                "Use Space Ranger's tissue_positions.parquet.",
            )
        )
    return positions


def _scalefactors(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            problem(str(path), f"an unreadable file ({error})", "JSON", "Copy it again.")
        ) from error
