"""What a perfect predictor would reach: the noise ceiling.

It is the correlation of the expected expression with these counts: the square root of the
Spearman-Brown reliability of two binomial halves of the counts.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from histoscribe.evaluation.scores import pearson
from histoscribe.evaluation.smoothing import Pool
from histoscribe.expression import log_normalise, target_total

MIN_CEILING = 0.05  # below it the counts do not tell a gene from noise
VALUES_AT_ONCE = 8_000_000  # units x genes that stand dense at once
GENES_AT_ONCE = 256


def gene_slices(n_units: int, n_genes: int) -> list[slice]:
    """Parts of the genes so small that memory does not grow with the units."""
    step = int(np.clip(VALUES_AT_ONCE // max(n_units, 1), 1, GENES_AT_ONCE))
    return [slice(start, min(start + step, n_genes)) for start in range(0, n_genes, step)]


@dataclass(frozen=True)
class CountHalf:
    """One half of a split: `counts` (n_units, n_genes) and the totals over all genes, `umi`."""

    counts: sparse.csc_matrix
    umi: np.ndarray


def dense(counts: sparse.csc_matrix) -> np.ndarray:
    """Counts of a part of the genes, (n_units, n_genes) float32."""
    return counts.astype(np.float32).toarray()


def split_counts(
    counts: sparse.csc_matrix, umi: np.ndarray, n_repeats: int, seed: int
) -> list[CountHalf]:
    """One half of each of `n_repeats` splits; the rest of the counts is the other half.

    Each molecule falls into one of two halves by a fair coin. The halves share the places of the
    counts, so that a repeat takes a byte a count.
    """
    rng = np.random.default_rng(seed)
    counts = sparse.csc_matrix(counts)
    rest = np.asarray(umi, dtype=np.int64) - np.asarray(counts.sum(axis=1)).ravel()
    small = np.min_scalar_type(int(counts.data.max(initial=0)))
    halves = []
    for _ in range(n_repeats):
        data = rng.binomial(counts.data.astype(np.int64), 0.5).astype(small)
        half = sparse.csc_matrix((data, counts.indices, counts.indptr), counts.shape)
        scored = np.asarray(half.sum(axis=1, dtype=np.int64)).ravel()
        halves.append(CountHalf(half, scored + rng.binomial(rest, 0.5)))
    return halves


def reachable(agreement: np.ndarray) -> np.ndarray:
    """Correlation of the truth with the whole, given that of two halves of it.

    Spearman-Brown gives the reliability 2r / (1 + r) of the whole, whose square root bounds the
    correlation with it. 0 where the halves do not agree.
    """
    return np.sqrt(np.clip(2 * agreement / (1 + np.clip(agreement, 0, 1)), 0, 1))


def ceiling_of(
    counts: sparse.csc_matrix,
    umi: np.ndarray,
    halves: list[CountHalf],
    total: float,
    pool: Pool | None = None,
) -> np.ndarray:
    """The reachable PCC of each gene, (n_genes,), averaged over `halves`; of pools where given.

    Each half is normalised by its own total and scaled to half of `total`, so that a molecule
    weighs in a half what it weighs in the whole.
    """

    def gathered(values: np.ndarray) -> np.ndarray:
        return values if pool is None else pool.members @ values

    agreement = np.zeros(counts.shape[1])
    all_umi = gathered(umi.astype(np.float64))
    half_umi = [gathered(split.umi.astype(np.float64)) for split in halves]
    for part in gene_slices(*counts.shape):
        whole = gathered(dense(counts[:, part]))
        for split, its_umi in zip(halves, half_umi, strict=True):
            half = gathered(dense(split.counts[:, part]))
            agreement[part] += pearson(
                log_normalise(half, its_umi, total / 2),
                log_normalise(whole - half, all_umi - its_umi, total / 2),
            ) / len(halves)
    return reachable(agreement)


def noise_ceiling(
    counts: sparse.spmatrix,
    umi: np.ndarray,
    target_sum: float | str,
    n_repeats: int,
    seed: int,
    pool: Pool | None = None,
) -> np.ndarray:
    """The reachable PCC of each gene, (n_genes,), by count splitting.

    `counts` (n_units, n_genes) are the scored genes, `umi` (n_units,) the totals over all genes.
    """
    counts = sparse.csc_matrix(counts)
    halves = split_counts(counts, umi, n_repeats, seed)
    return ceiling_of(counts, umi, halves, target_total(umi, target_sum), pool)
