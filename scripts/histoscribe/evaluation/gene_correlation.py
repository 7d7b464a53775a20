"""Whether genes go together in the prediction as they do in the measurement.

Counting noise weakens each measured correlation by the ceilings of its two genes, and unevenly, so
that even the true expected expression does not reach a perfect agreement with it.
"""

from collections.abc import Iterable

import numpy as np
from scipy import sparse

from histoscribe.evaluation.ceiling import CountHalf
from histoscribe.evaluation.scores import CONSTANT, pearson

MIN_CEILING = 0.2  # of genes whose correlations can be told from noise
MIN_GENES = 3


def correlation_matrix(parts: Iterable[np.ndarray | sparse.spmatrix]) -> np.ndarray:
    """Correlations between columns, (n_genes, n_genes), of values given in parts of their rows.

    0 for constant columns.
    """
    n, total, product = 0, 0.0, 0.0
    for part in parts:
        values = part.astype(np.float64)
        n += values.shape[0]
        total = total + np.asarray(values.sum(axis=0)).ravel()
        inner = values.T @ values
        product = product + (inner.toarray() if sparse.issparse(inner) else inner)
    covariance = product / n - np.outer(total / n, total / n)
    variance = np.diag(covariance)
    constant = variance <= CONSTANT
    scale = np.where(constant, 0.0, 1 / np.sqrt(np.where(constant, 1.0, variance)))
    return covariance * np.outer(scale, scale)


def between(counts: sparse.spmatrix, umi: np.ndarray, total: float) -> np.ndarray:
    """Correlations between genes, (n_genes, n_genes), of log1p(count / umi * total)."""
    scaled = sparse.csr_matrix(sparse.diags(total / np.maximum(umi, 1)) @ counts)
    return correlation_matrix([scaled.log1p()])


def pairs(matrix: np.ndarray) -> np.ndarray:
    """One value for each pair of genes."""
    return matrix[np.triu_indices(len(matrix), 1)]


def correlation_kept(measured: np.ndarray, predicted: np.ndarray) -> float:
    """Correlation, over pairs of genes, of two gene-gene correlation matrices."""
    return float(pearson(pairs(measured)[:, None], pairs(predicted)[:, None])[0])


def correlation_reachable(
    counts: sparse.csc_matrix, umi: np.ndarray, half: CountHalf, total: float, ceiling: np.ndarray
) -> float:
    """What the true expected expression would reach in `correlation_kept`.

    The true correlations are those of either half of a split, divided by what noise leaves of them
    in a half; multiplied by `ceiling` (n_genes,) of both genes they are the measured ones but for
    sampling noise, which the two halves do not share, so that covariances between the halves are
    those of the truth. NaN where the halves have nothing in common.
    """
    other = sparse.csc_matrix(counts - half.counts.astype(counts.dtype))
    kept = np.outer(ceiling, ceiling)
    kept_in_half = np.sqrt(np.outer(*2 * [ceiling**2 / (2 - ceiling**2)]))  # Spearman-Brown
    truth = [
        pairs(between(c, u, total / 2) / kept_in_half)
        for c, u in ((half.counts, half.umi), (other, umi - half.umi))
    ]
    shown = [values * pairs(kept) for values in truth]
    covariance = (np.cov(truth[0], shown[1])[0, 1] + np.cov(truth[1], shown[0])[0, 1]) / 2
    spread = np.cov(*truth)[0, 1] * pairs(between(counts, umi, total)).var(ddof=1)
    return float(np.clip(covariance / np.sqrt(spread), 0, 1)) if spread > 0 else np.nan


def trusted_genes(ceiling: np.ndarray) -> np.ndarray:
    """Places of the genes, ascending, whose correlations are compared."""
    return np.flatnonzero(ceiling >= MIN_CEILING)
