"""How much of values is told by others where neither was seen: predictive information in nats."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from histoscribe.splits import block_folds, outside_buffer

PENALTY = 0.1  # of ridge regression for each unit, on columns of variance 1
LEAST_SPREAD = 1e-9
N_BLOCKS = 36  # about so many, where their edge is not given
LEAST_BLOCK = 1.5  # of the buffer
MAX_SHARE = 1 - 1e-9  # of variance, so that information stays finite


@dataclass(frozen=True)
class Part:
    """Rows that are predicted, `tested`, and those that they are predicted from, `learnt`."""

    learnt: np.ndarray
    tested: np.ndarray


def usual_block_um(xy_um: np.ndarray, buffer_um: float) -> float:
    """Edge of blocks such that units at `xy_um` (n_units, 2) are in about 36, in um."""
    edge = np.sqrt(np.ptp(xy_um, axis=0).prod() / N_BLOCKS)
    return max(float(edge), LEAST_BLOCK * buffer_um)


def blocked_parts(
    xy_um: np.ndarray, block_um: float, buffer_um: float, n_folds: int, seed: int
) -> list[Part]:
    """Units dealt out in square blocks; none within `buffer_um` of the tested ones is learnt from.

    Folds in which nothing is tested or learnt from are left out.
    """
    section = np.zeros(len(xy_um), dtype=np.int64)
    fold = block_folds(xy_um, section, block_um, n_folds, seed)
    parts = []
    for number in range(n_folds):
        tested = fold == number
        learnt = outside_buffer(xy_um, section, tested, buffer_um)
        if tested.any() and learnt.any():
            parts.append(Part(np.flatnonzero(learnt), np.flatnonzero(tested)))
    return parts


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Columns by rank, as quantiles of a normal distribution (n, p); ties share theirs."""
    rank = rankdata(values, axis=0)
    return ndtri((rank - 0.5) / len(values))


def predicted_values(
    told: np.ndarray, values: np.ndarray, parts: list[Part], widths: tuple[int, ...] = ()
) -> np.ndarray:
    """Ridge prediction of each column of `values` from columns of `told`, by parts unseen.

    `told` (n, k) and `values` (n, p). From the first columns alone, so many as each of `widths`
    says, or from all; (n_widths, n, p), NaN for rows that no part tests.
    """
    widths = widths or (told.shape[1],)
    predicted = np.full((len(widths), *values.shape), np.nan)
    for part in parts:
        design, target = told[part.learnt], values[part.learnt]
        centre, spread = design.mean(axis=0), design.std(axis=0)
        spread = np.where(spread > LEAST_SPREAD, spread, np.inf)
        design, tested = (design - centre) / spread, (told[part.tested] - centre) / spread
        mean = target.mean(axis=0)
        within = design.T @ design + PENALTY * len(design) * np.eye(design.shape[1])
        across = design.T @ (target - mean)
        for place, k in enumerate(widths):
            weight = np.linalg.solve(within[:k, :k], across[:k])
            predicted[place, part.tested] = mean + tested[:, :k] @ weight
    return predicted


def predictive_information(
    told: np.ndarray, values: np.ndarray, parts: list[Part], widths: tuple[int, ...] = ()
) -> np.ndarray:
    """What `told` (n, k) says of each column of `values` (n, p), in nats, (p,).

    It is -1/2 ln(1 - R2), R2 being the share of variance that is predicted out of fold, beside
    the mean of what was learnt from: the mutual information of Gaussians, and less than that of
    others. It may lie below 0, where predictions are worse than the mean; constant columns have 0.
    Of several `widths` (predicted_values) the one that says most, column by column: few units
    bear few columns.
    """
    usual = np.full(values.shape, np.nan)
    for part in parts:
        usual[part.tested] = values[part.learnt].mean(axis=0)
    predicted = predicted_values(told, values, parts, widths)
    return np.max([information_of(values, p, usual) for p in predicted], axis=0)


def information_of(values: np.ndarray, predicted: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Information in nats (p,) of predictions beside `usual` ones, (n, p) each; NaN rows apart."""
    off = np.nansum((values - predicted) ** 2, axis=0)
    spread = np.nansum((values - usual) ** 2, axis=0)
    is_constant = spread <= LEAST_SPREAD * len(values)
    left = np.where(is_constant, 1.0, off / np.where(is_constant, 1.0, spread))
    return -0.5 * np.log(np.maximum(left, 1 - MAX_SHARE))
