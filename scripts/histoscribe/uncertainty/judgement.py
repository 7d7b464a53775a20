"""Did the intervals hold, and what grade does a gene deserve, on a section that was measured?"""

import anndata as ad
import numpy as np
import pandas as pd

from histoscribe.uncertainty.conformal import coverage_of
from histoscribe.uncertainty.prediction import intervals_in
from histoscribe.uncertainty.trust import trust_grade


def judged(
    scores: pd.DataFrame, predicted: ad.AnnData, shared: np.ndarray, measured: np.ndarray, seed: int
) -> pd.DataFrame:
    """The gene table with coverage, coverage_randomised, interval_width and trust.

    `scores` holds pcc, pcc_low, pcc_high, ceiling and rmse of the genes of `predicted` that are
    `shared` (bool), `measured` (n_units, n_genes) their values. NaN where the model was not
    calibrated. `coverage_randomised` is the one that should be nominal (see `conformal`).
    """
    scores = scores.assign(coverage=np.nan, coverage_randomised=np.nan, interval_width=np.nan)
    intervals = intervals_in(predicted, shared)
    if intervals is not None:
        found = coverage_of(intervals, np.asarray(predicted.X)[:, shared], measured, seed)
        scores["coverage"], scores["coverage_randomised"] = found.plain, found.randomised
        scores["interval_width"] = found.width
    scores["trust"] = None
    if "training_mean" in predicted.var:
        mean = predicted.var["training_mean"].to_numpy()[shared]
        of_mean = np.mean((measured - mean) ** 2, axis=0, dtype=np.float64)
        skill = 1 - scores["rmse"].to_numpy() ** 2 / np.where(of_mean > 0, of_mean, np.nan)
        columns = (scores[c].to_numpy() for c in ("pcc", "pcc_low", "pcc_high", "ceiling"))
        scores["trust"] = trust_grade(*columns, skill)
    return scores
