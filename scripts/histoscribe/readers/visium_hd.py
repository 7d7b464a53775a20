"""Visium HD as Space Ranger writes it: square bins of 2, 8 or 16 um."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.errors import UserError, problem

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
    adata = read_10x_h5(files["matrix"])
    positions = _positions(files["positions"])
    missing = ~adata.obs_names.isin(positions.index)
    if missing.any():
        raise UserError(
            problem(
                str(files["positions"]),
                f"no position for {missing.sum()} of {len(missing)} barcodes of the matrix "
                f"(such as {adata.obs_names[missing][0]})",
                "one row for each barcode",
                "Take matrix and positions from the same bin size of the same section.",
            )
        )
    positions = positions.loc[adata.obs_names]
    adata.obs["array_row"] = positions["array_row"].to_numpy(np.int32)
    adata.obs["array_col"] = positions["array_col"].to_numpy(np.int32)
    adata.obsm["spatial_px"] = positions[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(
        np.float64
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


def read_10x_h5(path: Path) -> ad.AnnData:
    """Raw counts of a 10x HDF5 matrix, old (v2) or new (v3) layout, as CSR int32."""
    import scanpy as sc  # seconds to import, and only this function needs it

    try:
        adata = sc.read_10x_h5(path)
    except Exception as error:  # h5py, zlib and scanpy each raise their own for damaged files
        raise UserError(
            problem(
                str(path),
                f"an unreadable matrix ({type(error).__name__}: {error})",
                "a whole 10x HDF5 matrix",
                "The file is truncated or of another kind; copy it again.",
            )
        ) from error
    counts = sparse.csr_matrix(adata.X, dtype=np.int32)
    gene_ids = adata.var["gene_ids"].to_numpy() if "gene_ids" in adata.var else adata.var_names
    clean = ad.AnnData(
        counts,
        obs=pd.DataFrame(index=adata.obs_names.astype(str)),
        var=pd.DataFrame({"gene_id": np.asarray(gene_ids, str)}, index=adata.var_names.astype(str)),
    )
    clean.var_names_make_unique()
    return clean


def _positions(path: Path) -> pd.DataFrame:
    try:
        positions = pd.read_parquet(path).set_index("barcode")
    except Exception as error:  # pyarrow raises many kinds for damaged files
        raise UserError(
            problem(
                str(path),
                f"an unreadable table ({type(error).__name__}: {error})",
                "a parquet table with a column barcode",
                "Copy it again.",
            )
        ) from error
    absent = [column for column in POSITION_COLUMNS if column not in positions]
    if absent:
        raise UserError(
            problem(
                str(path),
                f"the columns {', '.join(positions.columns)}",
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
