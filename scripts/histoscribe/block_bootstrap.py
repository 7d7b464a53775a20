"""Confidence intervals of scores by resampling blocks of the section, not its units.

Units beside each other share tissue and image, so resampling them one by one would make intervals
far too narrow. Square blocks are drawn with replacement, and all scores follow from each block's
sums (Kuensch, Ann Stat 1989, for the principle). What the intervals hold is the chance of which
tissue of this section was looked at; other sections and donors differ by more.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import ndtr, ndtri

INTERVAL = (0.025, 0.975)
MIN_BLOCKS = 4  # fewer say nothing of how much places differ
VALUES_AT_ONCE = 4_000_000  # units x genes of which sums are made: memory does not grow with units
REPLICATE_COLUMNS = ["pcc_mean", "rmse_mean", "fraction_of_ceiling_median"]


@dataclass(frozen=True)
class Replicates:
    """Scores of each gene in each resampled section, (n_replicates, n_genes) each."""

    pcc: np.ndarray
    rmse: np.ndarray


def resample_blocks(
    xy_um: np.ndarray, block_um: float, n_replicates: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Block of each unit, (n_units,), and how often each replicate draws each block.

    The latter is (n_replicates, n_blocks). The same units, block size and seed give the same draws,
    so that replicates of two models can be compared pairwise.
    """
    corner = np.floor(np.asarray(xy_um) / block_um).astype(np.int64)
    _, block = np.unique(corner, axis=0, return_inverse=True)
    block = block.ravel()
    n_blocks = int(block.max(initial=-1)) + 1
    rng = np.random.default_rng(seed)
    return block, rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=n_replicates)


def replicate_scores(
    measured: np.ndarray, predicted: np.ndarray, block: np.ndarray, draws: np.ndarray
) -> Replicates:
    """PCC and RMSE of matching columns, (n_units, n_genes), in every resampled section.

    `block` and `draws` come from `resample_blocks`. A column that is constant in a resampled
    section has a PCC of 0 there.
    """
    n_genes, n_blocks = measured.shape[1], draws.shape[1]
    member = sparse.csr_matrix(
        (np.ones(len(block)), (block, np.arange(len(block)))), shape=(n_blocks, len(block))
    )
    n = (draws @ np.asarray(member.sum(axis=1)))[:, :1]
    pcc, rmse = (np.empty((len(draws), n_genes)) for _ in range(2))
    step = max(VALUES_AT_ONCE // len(block), 1)
    for start in range(0, n_genes, step):
        part = slice(start, start + step)
        a, b = (x[:, part].astype(np.float64) for x in (measured, predicted))
        squared = draws @ (member @ (a - b) ** 2) / n
        # About the whole section's means, so that nothing is lost to rounding.
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        mean_a, mean_b, aa, bb, ab = (draws @ (member @ x) / n for x in (a, b, a * a, b * b, a * b))
        spread = np.maximum(aa - mean_a**2, 0) * np.maximum(bb - mean_b**2, 0)
        constant = spread <= 1e-20
        covariance = ab - mean_a * mean_b
        pcc[:, part] = np.where(constant, 0, covariance / np.sqrt(np.where(constant, 1, spread)))
        rmse[:, part] = np.sqrt(squared)
    return Replicates(pcc, rmse)


def replicate_table(
    replicates: Replicates, ceiling: np.ndarray, reachable: np.ndarray
) -> pd.DataFrame:
    """The section's scores, one row a replicate, columns REPLICATE_COLUMNS.

    `ceiling` (n_genes,) is taken as known; `reachable` (n_genes,) marks the genes whose share of it
    counts.
    """
    share = replicates.pcc[:, reachable] / ceiling[reachable]
    median = np.median(share, axis=1) if reachable.any() else np.full(len(share), np.nan)
    return pd.DataFrame(
        {
            "pcc_mean": replicates.pcc.mean(axis=1),
            "rmse_mean": replicates.rmse.mean(axis=1),
            "fraction_of_ceiling_median": median,
        }
    )


def interval(values: np.ndarray, estimate: np.ndarray | float) -> np.ndarray:
    """Lower and upper end of the 95 % interval from replicates (n_replicates, ...), (2, ...).

    Bias-corrected percentiles (Efron, JASA 1987): a resampled section holds fewer different places
    than the section, so its correlations lie lower than the `estimate` (...) of the section itself.
    """
    ordered = np.sort(values, axis=0)
    n = len(ordered)
    below = (values < estimate).mean(axis=0) + 0.5 * (values == estimate).mean(axis=0)
    bias = ndtri(np.clip(below, 0.5 / n, 1 - 0.5 / n))
    ends = []
    for probability in INTERVAL:
        at = ndtr(2 * bias + ndtri(probability)) * (n - 1)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, n - 1)
        lower, upper = (np.take_along_axis(ordered, i[None], axis=0)[0] for i in (low, high))
        ends.append(lower + (at - low) * (upper - lower))
    return np.stack(ends)


def compare(
    replicates: dict[str, pd.DataFrame], pcc_mean: dict[str, float], against: str
) -> pd.DataFrame:
    """How much each experiment's mean PCC differs from that of `against` in one section.

    One row an experiment: experiment, against, pcc_difference, low, high; the interval is of the
    pairwise differences, much narrower than the two intervals themselves suggest.
    """
    rows = []
    for name, table in replicates.items():
        if name != against:
            differences = table["pcc_mean"] - replicates[against]["pcc_mean"]
            difference = pcc_mean[name] - pcc_mean[against]
            low, high = interval(differences.to_numpy(), difference)
            rows.append(
                {"experiment": name, "against": against, "pcc_difference": difference,
                 "low": low, "high": high}
            )  # fmt: skip
    return pd.DataFrame(rows, columns=["experiment", "against", "pcc_difference", "low", "high"])
