"""Genes of some units beside those of others: do neighbours on the genome shift alike?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.genome.nuisance import without

LN2 = np.log(2)
CLIPPED_AT = 2.5  # robust standard deviations: a marker gene is no copy
LEAST_CLIP = 1.0  # log2: so much is left of every gene, since a copy more is 0.58
SHUFFLES_AT_ONCE = 2e7  # values


@dataclass(frozen=True)
class Contrast:
    """Log2 ratio of each gene, (n_genes,) in order along the genome, and its `weight`.

    Ratios are of shares of all molecules, less their weighted median, clipped where single genes
    stand out. Weights are 1 over the variance: that of the counts, and of genes among each other.
    """

    log2_ratio: np.ndarray
    weight: np.ndarray

    def at(self, genes: np.ndarray) -> "Contrast":
        """Of some of the genes."""
        return Contrast(self.log2_ratio[genes], self.weight[genes])


def contrast(
    one: np.ndarray,
    other: np.ndarray,
    known: np.ndarray | None = None,
    alike: np.ndarray | None = None,
) -> Contrast:
    """Contrast of summed counts of `one` side and the `other`, (n_genes,) each.

    What linearly follows from `known` traits of genes (n_genes, k) is taken out of the ratios.
    Genes are clipped about the median gene, or about that of those `alike` (n_genes,), text: genes
    of a segment of eight copies stand out together.
    """
    ratio = np.log2((one + 0.5) / (one.sum() + 1)) - np.log2((other + 0.5) / (other.sum() + 1))
    counted = (1 / (one + 0.5) + 1 / (other + 0.5)) / LN2**2
    # Neighbours share their copies, so that their difference is of the genes themselves.
    steps = np.diff(ratio)
    own = (1.4826 * np.median(np.abs(steps))) ** 2 / 2 if len(steps) else 0.0
    among = max(own - float(np.median(counted)), 0.0)
    weight = 1 / (among + counted)
    reach = np.maximum(CLIPPED_AT * np.sqrt(1 / weight), LEAST_CLIP)
    ratio -= weighted_median(ratio, weight)
    usual = np.zeros(len(ratio))
    for name in [] if alike is None else np.unique(alike):
        own = alike == name
        usual[own] = weighted_median(ratio[own], weight[own])
    centred = np.clip(ratio, usual - reach, usual + reach)
    if known is not None:
        left = without(centred, weight, known)
        centred = np.clip(left - weighted_median(left, weight), usual - reach, usual + reach)
    return Contrast(centred, weight)


def summed(counts: sparse.csr_matrix, of: np.ndarray) -> np.ndarray:
    """Counts of a mask of units (n_units,), summed, (n_genes,)."""
    return np.asarray(counts[of].sum(axis=0)).ravel()


def weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
    """The value that half of the weight lies below."""
    order = np.argsort(values)
    below = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])


def window_matrix(places: pd.DataFrame, windows: pd.DataFrame, step: int) -> sparse.csr_matrix:
    """Which genes each window averages, (n_windows, n_genes), as `profile.window_places` does."""
    first_of = {name: int(rows[0]) for name, rows in places.groupby("chromosome").indices.items()}
    place = windows.groupby("chromosome", sort=False).cumcount().to_numpy() * step
    first = windows["chromosome"].map(first_of).to_numpy() + place
    size = windows["n_genes"].to_numpy()
    columns = np.concatenate([np.arange(f, f + n) for f, n in zip(first, size, strict=True)])
    rows = np.repeat(np.arange(len(windows)), size)
    return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), (len(windows), len(places)))


def alignment(
    of: Sequence[Contrast], windows: sparse.csr_matrix, n_shuffles: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """How far genes shift with their neighbours on the genome, and how often chance reaches it.

    Both are (n_contrasts,). Of each contrast the sum over `windows` (n_windows, n_genes) of squared
    weighted means over their variance, in standard deviations above the mean of genes dealt out
    anew over the places: programs of expression shift genes all over the genome, a change of copies
    shifts neighbours. p is the share of these shuffles in which the largest of all contrasts
    reaches it, and so fair to the best of several (Westfall and Young 1993, single step).
    """
    pull = [one.weight * one.log2_ratio for one in of]
    n_genes = len(pull[0])
    found = np.array([_statistic(p, one.weight, windows) for p, one in zip(pull, of, strict=True)])
    rng = np.random.default_rng(seed)
    at_once = max(int(SHUFFLES_AT_ONCE // n_genes), 1)
    shuffled = np.zeros((len(of), n_shuffles))
    for start in range(0, n_shuffles, at_once):
        stop = min(start + at_once, n_shuffles)
        order = np.argsort(rng.random((n_genes, stop - start)), axis=0)
        for number, one in enumerate(of):
            drawn = _statistic(pull[number][order], one.weight[order], windows)
            shuffled[number, start:stop] = drawn
    # The genome as it is is scaled among the shuffled ones: left out, it would lie too far off.
    drawn = np.column_stack([found, shuffled])
    usual, spread = drawn.mean(axis=1, keepdims=True), drawn.std(axis=1, keepdims=True)
    spread[spread <= 1e-9 * usual] = np.inf  # a single window is the same in any order
    far = (drawn - usual) / spread
    reached = (far[:, 1:].max(axis=0) >= far[:, :1]).sum(axis=1)
    return far[:, 0], (1 + reached) / (1 + n_shuffles)


def _statistic(pull: np.ndarray, weight: np.ndarray, windows: sparse.csr_matrix) -> np.ndarray:
    return ((windows @ pull) ** 2 / (windows @ weight)).sum(axis=0)
