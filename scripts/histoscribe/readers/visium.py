"""Visium (not HD) as Space Ranger 1 to 3 write it: spots of 55 um, their centres 100 um apart.

Rows of the array lie 100 * sqrt(3) / 2 um apart; in a row every other column number holds a spot,
so that a step of one column is 50 um. Positions come in two dialects, told by their content:
without a header (`tissue_positions_list.csv`, Space Ranger 1) and with one
(`tissue_positions.csv`, later; also as parquet).
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from histoscribe.errors import UserError, problem
from histoscribe.platforms import SPOT_UM
from histoscribe.readers.hdf5_10x import read_10x_matrix
from histoscribe.readers.mtx_10x import read_mtx_matrix
from histoscribe.units import RESOLUTION_TOLERANCE

if TYPE_CHECKING:
    import anndata as ad

LOG = logging.getLogger(__name__)
SHAPE = "circle"
COLUMN_UM, ROW_UM = 50.0, 50.0 * 3**0.5
MAX_OFF_ARRAY_UM = 10.0  # a tenth of the pitch
# spot_diameter_fullres is that of 55 um, or of 65 um with the rim, by version.
STATED_DIAMETERS_UM = (50.0, 70.0)
COLUMNS = (
    "barcode",
    "in_tissue",
    "array_row",
    "array_col",
    "pxl_row_in_fullres",
    "pxl_col_in_fullres",
)
NUMBERS = COLUMNS[2:]


def um_per_px(files: dict[str, Path]) -> float | None:
    """Resolution of the full-resolution image from the array's pitch; None for spots in a line.

    The stated spot diameter stands for 55 or 65 um, depending on the version, and is only checked:
    where it is neither, a warning says so. Raises UserError for positions that are no Visium array.
    """
    positions = _positions(files["positions"])
    array_um = positions[["array_col", "array_row"]].to_numpy() * (COLUMN_UM, ROW_UM)
    pixels = positions[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    design = np.column_stack([array_um, np.ones(len(array_um))])
    if np.linalg.matrix_rank(design - design.mean(axis=0) * (1, 1, 0)) < 3:
        return None
    fitted, *_ = np.linalg.lstsq(design, pixels, rcond=None)
    stretch = np.linalg.svd(fitted[:2], compute_uv=False)  # px per um along two directions
    off_px = np.sqrt(np.mean(np.sum((pixels - design @ fitted) ** 2, axis=1)))
    is_array = stretch.min() > 0 and off_px / stretch.min() <= MAX_OFF_ARRAY_UM
    if not is_array or stretch.max() / stretch.min() > 1 + RESOLUTION_TOLERANCE:
        raise UserError(
            problem(
                str(files["positions"]),
                "pixels that do not follow array_row and array_col as spots of a Visium slide do",
                "rows sqrt(3) / 2 of the pitch apart, offset by half of it, in square pixels",
                "Are these bins of Visium HD, or another section's? Take Space Ranger's own file.",
            )
        )
    settled = float(1 / np.sqrt(stretch.prod()))
    _check_diameter(files["scalefactors"], settled)
    return settled


def read(files: dict[str, Path]) -> tuple[ad.AnnData, float]:
    """Spots x genes with `obs` array_row, array_col; and the spot's diameter in um.

    Raises UserError for damaged files and for barcodes without a position.
    """
    import anndata as ad

    if "barcodes" in files:
        matrix = read_mtx_matrix(files["matrix"], files["barcodes"], files["features"])
    else:
        matrix = read_10x_matrix(files["matrix"])
    positions = _positions(files["positions"])
    barcodes = pd.Index(matrix.barcodes.to_pandas())
    found = pd.Index(positions["barcode"]).get_indexer(barcodes)
    if (found < 0).any():
        missing = barcodes[found < 0]
        raise UserError(
            problem(
                str(files["positions"]),
                f"no position for {len(missing)} of {len(barcodes)} barcodes of the matrix "
                f"(such as {missing[0]})",
                "one row for each barcode",
                "Take matrix and positions from the same section.",
            )
        )
    own = positions.iloc[found]
    adata = ad.AnnData(
        matrix.counts,
        obs=own[["array_row", "array_col"]].astype(np.int32).set_index(barcodes),
        var=matrix.var,
    )
    adata.obsm["spatial_px"] = own[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    return adata, SPOT_UM["visium"]


def _positions(path: Path) -> pd.DataFrame:
    """All spots of the array, columns COLUMNS, numbers as float64."""
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, header=None, dtype=str, keep_default_na=False)
            if str(table.iloc[0, 0]).strip().lower() == COLUMNS[0]:
                table = table.iloc[1:].set_axis(table.iloc[0].str.strip(), axis=1)
            elif table.shape[1] == len(COLUMNS):
                table.columns = list(COLUMNS)
        absent = [column for column in COLUMNS if column not in table]
        if not absent:
            numbers = table[list(NUMBERS)].astype(np.float64)
            return pd.concat([table[["barcode"]].astype(str), numbers], axis=1)
    except (OSError, ValueError, IndexError, pa.ArrowException) as error:
        raise UserError(
            problem(
                str(path), f"an unreadable table ({error})", "spots of the array", "Copy it again."
            )
        ) from error
    raise UserError(
        problem(
            str(path),
            f"{table.shape[1]} columns, without {', '.join(absent)}",
            "a header with " + ", ".join(COLUMNS) + ", or these six without a header",
            "Use Space Ranger's tissue_positions.csv (from version 2) or "
            "tissue_positions_list.csv (version 1).",
        )
    )


def _check_diameter(path: Path, um_per_px: float) -> None:
    try:
        diameter_px = json.loads(path.read_text()).get("spot_diameter_fullres")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            problem(str(path), f"an unreadable file ({error})", "JSON", "Copy it again.")
        ) from error
    low, high = STATED_DIAMETERS_UM
    if diameter_px is not None and not low <= diameter_px * um_per_px <= high:
        LOG.warning(
            "%s: spot_diameter_fullres is %.4g px, %.4g um at the %.4g um/px of the array's pitch, "
            "where 55 or 65 um are expected; are both files of one section?",
            path,
            diameter_px,
            diameter_px * um_per_px,
            um_per_px,
        )
