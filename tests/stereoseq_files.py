"""Small GEM and GEF files written by the tests, in the layouts that SAW documents."""

import gzip
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

N_DNBS = 200  # along an edge of the chip
CELL_OF_NONE = 0
NO_VERTEX = np.iinfo(np.int16).max
BORDER = np.array([(-4, -4), (4, -4), (4, 4), (-4, 4)])  # about a cell's centre, in DNBs


def molecules(n_rows: int = 6_000, n_genes: int = 25, seed: int = 0) -> pd.DataFrame:
    """Rows of a GEM, each gene and DNB once: geneID, geneName, x, y, MIDCount and CellID.

    Cells are squares of 9 DNBs, 20 apart; the rows between them are of cell 0.
    """
    rng = np.random.default_rng(seed)
    gene = (n_genes * rng.random(n_rows) ** 2).astype(int)
    x, y = rng.integers(0, N_DNBS, (2, n_rows))
    frame = pd.DataFrame({"geneID": [f"ENSG{g:05d}" for g in gene], "x": x, "y": y})
    frame.insert(1, "geneName", [f"GENE{g}" for g in gene])
    frame["MIDCount"] = rng.integers(1, 5, n_rows)
    column, row = frame["x"] // 20, frame["y"] // 20
    in_cell = (abs(frame["x"] - 20 * column - 10) <= 4) & (abs(frame["y"] - 20 * row - 10) <= 4)
    frame["CellID"] = np.where(in_cell, 1 + row * (N_DNBS // 20) + column, CELL_OF_NONE)
    return frame.drop_duplicates(["geneID", "x", "y"]).reset_index(drop=True)


def write_gem(path: Path, rows: pd.DataFrame, **comments: object) -> Path:
    """A GEM of rows with their columns, gzipped where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    comments = {"FileFormat": "GEMv0.2", "BinSize": 1, "OffsetX": 0, "OffsetY": 0} | comments
    text = "".join(f"#{key}={value}\n" for key, value in comments.items())
    text += rows.to_csv(sep="\t", index=False)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_gef(path: Path, rows: pd.DataFrame, size: int = 1, names: bool = True) -> Path:
    """A GEF of square bins of `size` DNBs; without `names` in the layout of older versions."""
    binned = rows.assign(x=rows["x"] // size * size, y=rows["y"] // size * size)
    summed = binned.groupby(["geneID", "geneName", "x", "y"], as_index=False)["MIDCount"].sum()
    genes = summed.groupby(["geneID", "geneName"], as_index=False).size()
    kind = [("x", "<i4"), ("y", "<i4"), ("count", "u1")]
    expression = np.zeros(len(summed), dtype=kind)
    expression["x"], expression["y"] = summed["x"], summed["y"]
    expression["count"] = summed["MIDCount"]
    fields = [("geneID", "S64"), ("geneName", "S64")] if names else [("gene", "S64")]
    table = np.zeros(len(genes), dtype=[*fields, ("offset", "<u4"), ("count", "<u4")])
    for field, _ in fields:
        table[field] = genes["geneID" if field == "geneID" else "geneName"].astype("S64")
    table["count"] = genes["size"]
    table["offset"] = np.cumsum(genes["size"]) - genes["size"]
    with h5py.File(path, "w") as file:
        stored = file.create_dataset(f"geneExp/bin{size}/expression", data=expression)
        file[f"geneExp/bin{size}/gene"] = table
        for name, value in {"minX": 0, "minY": 0, "maxX": N_DNBS, "maxY": N_DNBS}.items():
            stored.attrs[name] = np.array([value], dtype=np.int32)
        stored.attrs["resolution"] = np.array([500], dtype=np.uint32)
    return path


def write_cell_gef(path: Path, rows: pd.DataFrame) -> Path:
    """A GEF of the cells of `rows`, whose borders are squares about their centres."""
    summed = rows[rows["CellID"] != CELL_OF_NONE].groupby(["CellID", "geneName"])["MIDCount"].sum()
    genes = sorted(rows["geneName"].unique())
    per_cell = summed.groupby("CellID").size()
    number = per_cell.index.to_numpy() - 1
    cells = np.zeros(
        len(per_cell),
        dtype=[("id", "<u4"), ("x", "<i4"), ("y", "<i4"), ("offset", "<u4"), ("geneCount", "<u2")],
    )
    cells["id"], cells["geneCount"] = per_cell.index, per_cell
    cells["offset"] = np.cumsum(per_cell) - per_cell
    cells["x"] = number % (N_DNBS // 20) * 20 + 10
    cells["y"] = number // (N_DNBS // 20) * 20 + 10
    expression = np.zeros(len(summed), dtype=[("geneID", "<u4"), ("count", "<u2")])
    expression["geneID"] = [genes.index(name) for name in summed.index.get_level_values(1)]
    expression["count"] = summed
    border = np.full((len(cells), 32, 2), NO_VERTEX, dtype=np.int16)
    border[:, : len(BORDER)] = BORDER
    with h5py.File(path, "w") as file:
        for name, value in {"resolution": 500, "offsetX": 0, "offsetY": 0}.items():
            file.attrs[name] = np.array([value], dtype=np.uint32)
        group = file.create_group("cellBin")
        group["cell"], group["cellExp"], group["cellBorder"] = cells, expression, border
        group["gene"] = np.array([(name,) for name in genes], dtype=[("geneName", "S64")])
    return path
