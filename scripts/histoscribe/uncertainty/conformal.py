"""Intervals of the measured value, by split-conformal calibration on units of held-out blocks.

Units are grouped by the predicted level, gene by gene, and each group is calibrated on its own
(Mondrian conformal prediction: Vovk, Gammerman and Shafer 2005, section 4.5), because the spread of
counts grows with their level. Within a group a unit's score is what it measured minus what was
predicted; the interval is the prediction plus two order statistics of the scores, cut at 0.

Most values of sparse data are 0, an atom that no interval can take half of. Where at least
`miscoverage / 2` of a group are zeros, zeros score minus infinity (they lie below every other
value), the interval starts at 0 and the whole miscoverage lies above it: with two equal tails,
the lower one could not be missed and coverage would be too high. Where more than `1 - miscoverage`
are zeros, the interval is {0} and covers more than nominal, as any set with 0 in it does. Only a
coin could lower that: with `keep` as the chance that a zero counts as covered (the smoothed p-value
of Vovk, Gammerman and Shafer, section 2.2), coverage is nominal. The coin has no use in a
prediction; it tells whether intervals are calibrated where plain coverage can't.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

MAX_GROUPS = 10
# A 90 % interval from so many units covers 88 to 92 % in a standard error.
MIN_GROUP = 200


@dataclass(frozen=True)
class Intervals:
    """Intervals of each gene by groups of the predicted level.

    `edges` (n_genes, MAX_GROUPS - 1) part the groups, those not needed are infinite; `low` and
    `high` (n_genes, MAX_GROUPS) are added to the prediction, minus infinity means 0; `keep`
    (n_genes, MAX_GROUPS) is the chance that a zero on the edge counts as covered.
    """

    edges: np.ndarray
    low: np.ndarray
    high: np.ndarray
    keep: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by the names that `intervals_of` looks for."""
        return {f"interval_{f.name}": getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class Coverage:
    """Of each gene, (n_genes,): share of units inside, the same with the coin, and mean width."""

    plain: np.ndarray
    randomised: np.ndarray
    width: np.ndarray


def intervals_of(arrays: dict[str, np.ndarray]) -> Intervals | None:
    """The intervals among named arrays; None where there are none."""
    names = [f.name for f in fields(Intervals)]
    if any(f"interval_{name}" not in arrays for name in names):
        return None
    return Intervals(*(np.asarray(arrays[f"interval_{name}"]) for name in names))


def fit_intervals(
    predicted: np.ndarray, measured: np.ndarray, fit_of: np.ndarray, miscoverage: float
) -> Intervals:
    """Calibrate on (n_units, n_genes) that the predicting fits have not seen.

    `fit_of` (n_units,) tells the fits apart: where a gene's prediction only differs between them
    (the training mean), it says nothing of the level and all units are one group.
    """
    n_genes = predicted.shape[1]
    edges = np.full((n_genes, MAX_GROUPS - 1), np.inf, dtype=np.float32)
    low = np.empty((n_genes, MAX_GROUPS), dtype=np.float32)
    high, keep = np.empty_like(low), np.empty_like(low)
    varies = np.zeros(n_genes, dtype=bool)
    for fit in np.unique(fit_of):
        varies |= np.ptp(predicted[fit_of == fit], axis=0) > 0
    for gene in range(n_genes):
        order = np.argsort(predicted[:, gene], kind="stable")
        level, value = predicted[order, gene], measured[order, gene]
        starts = _group_starts(level) if varies[gene] else np.zeros(1, dtype=np.int64)
        edges[gene, : len(starts) - 1] = level[starts[1:]]
        for group, part in enumerate(np.split(np.arange(len(level)), starts[1:])):
            ends = _ends(level[part], value[part], miscoverage)
            low[gene, group:], high[gene, group:], keep[gene, group:] = ends
    return Intervals(edges, low, high, keep)


def _group_starts(level: np.ndarray) -> np.ndarray:
    """First positions of groups of like size in sorted levels; equal levels stay together."""
    n = len(level)
    n_groups = int(np.clip(n // MIN_GROUP, 1, MAX_GROUPS))
    starts = [0]
    for cut in np.arange(1, n_groups) * n // n_groups:
        first = int(np.searchsorted(level, level[cut]))
        if first - starts[-1] >= MIN_GROUP and n - first >= MIN_GROUP:
            starts.append(first)
    return np.array(starts)


def _ends(level: np.ndarray, value: np.ndarray, miscoverage: float) -> tuple[float, float, float]:
    """What one group adds to a prediction, below and above, and the chance of its zeros."""
    n, zero = len(value), value <= 0
    score = value - level
    one_sided = zero.mean() >= miscoverage / 2
    if one_sided:
        score[zero] = -np.inf
    score.sort()
    above = miscoverage if one_sided else miscoverage / 2
    low_rank = 0 if one_sided else int(np.floor(above * (n + 1)))
    high_rank = int(np.ceil((1 - above) * (n + 1)))
    low = score[low_rank - 1] if low_rank else -np.inf
    # Too few units to exclude any value: no bound.
    high = score[high_rank - 1] if high_rank <= n else np.inf
    keep = 1.0
    if high == -np.inf:
        n_zero = int(zero.sum())
        keep = 1 - (miscoverage * (n + 1) - (n - n_zero)) / (n_zero + 1)
    return low, high, float(np.clip(keep, 0, 1))


def interval_ends(intervals: Intervals, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of (n_units, n_genes) predictions, float32, at least 0."""
    lower, upper = (np.empty(predicted.shape, dtype=np.float32) for _ in range(2))
    for gene, (low, high, _) in enumerate(_genes(intervals, predicted)):
        lower[:, gene], upper[:, gene] = low, high
    return lower, upper


def coverage_of(
    intervals: Intervals, predicted: np.ndarray, measured: np.ndarray, seed: int
) -> Coverage:
    """How many of the measured values, (n_units, n_genes), lie in the intervals.

    The coin that decides on zeros is drawn from `seed`, unit by unit.
    """
    plain, randomised, width = (np.empty(predicted.shape[1]) for _ in range(3))
    coin = np.random.default_rng(seed).random(len(predicted), dtype=np.float32)
    for gene, (low, high, keep) in enumerate(_genes(intervals, predicted)):
        value = measured[:, gene]
        inside = (value >= low) & (value <= high)
        plain[gene] = inside.mean()
        randomised[gene] = (inside & ((value > 0) | (coin < keep))).mean()
        width[gene] = (high - low).mean()
    return Coverage(plain, randomised, width)


def _genes(
    intervals: Intervals, predicted: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Lower and upper ends and the chance of zeros of each gene in turn, (n_units,) each."""
    for gene in range(predicted.shape[1]):
        level = predicted[:, gene]
        group = np.searchsorted(intervals.edges[gene], level, side="right")
        low, high = (
            np.maximum(level + ends[gene][group], 0) for ends in (intervals.low, intervals.high)
        )
        yield low, high, intervals.keep[gene][group]
