"""What is left of the agreement once something that is easy to predict is taken out of it.

Much of a correlation can come from telling cell types apart, or from units that hold more molecules
than others; and a correlation forgives a wrong scale, which counts do not.
"""

import numpy as np
from scipy import sparse
from scipy.special import xlogy

from histoscribe.evaluation.scores import CONSTANT, pearson

# A rate of 0 makes a single molecule infinitely unlikely. Linear models predict rates below 0.
MIN_RATE = 0.01  # of the gene's constant rate


def pcc_within(measured: np.ndarray, predicted: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """PCC of matching columns, (n_genes,), of the deviations from the means of each kind of unit.

    `kind` (n_units,) holds whole numbers from 0. 0 where a column has no deviation left.
    """
    n = len(kind)
    member = sparse.csr_matrix((np.ones(n), (kind, np.arange(n))))
    size = np.maximum(np.asarray(member.sum(axis=1)), 1)
    return pearson(*(x - (member @ x / size)[kind] for x in (measured, predicted)))


def pcc_beyond(measured: np.ndarray, predicted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Partial correlation of matching columns, (n_genes,), given `known` (n_units,).

    What is linear in `known` is taken out of both; 0 where nothing is left of either.
    """
    centred = known - known.mean(dtype=np.float64)
    weight = (centred @ centred) or 1.0

    def left(values: np.ndarray) -> np.ndarray:
        values = values - values.mean(axis=0, dtype=np.float64)
        remainder = values - np.outer(centred, centred @ values / weight)
        # Rounding must not be correlated where `known` explains everything.
        spent = (remainder**2).sum(axis=0) <= CONSTANT * (values**2).sum(axis=0)
        return np.where(spent, 0.0, remainder)

    return pearson(left(measured), left(predicted))


def deviance_explained(
    counts: np.ndarray, predicted: np.ndarray, umi: np.ndarray, total: float
) -> np.ndarray:
    """Share of each gene's Poisson deviance that the prediction explains, (n_genes,).

    `counts` and `predicted` (n_units, n_genes); `predicted` is log1p of the expression scaled to
    `total`, so that a unit of `umi` molecules is expected to hold expm1(predicted) * umi / total of
    the gene, and at least MIN_RATE times what a constant share of the molecules would give it.
    1 - deviance / deviance of that constant share, which is the section's own: 0 for a prediction
    that says as much, negative for a worse one, such as one of the right pattern and the wrong
    scale. NaN where there is no count.
    """
    counts = counts.astype(np.float64)
    molecules = counts.sum(axis=0)
    weight = np.asarray(umi, dtype=np.float64)[:, None]
    constant = weight * (molecules / max(weight.sum(), 1.0))
    rate = np.maximum(
        np.expm1(predicted.astype(np.float64)) * (weight / total), MIN_RATE * constant
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        null, ours = (
            2 * (xlogy(counts, counts / mu) - counts + mu).sum(axis=0, where=mu > 0)
            for mu in (constant, rate)
        )
        return np.where((molecules > 0) & (null > 0), 1 - ours / null, np.nan)
