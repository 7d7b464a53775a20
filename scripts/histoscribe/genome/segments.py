"""Stretches of the genome whose genes shift together, and which of them are gains and losses."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from histoscribe.genome.contrast import Contrast

GAIN, LOSS = "gain", "loss"
BESIDE_REFERENCE, BESIDE_OTHERS = "normal cells", "other clones"
ELSEWHERE = "elsewhere"  # of genes outside altered segments
LEAST_Z = 3.0
LEAST_HELD_OUT_Z = 2.0
ALL_BUT = 0.95  # of shuffled genomes
SEGMENT_COLUMNS = [
    "chromosome", "start", "end", "n_genes", "log2_ratio", "standard_error", "held_out_log2_ratio",
    "call",
]  # fmt: skip


@dataclass(frozen=True)
class SegmentSettings:
    """`least_genes` of a segment, and the `least_log2` ratio, either way, that is called.

    `n_shuffles` genomes of genes dealt out anew say how far segments go astray by chance.
    """

    least_genes: int = 8
    least_log2: float = 0.15
    n_shuffles: int = 60


def find_segments(
    found: Contrast,
    held_out: Contrast,
    places: pd.DataFrame,
    settings: SegmentSettings,
    seed: int,
) -> pd.DataFrame:
    """A row a segment: SEGMENT_COLUMNS; `call` is gain, loss or empty.

    Both contrasts are of the same genes (n_genes,), in the order of `places`. Segments are cut by
    `found`. Called are those further off than the furthest of 95 % of shuffled genomes, either way
    for itself (marker genes of normal cells look like losses), and that are there in `held_out`,
    of other molecules, too. Ratios are beside the median gene: that of the usual number of copies
    where less than half of the genome is altered.
    """
    by_chromosome = list(places.groupby("chromosome", sort=False).indices.values())
    pieces = cut_genome(found, by_chromosome, settings.least_genes)
    astray = _astray(found, by_chromosome, settings, seed)
    rows = []
    for piece in pieces:
        (ratio, off), (held, held_error) = mean_of(found, piece), mean_of(held_out, piece)
        name = GAIN if ratio > 0 else LOSS
        is_far = abs(ratio) >= max(settings.least_log2, max(LEAST_Z, astray[name]) * off)
        is_there = held * np.sign(ratio) >= LEAST_HELD_OUT_Z * held_error
        of = places.iloc[piece]
        ends = of["chromosome"].iloc[0], int(of["start"].min()), int(of["end"].max())
        call = name if is_far and is_there else ""
        rows.append((*ends, len(piece), ratio, off, held, call))
    return pd.DataFrame(rows, columns=SEGMENT_COLUMNS)


def _astray(
    found: Contrast, by_chromosome: list[np.ndarray], settings: SegmentSettings, seed: int
) -> dict[str, float]:
    """How many standard errors the furthest gain and loss of a shuffled genome are off, at 95 %."""
    rng = np.random.default_rng(seed)
    furthest = []
    for _ in range(settings.n_shuffles):
        order = rng.permutation(len(found.weight))
        dealt = found.at(order)
        pieces = cut_genome(dealt, by_chromosome, settings.least_genes)
        z = [mean / error for mean, error in (mean_of(dealt, piece) for piece in pieces)]
        furthest.append((max(z), -min(z)))
    gain, loss = np.quantile(furthest, ALL_BUT, axis=0)
    return {GAIN: float(gain), LOSS: float(loss)}


def cut_genome(of: Contrast, by_chromosome: list[np.ndarray], least: int) -> list[np.ndarray]:
    """The genes of each segment, chromosome by chromosome."""
    return [
        index[first:stop]
        for index in by_chromosome
        for first, stop in cut(of.log2_ratio[index], of.weight[index], least)
    ]


def mean_of(of: Contrast, genes: np.ndarray) -> tuple[float, float]:
    """The weighted mean log2 ratio of `genes`, and its standard error."""
    weight = of.weight[genes]
    return float(np.average(of.log2_ratio[genes], weights=weight)), float(weight.sum() ** -0.5)


def cut(values: np.ndarray, weight: np.ndarray, least: int) -> list[tuple[int, int]]:
    """First and stop of the segments of one chromosome, each of `least` values or more.

    The cheapest cutting by squares off the segments' weighted means and a price for each cut of
    2 ln n: `weight` is 1 over the variance (Jackson et al., IEEE Signal Process Lett 2005).
    """
    n = len(values)
    if n < 2 * least:
        return [(0, n)] if n else []
    price = 2 * np.log(n)
    sums = [np.concatenate([[0], np.cumsum(weight * values**k)]) for k in (0, 1, 2)]
    best = np.full(n + 1, np.inf)
    best[0] = -price
    back = np.zeros(n + 1, dtype=np.int64)
    for stop in range(least, n + 1):
        first = np.arange(stop - least + 1)
        w, s, q = (total[stop] - total[first] for total in sums)
        cost = best[first] + q - s**2 / w + price
        back[stop] = int(np.argmin(cost))
        best[stop] = cost[back[stop]]
    pieces, stop = [], n
    while stop:
        pieces.append((int(back[stop]), stop))
        stop = int(back[stop])
    return pieces[::-1]
