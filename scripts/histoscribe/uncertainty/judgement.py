"""Did the intervals hold, and what grade does a gene deserve, on a section that was measured?"""

import anndata as ad
import numpy as np
import pandas as pd

from histoscribe.uncertainty.conformal import coverage_of, intervals_of
from histoscribe.uncertainty.trust import trust_grade

JUDGED = ("coverage", "coverage_randomised", "interval_width", "skill")


def judge_genes(
    predicted: ad.AnnData, columns: np.ndarray, levels: np.ndarray, measured: np.ndarray, seed: int
) -> pd.DataFrame:
    """JUDGED of some genes, one row each; NaN where the model was not calibrated.

    `columns` (n_genes,) are their places in `predicted`, whose var and varm hold the calibration;
    `levels` and `measured` (n_units, n_genes) their predicted and measured values.
    `coverage_randomised` is the one that should be nominal (see `conformal`); `skill` is the share
    of the squared error of the training mean that is gone.
    """
    found = pd.DataFrame(np.nan, index=range(len(columns)), columns=list(JUDGED))
    arrays = {name: np.asarray(values)[columns] for name, values in predicted.varm.items()}
    intervals = intervals_of(arrays)
    if intervals is not None:
        coverage = coverage_of(intervals, levels, measured, seed)
        found["coverage"], found["coverage_randomised"] = coverage.plain, coverage.randomised
        found["interval_width"] = coverage.width
    if "training_mean" in predicted.var:
        mean = predicted.var["training_mean"].to_numpy(dtype=np.float32)[columns]
        error, of_mean = (
            np.mean((measured - other) ** 2, axis=0, dtype=np.float64) for other in (levels, mean)
        )
        found["skill"] = 1 - error / np.where(of_mean > 0, of_mean, np.nan)
    return found


def grades(scores: pd.DataFrame) -> np.ndarray:
    """The grade of each gene in a table with pcc, its interval, ceiling and skill.

    None for all where no skill is known: the model is of before there were grades.
    """
    if scores["skill"].isna().all():
        return np.full(len(scores), None)
    columns = ("pcc", "pcc_low", "pcc_high", "ceiling", "skill")
    return trust_grade(*(scores[column].to_numpy() for column in columns))
