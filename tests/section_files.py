"""Small platform folders written by the tests, in the layouts of the real ones."""

import gzip
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import tifffile
from scipy import io, sparse

VISIUM_GENES = ["ROW0", "COL0", "DUP", "DUP", "MT-X"]
VISIUM_UM_PER_PX = 0.5


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


def visium_array(turn_deg: float = 0.0) -> pd.DataFrame:
    """Barcodes, array and pixel positions of all spots; columns count in steps of 50 um."""
    spots = [(r, c) for r in range(8) for c in range(20) if (r + c) % 2 == 0]
    row, column = np.array(spots).T
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    xy_um = np.column_stack([column * 50.0, row * 100 * np.sqrt(3) / 2]) @ turn.T + (150, 100)
    x, y = (xy_um / VISIUM_UM_PER_PX).T
    return pd.DataFrame(
        {
            "barcode": [f"AA{r}C{c}-1" for r, c in spots],
            "in_tissue": (column < 16).astype(int),
            "array_row": row,
            "array_col": column,
            "pxl_row_in_fullres": y,
            "pxl_col_in_fullres": x,
        }
    )


def write_visium(
    outs: Path,
    positions: str = "tissue_positions.csv",
    table: pd.DataFrame | None = None,
    matrix: str = "h5",
    diameter_um: float = 65,
) -> Path:
    """Space Ranger's outs; ROW0 is counted in row 0 only and COL0 in column 0 only."""
    table = visium_array() if table is None else table
    (outs / "spatial").mkdir(parents=True)
    path = outs / "spatial" / positions
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False, header="list" not in positions)
    factors = {"spot_diameter_fullres": diameter_um / VISIUM_UM_PER_PX}
    (outs / "spatial" / "scalefactors_json.json").write_text(json.dumps(factors))
    own = visium_array().query("in_tissue == 1").sample(frac=1, random_state=0)
    counts = np.ones((len(own), len(VISIUM_GENES)), dtype=int)
    counts[:, 0] = 5 * (own["array_row"] == 0)
    counts[:, 1] = 7 * (own["array_col"] == 0)
    if matrix == "h5":
        name = outs / "filtered_feature_bc_matrix.h5"
        write_10x_h5(name, sparse.csr_matrix(counts), list(own["barcode"]), VISIUM_GENES)
    else:
        write_mtx(outs / "filtered_feature_bc_matrix", counts, own["barcode"], matrix)
    return outs


def write_mtx(folder: Path, counts: np.ndarray, barcodes: pd.Series, dialect: str) -> None:
    """Matrix, barcodes and features: of old software plain and without types (`genes`)."""
    folder.mkdir()
    kinds = ["Gene Expression"] * (len(VISIUM_GENES) - 1) + ["Antibody Capture"]
    rows = [[f"ENSG{i}", gene, kinds[i]] for i, gene in enumerate(VISIUM_GENES)]
    old = dialect == "genes"
    text = ["\t".join(row[:2] if old else row) for row in rows]
    name = folder / "matrix.mtx"
    io.mmwrite(name, sparse.coo_matrix(counts.T), field="integer")
    contents = {
        "matrix.mtx": name.read_text(),
        "genes.tsv" if old else "features.tsv": "\n".join(text) + "\n",
        "barcodes.tsv": "\n".join(barcodes) + "\n",
    }
    name.unlink()
    for file, content in contents.items():
        if old:
            (folder / file).write_text(content)
        else:
            with gzip.open(folder / f"{file}.gz", "wt") as stream:
                stream.write(content)


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
