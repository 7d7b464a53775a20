"""A whole Visium HD section: 12 million 2 um bins x 18,000 genes and 100,000 nuclei.

Data are made and counted in processes one after another: by HistoScribe (`raster`); by the spatial
join as the 10x guide does it, with points made one by one and joined beside the positions table
(`guide`); and by the leanest form of that join, with points made at once and nothing beside them
(`join`). The clock covers assigning bins and summing counts in all; memory is each process's peak
(`ru_maxrss`), whole and above what it held once the inputs were loaded. The guide goes on with
barcodes as text and sums nucleus by nucleus; here both joins are spared that and get the sparse
product, so the ratios are those of the assignment. Only the equality of the matrices is asserted.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import shapely
from scipy import sparse

N_SIDE = 3465  # bins a side: 12 million
N_NUCLEI = 100_000
N_GENES = 18_000
MEAN_GENES = 8  # detected a bin
BINS_AT_ONCE = 500_000
WAYS = ("raster", "guide", "join")
ARRAYS = ("data", "indices", "indptr", "centre_um", "row", "column")
# The projective map of a real section's scale and tilt, from array positions to um.
TO_UM = np.array([[0.015, 1.9994, 90.0], [1.9992, -0.014, 140.0], [8e-8, 1.3e-7, 1.0]])


def make_section(folder: Path, n_side: int, n_nuclei: int) -> None:
    rng = np.random.default_rng(0)
    row, column = (a.ravel().astype(np.int32) for a in np.indices((n_side, n_side)))
    mapped = np.column_stack([row, column, np.ones(len(row))]) @ TO_UM.T
    centre_um = mapped[:, :2] / mapped[:, 2:]
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    middle = rng.uniform(centre_um.min(axis=0), centre_um.max(axis=0), (n_nuclei, 2))
    nuclei = shapely.polygons(middle[:, None] + ring * rng.uniform(2.5, 5, (n_nuclei, 1, 2)))
    np.save(folder / "nuclei.npy", np.array(shapely.to_wkb(nuclei), dtype="V"))
    pieces = [
        made_counts(min(BINS_AT_ONCE, len(row) - start), rng)
        for start in range(0, len(row), BINS_AT_ONCE)
    ]
    lengths = np.concatenate([np.diff(piece.indptr) for piece in pieces])
    arrays = {
        "data": np.concatenate([piece.data for piece in pieces]),
        "indices": np.concatenate([piece.indices for piece in pieces]),
        "indptr": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        "centre_um": centre_um,
        "row": row,
        "column": column,
    }
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", arrays[name])


def made_counts(n_bins: int, rng: np.random.Generator) -> sparse.csr_matrix:
    """Few genes make most of the molecules, as in tissue."""
    detected = rng.poisson(MEAN_GENES, n_bins)
    gene = (N_GENES * rng.random(detected.sum()) ** 3).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(detected)]).astype(np.int32)
    counts = sparse.csr_matrix(
        (np.ones(len(gene), dtype=np.int32), gene, indptr), shape=(n_bins, N_GENES)
    )
    counts.sum_duplicates()
    return counts


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def count(way: str, folder: Path) -> None:
    """Load the section, count it one way, save the matrix and what it took."""
    if way == "raster":
        from histoscribe.counting import assign_bins, sum_bins
    else:
        import geopandas as gpd
        import pandas as pd
    nuclei = shapely.from_wkb([bytes(one) for one in np.load(folder / "nuclei.npy")])
    arrays = {name: np.load(folder / f"{name}.npy") for name in ARRAYS}
    counts = sparse.csr_matrix(
        (arrays["data"], arrays["indices"], arrays["indptr"]),
        shape=(len(arrays["row"]), N_GENES),
        copy=False,
    )
    centre_um = arrays["centre_um"]
    loaded_mb = peak_mb()
    start, start_cpu = time.perf_counter(), time.process_time()
    if way == "raster":
        nucleus = assign_bins(nuclei, centre_um, arrays["row"], arrays["column"])
        assigned_s = time.perf_counter() - start
        summed = sum_bins(counts, nucleus, len(nuclei))
    else:
        if way == "guide":
            table = pd.DataFrame({name: arrays[name] for name in ("row", "column")})
            table["x"], table["y"] = centre_um.T
            geometry = [shapely.Point(xy) for xy in zip(table["x"], table["y"], strict=True)]
            points = gpd.GeoDataFrame(table, geometry=geometry)
        else:
            points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(*centre_um.T))
        outlines = gpd.GeoDataFrame({"nucleus": range(len(nuclei))}, geometry=nuclei)
        joined = gpd.sjoin(points, outlines, how="left", predicate="within")
        once = ~joined.index.duplicated(keep=False) & joined["nucleus"].notna()
        kept = joined[once]
        assigned_s = time.perf_counter() - start
        group = kept["nucleus"].to_numpy(int)
        indicator = sparse.csr_matrix(
            (np.ones(len(group), np.int32), (group, np.arange(len(group)))),
            shape=(len(nuclei), len(group)),
        )
        summed = indicator @ counts[kept.index.to_numpy()]
    facts = {
        "seconds": time.perf_counter() - start,
        "cpu_s": time.process_time() - start_cpu,
        "assigned_s": assigned_s,
        "peak": peak_mb(),
        "loaded": loaded_mb,
    }
    sparse.save_npz(folder / f"{way}.npz", summed, compressed=False)
    (folder / f"{way}.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("n_side", "n_nuclei"), [(1000, 8_000), (N_SIDE, N_NUCLEI)], ids=["1M", "12M"]
)
def test_whole_section(tmp_path, n_side, n_nuclei):
    for step in (["make", str(n_side), str(n_nuclei)], *([way] for way in WAYS)):
        subprocess.run([sys.executable, __file__, str(tmp_path), *step], check=True)
    facts = {way: json.loads((tmp_path / f"{way}.json").read_text()) for way in WAYS}
    ours, *theirs = (sparse.load_npz(tmp_path / f"{way}.npz") for way in WAYS)
    assert ours.sum() > 0
    assert all((ours != other).nnz == 0 for other in theirs)
    print(f"\n{n_side**2:,} bins x {N_GENES:,} genes, {n_nuclei:,} nuclei; matrices equal")
    for way, of in facts.items():
        print(
            f"{way:6} {of['seconds']:7.2f} s (assigning {of['assigned_s']:.2f}; processor "
            f"{of['cpu_s']:.2f}), peak {of['peak']:,.0f} MB, above the inputs {above(of):,.0f} MB"
        )
    for way in WAYS[1:]:
        print(
            f"against {way}: {facts[way]['seconds'] / facts['raster']['seconds']:.1f} times faster "
            f"(processor {facts[way]['cpu_s'] / facts['raster']['cpu_s']:.1f}); memory 1 / "
            f"{facts[way]['peak'] / facts['raster']['peak']:.1f} whole, 1 / "
            f"{above(facts[way]) / above(facts['raster']):.1f} above the inputs"
        )


def above(facts: dict) -> float:
    return max(facts["peak"] - facts["loaded"], 1.0)


if __name__ == "__main__":
    folder, step, *sizes = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
    if step == "make":
        make_section(Path(folder), *(int(size) for size in sizes))
    else:
        count(step, Path(folder))
