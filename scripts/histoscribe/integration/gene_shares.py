"""Which genes' molecules a factor stands for, given where it is: estimated from counts at the end.

Gradient steps that fit factors move a loading by a few natural logarithms at most, so that genes
are ranked rightly but differ too little from each other to be read as shares.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

N_ROUNDS = 20
PRIOR_MOLECULES = 1000.0  # of the mean profile, that each factor has before any is counted
COUNTS_AT_ONCE = 100_000
LEAST = 1e-12


@dataclass(frozen=True)
class Counted:
    """A section's `counts` (n_units, n_genes), 0 where a gene is not measured; `proportions`
    (n_units, n_factors); `log_offset` (n_genes,) of the section, NaN where not measured."""

    counts: sparse.csr_matrix
    proportions: np.ndarray
    log_offset: np.ndarray


def refit_shares(start: np.ndarray, sections: list[Counted]) -> np.ndarray:
    """Shares of genes in each factor, (n_factors, n_genes), rows sum to 1.

    The Poisson model of INSPIRE (Zhao et al., Nat Genet 2026, Methods) with proportions and offsets
    held: expectation maximisation from `start` (n_factors, n_genes), 20 rounds, which are the
    multiplicative updates of Lee & Seung (Nature 1999). A gamma prior worth 1,000 molecules of the
    mean profile keeps factors of few molecules near it.
    """
    shares = start.astype(np.float64)
    use = np.mean(np.vstack([section.proportions.mean(axis=0) for section in sections]), axis=0)
    common = np.isfinite([section.log_offset for section in sections]).all(axis=0)
    common = common if common.any() else np.ones(len(common), dtype=bool)
    possible = sum(_possible(section, common) for section in sections)
    for _ in range(N_ROUNDS):
        found = sum(_assigned(section, shares) for section in sections)
        usual = PRIOR_MOLECULES * (use @ shares) / use.sum()
        shares = (shares * found + usual) / (possible + PRIOR_MOLECULES)
    return shares / shares.sum(axis=1, keepdims=True)


def _possible(section: Counted, common: np.ndarray) -> np.ndarray:
    """Molecules of a gene that a factor would have, if they were all of that gene.

    A unit's are counted over genes that are `common` to all sections, (n_genes,) bool.
    """
    total = section.counts @ common.astype(np.float64)
    offset = np.nan_to_num(np.exp(section.log_offset), nan=0.0)
    return np.outer(section.proportions.T @ total, offset)


def _assigned(section: Counted, shares: np.ndarray) -> np.ndarray:
    """Counts over what is expected of them, summed over units by proportion, as `shares`."""
    counts, weights = section.counts, section.proportions
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    ratio = np.empty(counts.nnz)
    by_gene = np.ascontiguousarray(shares.T)
    for start in range(0, counts.nnz, COUNTS_AT_ONCE):
        here = slice(start, start + COUNTS_AT_ONCE)
        expected = np.einsum("ij,ij->i", weights[row[here]], by_gene[counts.indices[here]])
        ratio[here] = counts.data[here] / np.maximum(expected, LEAST)
    return (sparse.csr_matrix((ratio, counts.indices, counts.indptr), counts.shape).T @ weights).T
