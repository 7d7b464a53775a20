"""Genes by how far and how surely carriers of a genotype differ from others."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from histoscribe.figures.copy_profile import calls
from histoscribe.figures.panels import LEAST_PT, width_of
from histoscribe.genome.segments import ELSEWHERE, GAIN, LOSS

N_NAMED = 14
NAME_PT = LEAST_PT + 0.5
NAME_MM = 2.1  # height of a name
DOT_MM = 1.1
MARGIN_MM = 6.0  # right of the panel, that names may reach into
USUAL_REACH = 0.98  # of genes whose fold change the axis holds, and of all that count
COLOURS = {GAIN: "#D55E00", LOSS: "#0072B2", ELSEWHERE: "#000000"}
MARKS = {GAIN: "^", LOSS: "v", ELSEWHERE: "o"}
FAINT = "0.78"


def senses(genes: pd.DataFrame) -> np.ndarray:
    """Whether each gene, (n_genes,) text, lies in a gain, a loss or elsewhere.

    By the call in the name of an inferred segment, else by the log2 ratio of copies.
    """
    segment = genes["segment"].fillna(ELSEWHERE).astype(str)
    inside = segment != ELSEWHERE
    call = calls(genes["log2_copies"].fillna(0).to_numpy(dtype=float))
    is_gain = inside & (segment.str.endswith(f" {GAIN}") | (call == GAIN))
    is_loss = inside & (segment.str.endswith(f" {LOSS}") | (call == LOSS))
    return np.select([is_gain, is_loss], [GAIN, LOSS], ELSEWHERE)


def draw_volcano(
    axes: Axes, genes: pd.DataFrame, q_below: float, width_mm: float, height_mm: float
) -> list[str]:
    """Points of all genes, those below the q value dark, and the names of the surest ones.

    `genes` of one genotype, with a finite p. Fold changes beyond the axis are drawn at its end.
    Returns the names that found room.
    """
    sense = senses(genes)
    sure = (genes["q"] < q_below).to_numpy()
    fold = genes["log2_fold_change"].to_numpy(dtype=float)
    reach = float(np.quantile(np.abs(fold), USUAL_REACH))
    reach = 1.1 * max(reach, float(np.abs(fold[sure]).max(initial=0)), 0.5)
    x = np.clip(fold, -reach, reach)
    y = -np.log10(genes["p"].to_numpy(dtype=float))
    axes.set_xlim(-reach * 1.02, reach * 1.02)
    axes.set_ylim(0, 1.12 * max(float(y.max()), 1.5))
    for name in (ELSEWHERE, LOSS, GAIN):
        for is_sure in (False, True):
            own = (sense == name) & (sure == is_sure)
            axes.scatter(
                x[own], y[own], s=10 if is_sure else 5, marker=MARKS[name], linewidths=0,
                c=COLOURS[name] if is_sure else FAINT, zorder=2 + is_sure, clip_on=False,
            )  # fmt: skip
    axes.axvline(0, color="0.85", linewidth=0.6, zorder=0)
    axes.set_xlabel("log2 fold change, carriers to matched others", fontsize=6.5)
    axes.set_ylabel("−log10 p", fontsize=6.5)
    axes.tick_params(labelsize=6)
    top = np.flatnonzero(sure)
    top = top[np.argsort(-y[top] - 1e-6 * np.abs(x[top]), kind="stable")][:N_NAMED]
    scale = np.array([width_mm / np.ptp(axes.get_xlim()), height_mm / axes.get_ylim()[1]])
    at_mm = np.column_stack([x - axes.get_xlim()[0], y]) * scale
    named = genes["gene"].to_numpy()[top]
    places = named_places(at_mm, top, list(named), width_mm, height_mm, sure)
    for gene, place in places.items():
        axes.text(
            *(place / (width_mm, height_mm)), gene, transform=axes.transAxes, fontsize=NAME_PT,
            fontstyle="italic", va="bottom", ha="left", parse_math=False, zorder=5,
        )  # fmt: skip
    return list(places)


def named_places(
    at_mm: np.ndarray,
    points: np.ndarray,
    names: list[str],
    width_mm: float,
    height_mm: float,
    avoided: np.ndarray,
) -> dict[str, np.ndarray]:
    """Lower left corner in mm of each name that finds room beside its point, the first ones first.

    `at_mm` (n, 2) of all points, of which `points` are named; names cover neither each other nor
    points that are `avoided` (n,), and stay in a panel of `width_mm` x `height_mm` and its margin.
    """
    taken = [(x - DOT_MM / 2, y - DOT_MM / 2, x + DOT_MM / 2, y + DOT_MM / 2)
             for x, y in at_mm[avoided]]  # fmt: skip
    found = {}
    for name, point in zip(names, points, strict=True):
        x, y = at_mm[point]
        wide, gap = width_of(name, NAME_PT), 0.9
        for left, low in (
            (x + gap, y - NAME_MM / 2), (x - gap - wide, y - NAME_MM / 2),
            (x - wide / 2, y + gap), (x - wide / 2, y - gap - NAME_MM),
            (x - gap, y + gap), (x - gap, y - gap - NAME_MM),
            (x + gap - wide, y + gap), (x + gap - wide, y - gap - NAME_MM),
        ):  # fmt: skip
            box = left, low, left + wide, low + NAME_MM
            is_wide = left >= 0 and box[2] <= width_mm + MARGIN_MM
            is_inside = is_wide and low >= 0 and box[3] <= height_mm
            if is_inside and not any(_meet(box, other) for other in taken):
                taken.append(box)
                found[name] = np.array([left, low])
                break
    return found


def _meet(one: tuple, other: tuple) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
