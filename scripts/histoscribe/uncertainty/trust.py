"""A grade of each gene, A to D, from how well it was predicted in units that were never seen.

| grade | the gene's PCC                                                                  |
|-------|---------------------------------------------------------------------------------|
| A     | at least 0.7 of its noise ceiling, its 95 % interval at most 0.3 of it wide       |
| B     | at least 0.5 of the ceiling, the interval at most 0.6 of it wide                  |
| C     | above 0, and the error below that of the training mean                           |
| D     | not shown to beat the mean: the interval reaches 0, or skill is 0 or less        |

A ceiling below 0.05 can't be told from none, so nothing is above C there.
"""

import numpy as np

GRADES = "ABCD"
# Grade: least share of the ceiling, largest width of the interval as a share of the ceiling.
LIMITS = {"A": (0.7, 0.3), "B": (0.5, 0.6)}
MIN_CEILING = 0.05


def trust_grade(
    pcc: np.ndarray,
    pcc_low: np.ndarray,
    pcc_high: np.ndarray,
    ceiling: np.ndarray,
    skill: np.ndarray,
) -> np.ndarray:
    """Grades of genes, (n_genes,) of one letter; what is NaN was not shown.

    `skill` is the share of the training mean's squared error that is gone.
    """
    beats_mean = (pcc_low > 0) & (skill > 0)
    reachable = beats_mean & (ceiling >= MIN_CEILING)
    known = np.where(reachable, ceiling, 1.0)
    share, width = pcc / known, (pcc_high - pcc_low) / known
    grade = np.where(beats_mean, "C", "D")
    for letter in ("B", "A"):
        least, widest = LIMITS[letter]
        grade[reachable & (share >= least) & (width <= widest)] = letter
    return grade
