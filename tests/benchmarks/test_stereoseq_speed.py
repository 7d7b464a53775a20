"""Summing Stereo-seq's rows to bins of 10 um: rows a second, and the peak of memory.

Rows are made piece by piece, or read from a GEM of plain text, in a process of its own that says
its peak resident memory (`ru_maxrss`). On `small`, an area of 1 mm with few genes, nearly all pairs
of bin and gene are seen early, so more rows must take no more memory; on `chip`, 1 cm with 20,000
genes, pairs grow with the rows. Seconds are printed, not asserted.
"""

import json
import subprocess
import sys

import pytest

CHILD = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
import pyarrow as pa
from pyarrow import csv
from histoscribe.readers.dnb_counts import DnbCounts, count_matrix, sum_bins
from histoscribe.readers.gem import Gem

kind, n_rows, n_dnbs, n_genes, folder = sys.argv[1], *map(int, sys.argv[2:5]), Path(sys.argv[5])
AT_ONCE = 1_000_000

def made():
    rng = np.random.default_rng(0)
    for _ in range(0, n_rows, AT_ONCE):
        gene = (n_genes * rng.random(AT_ONCE) ** 3).astype(np.int32)
        x, y = rng.integers(0, n_dnbs, (2, AT_ONCE), dtype=np.int32)
        yield DnbCounts(gene, x, y, np.ones(AT_ONCE, np.int32))

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

path = folder / "made.gem"
if kind == "write":
    names = pa.array([f"GENE{i}" for i in range(n_genes)])
    columns = ("geneID", "x", "y", "MIDCount")
    options = csv.WriteOptions(include_header=False, delimiter="\\t", quoting_style="none")
    with path.open("wb") as file:
        file.write(("\\t".join(columns) + "\\n").encode())
        for rows in made():
            values = names.take(pa.array(rows.gene)), rows.x, rows.y, rows.count
            table = pa.table(dict(zip(columns, values, strict=True)))
            csv.write_csv(table, file, options)
    sys.exit()
loaded_mb = peak_mb()
start = time.perf_counter()
bins, counts = count_matrix(sum_bins(Gem(path).pieces() if kind == "gem" else made(), 20), n_genes)
seconds = time.perf_counter() - start
facts = {"s": seconds, "peak_mb": peak_mb(), "loaded_mb": loaded_mb}
print(json.dumps(facts | {"pairs": int(counts.nnz), "sum": int(counts.sum())}))
"""
SMALL, CHIP = (2_000, 100), (20_000, 20_000)  # DNBs along an edge, genes


def child(kind, n_rows, area, folder):
    return subprocess.run(
        [sys.executable, "-c", CHILD, kind, str(n_rows), *map(str, area), str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "scripts", "OMP_NUM_THREADS": "1"},
    ).stdout


def summed(kind, n_rows, area, folder):
    facts = json.loads(child(kind, n_rows, area, folder))
    assert facts["sum"] == n_rows
    print(
        f"\n{kind}: {n_rows / 1e6:g} M rows to {facts['pairs'] / 1e6:.2f} M pairs: "
        f"{n_rows / facts['s'] / 1e6:.2f} M rows/s, peak {facts['peak_mb']:.0f} MB "
        f"({facts['loaded_mb']:.0f} MB before)"
    )
    return facts


@pytest.fixture(autouse=True)
def in_repository(monkeypatch, repository):
    monkeypatch.chdir(repository)


def test_memory_does_not_grow_with_rows_of_known_pairs(tmp_path):
    few, many = (summed("pieces", n, SMALL, tmp_path) for n in (10_000_000, 30_000_000))
    assert many["pairs"] < 1.1 * few["pairs"]
    assert many["peak_mb"] < 1.1 * few["peak_mb"]


@pytest.mark.parametrize("n_rows", [10_000_000, 100_000_000], ids=["10M", "100M"])
def test_a_chip(tmp_path, n_rows):
    summed("pieces", n_rows, CHIP, tmp_path)


@pytest.mark.parametrize("n_rows", [10_000_000, 100_000_000], ids=["10M", "100M"])
def test_a_chip_as_text(tmp_path, n_rows):
    child("write", n_rows, CHIP, tmp_path)
    summed("gem", n_rows, CHIP, tmp_path)
