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


def _designs(told: np.ndarray, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Columns of `told` (n, k) of learnt and of tested rows, in units of what is learnt from."""
    design = told[part.learnt]
    centre, spread = design.mean(axis=0), design.std(axis=0)
    spread = np.where(spread > LEAST_SPREAD, spread, np.inf)
    return (design - centre) / spread, (told[part.tested] - centre) / spread


def _weights(within: np.ndarray, across: np.ndarray, n_learnt: int) -> np.ndarray:
    """Of ridge regression, (k, p), from products of the design with itself and with values."""
    return np.linalg.solve(within + PENALTY * n_learnt * np.eye(len(within)), across)


def predicted_values(told: np.ndarray, values: np.ndarray, parts: list[Part]) -> np.ndarray:
    """Ridge prediction of each column of `values` (n, p) from columns of `told` (n, k), unseen.

    (n, p), NaN for rows that no part tests.
    """
    predicted = np.full(values.shape, np.nan)
    for part in parts:
        design, tested = _designs(told, part)
        target = values[part.learnt]
        mean = target.mean(axis=0)
        weights = _weights(design.T @ design, design.T @ (target - mean), len(design))
        predicted[part.tested] = mean + tested @ weights
    return predicted


@dataclass(frozen=True)
class Target:
    """Columns that are to be told, `values` (n, p), and what they are by the mean alone.

    Values are finite and about 0, such as normal scores: far from it, digits are lost.

    Attributes:
        values, parts: as given. usual: (n_parts, p) means of what is learnt from.
        spread: (p,) summed squares of all tested rows beside these.
    """

    values: np.ndarray
    parts: list[Part]
    usual: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, parts: list[Part]) -> "Target":
        if not np.isfinite(values).all():
            raise ValueError("values that are to be told must be finite")
        usual = np.array([values[part.learnt].mean(axis=0) for part in parts])
        spread = np.zeros(values.shape[1])
        for part, mean in zip(parts, usual, strict=True):
            spread += ((values[part.tested] - mean) ** 2).sum(axis=0)
        return cls(values, parts, usual, spread)


def predictive_information(
    told: np.ndarray, target: Target, widths: tuple[int, ...] = ()
) -> np.ndarray:
    """What `told` (n, k) says of each column of the `target`, in nats, (p,).

    It is -1/2 ln(1 - R2), R2 being the share of variance that is predicted out of fold, beside
    the mean of what was learnt from: the mutual information of Gaussians, and less than that of
    others. It may lie below 0, where predictions are worse than the mean; constant columns have 0.
    Of several `widths` (the first so many columns) the one that says most, column by column: few
    units bear few columns. Predictions themselves are not made: products of the designs with the
    values, in one pass, say how far off they are.
    """
    if not np.isfinite(told).all():
        raise ValueError("what values are told from must be finite")
    n_told, n_units = told.shape[1], len(told)
    widths, n_parts = widths or (n_told,), len(target.parts)
    designs = [_designs(told, part) for part in target.parts]
    spread_out = np.zeros((2, n_parts, n_told, n_units))  # learnt rows, tested rows
    for number, (part, (design, tested)) in enumerate(zip(target.parts, designs, strict=True)):
        spread_out[0, number][:, part.learnt] = design.T
        spread_out[1, number][:, part.tested] = tested.T
    products = spread_out.reshape(-1, n_units) @ target.values
    across, seen = products.reshape(2, n_parts, n_told, -1)
    off = np.tile(target.spread, (len(widths), 1))
    for number, (design, tested) in enumerate(designs):
        within, within_tested = design.T @ design, tested.T @ tested
        beside_usual = seen[number] - np.outer(tested.sum(axis=0), target.usual[number])
        for place, k in enumerate(widths):
            weights = _weights(within[:k, :k], across[number][:k], len(design))
            off[place] += (weights * (within_tested[:k, :k] @ weights - 2 * beside_usual[:k])).sum(
                axis=0
            )
    is_constant = target.spread <= LEAST_SPREAD * n_units
    left = np.where(is_constant, 1.0, off / np.where(is_constant, 1.0, target.spread))
    return -0.5 * np.log(np.maximum(left.min(axis=0), 1 - MAX_SHARE))
