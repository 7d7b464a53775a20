"""Scores of each gene that compare unit with unit, wherever the units lie."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

CONSTANT = 1e-10  # rounding leaves a constant column a spread of about 1e-7 of its size


@dataclass(frozen=True)
class Agreement:
    """What is compared: all arrays (n_units, n_genes); `probability` that a gene is expressed."""

    measured: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray


@dataclass(frozen=True)
class Ranks:
    """Lowest and highest rank from 1 of each value in its column, which differ where values tie."""

    low: np.ndarray  # (n_units, n_genes)
    high: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return (self.low + self.high) / 2


def ranks(values: np.ndarray) -> Ranks:
    """Ranks within columns, from one sort that several scores share."""
    n, n_genes = values.shape
    low, high = (np.empty((n, n_genes), dtype=np.int32, order="F") for _ in range(2))
    for gene in range(n_genes):
        column = np.ascontiguousarray(values[:, gene])
        order = np.argsort(column)
        starts = np.append(True, np.diff(column[order]) != 0)
        run = np.cumsum(starts) - 1
        first = np.flatnonzero(starts)
        last = np.append(first[1:], n)
        low[order, gene] = first[run] + 1
        high[order, gene] = last[run]
    return Ranks(low, high)


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation of matching columns, (n_genes,); 0 where a column is constant."""
    a, b = (np.array(x, dtype=np.float64) for x in (a, b))
    for x in (a, b):
        x -= x.mean(axis=0)
    aa, bb, ab = (np.einsum("ij,ij->j", x, y) for x, y in ((a, a), (b, b), (a, b)))
    spread = np.sqrt(aa * bb)
    constant = spread <= CONSTANT * len(a)
    return np.where(constant, 0.0, ab / np.where(constant, 1.0, spread))


def auroc(score: Ranks, positive: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of matching columns, (n_genes,); NaN where only one class is."""
    n_positive = positive.sum(axis=0).astype(np.float64)
    n_negative = len(positive) - n_positive
    rank_sum = np.einsum("ij,ij->j", score.mean, positive)
    pairs = n_positive * n_negative
    wins = rank_sum - n_positive * (n_positive + 1) / 2
    return np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1.0), np.nan)


def average_precision(score: Ranks, positive: np.ndarray) -> np.ndarray:
    """Area under the precision-recall curve of matching columns, (n_genes,).

    Ties count as one step. A score without information reaches the share of positives; NaN where
    there are none.
    """
    n = len(positive)
    result = np.full(positive.shape[1], np.nan)
    for gene in np.flatnonzero(positive.any(axis=0)):
        low = np.sort(score.low[positive[:, gene], gene])
        hits = len(low) - np.searchsorted(low, low)  # positives that score at least as high
        result[gene] = np.mean(hits / (n - low + 1))
    return result


def score_genes(agreement: Agreement, genes: list[str]) -> pd.DataFrame:
    """Scores of each gene: pcc, spearman, rmse, auroc, auprc, brier, accuracy, fraction_nonzero.

    auprc stands beside fraction_nonzero, which a guess would reach; brier is the mean squared error
    of the probability of being expressed.
    """
    measured, predicted = agreement.measured, agreement.predicted
    probability = agreement.probability
    expressed = measured > 0
    by_probability = ranks(probability)
    return pd.DataFrame(
        {
            "gene": genes,
            "pcc": pearson(measured, predicted),
            "spearman": pearson(ranks(measured).mean, ranks(predicted).mean),
            "rmse": np.sqrt(np.mean((measured - predicted) ** 2, axis=0, dtype=np.float64)),
            "auroc": auroc(by_probability, expressed),
            "auprc": average_precision(by_probability, expressed),
            "brier": np.mean((probability - expressed) ** 2, axis=0, dtype=np.float64),
            "accuracy": np.mean((probability > 0.5) == expressed, axis=0),
            "fraction_nonzero": expressed.mean(axis=0),
        }
    )
