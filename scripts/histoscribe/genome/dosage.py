"""How expression follows the number of copies: genes in altered segments beside all others."""

from dataclasses import dataclass

import numpy as np

from histoscribe.genome.contrast import Contrast

LEAST_SPREAD = 1e-6  # of log2 copies
ALTERED_FROM = 0.1  # log2 copies: what a few odd cells among others make is none


@dataclass(frozen=True)
class Dosage:
    """`slope` of log2 expression on log2 copies, its 95 % interval, and `n_genes` altered."""

    slope: float
    low: float
    high: float
    n_genes: int


def dosage(of: Contrast, log2_copies: np.ndarray) -> Dosage:
    """Weighted least squares of ratios on the log2 ratio of copies (n_genes,), with an intercept.

    1 where expression is proportional to copies, 0 where it does not follow them; NaN without
    altered genes. The intercept takes up that shares sum to one.
    """
    n_altered = int((np.abs(log2_copies) >= ALTERED_FROM).sum())
    if not n_altered:
        return Dosage(np.nan, np.nan, np.nan, 0)
    x = log2_copies - np.average(log2_copies, weights=of.weight)
    spread = float((of.weight * x**2).sum())
    if spread <= LEAST_SPREAD:
        return Dosage(np.nan, np.nan, np.nan, n_altered)
    y = of.log2_ratio - np.average(of.log2_ratio, weights=of.weight)
    slope = float((of.weight * x * y).sum() / spread)
    # Robust to weights that are not the variances (White, Econometrica 1980).
    off = y - slope * x
    error = float(np.sqrt((of.weight**2 * x**2 * off**2).sum()) / spread)
    return Dosage(slope, slope - 1.96 * error, slope + 1.96 * error, n_altered)
