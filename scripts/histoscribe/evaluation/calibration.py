"""Whether genes are expressed as often as the predicted probabilities say."""

from itertools import pairwise

import numpy as np
import pandas as pd

N_BINS = 20  # most genes of sparse counts are seldom expressed: a tenth would be one bin


def probability_sums(probability: np.ndarray, expressed: np.ndarray) -> np.ndarray:
    """(3, N_BINS): how many values (of any shape) lie in each bin, their sum, how many are true.

    Sums of parts of the genes add up.
    """
    value = np.asarray(probability, dtype=np.float64).ravel()
    place = np.clip((value * N_BINS).astype(np.int64), 0, N_BINS - 1)
    return np.stack(
        [np.bincount(place, weights=w, minlength=N_BINS) for w in (None, value, expressed.ravel())]
    )


def reliability_table(sums: np.ndarray) -> pd.DataFrame:
    """The reliability curve from `probability_sums`: a row a bin that holds anything, and `all`.

    `mean_probability` beside `share_expressed`, and `calibration_error`, how far they differ; in
    the last row, over all bins, that is the expected calibration error: the mean over all values.
    """
    edges = np.linspace(0, 1, N_BINS + 1)
    names = [f"{low:.2f}-{high:.2f}" for low, high in pairwise(edges)]
    full = sums[0] > 0
    n, total, expressed = sums[:, full]
    table = pd.DataFrame(
        {
            "bin": np.array(names)[full],
            "n": n.astype(np.int64),
            "mean_probability": total / n,
            "share_expressed": expressed / n,
            "calibration_error": np.abs(total - expressed) / n,
        }
    )
    error = np.abs(total - expressed).sum() / n.sum()
    table.loc[len(table)] = [
        "all",
        int(n.sum()),
        total.sum() / n.sum(),
        expressed.sum() / n.sum(),
        error,
    ]
    return table
