"""What shifts neighbouring genes alike without any change of copies.

Genes lie in stretches of like composition: where genes are many they are short, rich in GC and
strongly expressed, and how well such RNA is kept and captured differs from unit to unit. Some
neighbours are one family that is switched on together.
"""

import fnmatch

import numpy as np
import pandas as pd

REACH_BP = 1_000_000  # to either side, within which genes are counted
DENSITY = "density"


def with_density(places: pd.DataFrame, positions: pd.DataFrame) -> pd.DataFrame:
    """`places` (n_genes; chromosome, start, end) with `density`: genes within 1 Mb to either side.

    Counted among all genes of `positions` (chromosome, start, end); NaN without a place.
    """
    middle = ((places["start"] + places["end"]) / 2).to_numpy(dtype=np.float64)
    density = np.full(len(places), np.nan)
    every = (positions["start"] + positions["end"]) / 2
    for chromosome, rows in places.groupby("chromosome").indices.items():
        known = np.sort(every[positions["chromosome"] == chromosome].to_numpy(dtype=np.float64))
        ends = (np.searchsorted(known, middle[rows] + shift) for shift in (-REACH_BP, REACH_BP))
        low, high = ends
        density[rows] = high - low
    return places.assign(**{DENSITY: density})


def traits(places: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    """Density, length and level of genes, and their squares, (n_genes, 6), each of mean 0.

    `places` has start, end and density, `counts` (n_genes,) molecules in all. By rank, since only
    what is more and what is less matters.
    """
    length = places["end"] - places["start"]
    table = pd.DataFrame({"density": places[DENSITY], "length": length, "level": counts})
    rank = (table.rank() - 0.5) / len(table) - 0.5
    both = pd.concat([rank, rank**2], axis=1).to_numpy(dtype=np.float64)
    return both - both.mean(axis=0)


def without(values: np.ndarray, weight: np.ndarray, known: np.ndarray) -> np.ndarray:
    """`values` (n,) less what weighted least squares tell of them from `known` (n, k)."""
    root = np.sqrt(weight)[:, None]
    design = np.column_stack([np.ones(len(values)), known])
    effect, *_ = np.linalg.lstsq(design * root, values * root[:, 0], rcond=None)
    return values - known @ effect[1:]


def in_a_family(genes: pd.Index, patterns: list[str]) -> np.ndarray:
    """Which genes (n_genes,) have names like one of `patterns`, as HLA-*."""
    return np.array(
        [any(fnmatch.fnmatchcase(gene, pattern) for pattern in patterns) for gene in genes],
        dtype=bool,
    )
