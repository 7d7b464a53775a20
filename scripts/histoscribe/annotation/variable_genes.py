"""Which genes vary more than counting noise, in counts as sparse as those of small bins."""

import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.filtering import MITOCHONDRIAL_PREFIXES

UNITS_AT_ONCE = 10_000
OVERDISPERSION = 100.0  # theta of the negative binomial; Lause et al. 2021


def residual_variance(counts: sparse.csr_matrix, umi: np.ndarray) -> np.ndarray:
    """Variance of each gene's Pearson residuals, (n_genes,); about 1 for noise alone.

    `counts` (n_units, n_genes); `umi` (n_units,) totals. A gene's expected count is its share of
    all molecules times a unit's total; residuals are clipped at the square root of n_units. Zeros
    are summed over units of equal totals, so nothing dense is made.
    Source: Lause, Berens and Kobak, Genome Biol 2021, doi 10.1186/s13059-021-02451-7.
    """
    n_units, n_genes = counts.shape
    counts = _without_stored_zeros(counts)
    share = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel() / max(float(umi.sum()), 1.0)
    squares, residuals = np.zeros(n_genes), np.zeros(n_genes)
    for start in range(0, n_units, UNITS_AT_ONCE):
        entries = counts[start : start + UNITS_AT_ONCE].tocoo()
        expected = umi[start : start + UNITS_AT_ONCE][entries.row] * share[entries.col]
        variance = expected + expected**2 / OVERDISPERSION
        residual = np.minimum((entries.data - expected) / np.sqrt(variance), np.sqrt(n_units))
        # What a unit would add to the sum if it held no molecule of the gene.
        as_zero = expected**2 / variance
        gain = residual**2 - as_zero
        squares += np.bincount(entries.col, weights=gain, minlength=n_genes)
        gain = residual + np.sqrt(as_zero)
        residuals += np.bincount(entries.col, weights=gain, minlength=n_genes)
    for total, times in zip(*np.unique(umi, return_counts=True), strict=True):
        empty = total * share / (1 + total * share / OVERDISPERSION)
        squares += times * empty
        residuals -= times * np.sqrt(empty)
    return squares / n_units - (residuals / n_units) ** 2


def most_variable(
    counts: sparse.csr_matrix, umi: np.ndarray, names: np.ndarray, n_genes: int, min_share: float
) -> np.ndarray:
    """Positions of the `n_genes` most variable genes, in the order of the data.

    Genes found in less than `min_share` of the units and mitochondrial genes are passed over: by
    chance alone, a few molecules in poor units make large residuals.
    """
    counts = _without_stored_zeros(counts)
    variance = residual_variance(counts, umi)
    found = np.bincount(counts.indices, minlength=counts.shape[1]) / max(counts.shape[0], 1)
    mitochondrial = pd.Index(names).str.startswith(MITOCHONDRIAL_PREFIXES)
    variance[(found < min_share) | mitochondrial] = -np.inf
    ranked = np.argsort(-variance, kind="stable")[:n_genes]
    return np.sort(ranked[np.isfinite(variance[ranked])])


def _without_stored_zeros(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    if counts.data.all():
        return counts
    counts = counts.copy()
    counts.eliminate_zeros()
    return counts
