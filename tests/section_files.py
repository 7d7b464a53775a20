"""Small platform folders written by the tests, in the layouts of the real ones."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import tifffile
from scipy import sparse


def write_tiff(path: Path, pixels: np.ndarray, um_per_px: float | None) -> Path:
    """A tiled RGB TIFF with its resolution in the tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = {}
    if um_per_px is not None:
        tags = {"resolution": (1e4 / um_per_px, 1e4 / um_per_px), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", compression="deflate", **tags)
    return path


def write_10x_h5(
    path: Path,
    counts: sparse.csr_matrix,
    barcodes: list[str],
    genes: list[str],
    version: int = 3,
    compression: str | None = "gzip",
) -> Path:
    """A 10x matrix (bins x genes given) in the layout of version 2 or 3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    by_gene = counts.T.tocsc()
    ids = [f"ENSG{i:011d}" for i in range(len(genes))]
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if version == 3 else "GRCh38")

        def write(name: str, values: object) -> None:
            group.create_dataset(name, data=values, compression=compression)

        write("barcodes", np.array(barcodes, dtype="S"))
        write("data", by_gene.data.astype(np.int32))
        write("indices", by_gene.indices.astype(np.int64))
        write("indptr", by_gene.indptr.astype(np.int64))
        group.create_dataset("shape", data=np.array(by_gene.shape, dtype=np.int32))
        if version == 3:
            write("features/id", np.array(ids, dtype="S"))
            write("features/name", np.array(genes, dtype="S"))
            write("features/feature_type", np.array(["Gene Expression"] * len(genes), dtype="S"))
            write("features/genome", np.array(["GRCh38"] * len(genes), dtype="S"))
        else:
            write("genes", np.array(ids, dtype="S"))
            write("gene_names", np.array(genes, dtype="S"))
    return path


def write_visium_hd(
    folder: Path,
    n_rows: int = 20,
    n_cols: int = 30,
    bin_um: int = 8,
    um_per_px: float = 0.5,
    origin_px: tuple[float, float] = (40.0, 20.0),
    n_genes: int = 12,
    seed: int = 0,
    **matrix_options: object,
) -> Path:
    """A Space Ranger folder of n_rows x n_cols bins; `origin_px` is x, y of the first corner.

    Gene 0 is counted only in row 0, gene 1 only in column 0, so that swapped axes show.
    """
    rng = np.random.default_rng(seed)
    row, col = (a.ravel() for a in np.indices((n_rows, n_cols)))
    barcodes = [f"s_{bin_um:03d}um_{r:05d}_{c:05d}-1" for r, c in zip(row, col, strict=True)]
    counts = rng.poisson(1.5, (len(row), n_genes))
    counts[:, 0] = 5 * (row == 0)
    counts[:, 1] = 5 * (col == 0)
    genes = ["ROW0", "COL0", "MT-CO1", *(f"GENE{i}" for i in range(3, n_genes))]
    square = folder / "binned_outputs" / f"square_{bin_um:03d}um"
    matrix = square / "filtered_feature_bc_matrix.h5"
    write_10x_h5(matrix, sparse.csr_matrix(counts), barcodes, genes, **matrix_options)
    step = bin_um / um_per_px
    positions = pd.DataFrame(
        {
            "barcode": barcodes,
            "in_tissue": 1,
            "array_row": row,
            "array_col": col,
            "pxl_row_in_fullres": origin_px[1] + (row + 0.5) * step,
            "pxl_col_in_fullres": origin_px[0] + (col + 0.5) * step,
        }
    )
    (square / "spatial").mkdir(exist_ok=True)
    positions.sample(frac=1, random_state=seed).to_parquet(
        square / "spatial" / "tissue_positions.parquet", index=False
    )
    factors = {"bin_size_um": float(bin_um), "microns_per_pixel": um_per_px}
    (square / "spatial" / "scalefactors_json.json").write_text(json.dumps(factors))
    return folder


def tissue_image(height_px: int, width_px: int, seed: int = 0) -> np.ndarray:
    """Pink noise with dark spots: enough of an H&E for plumbing."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height_px, width_px, 3), (228, 170, 200), dtype=np.int16)
    pixels += rng.integers(-20, 20, (height_px, width_px, 1), dtype=np.int16)
    y, x = np.mgrid[-6:7, -6:7]
    disc = x**2 + y**2 < 36
    for cx, cy in rng.integers((6, 6), (width_px - 6, height_px - 6), (width_px * 3, 2)):
        pixels[cy - 6 : cy + 7, cx - 6 : cx + 7][disc] = (92, 60, 140)
    return pixels.clip(0, 255).astype(np.uint8)
