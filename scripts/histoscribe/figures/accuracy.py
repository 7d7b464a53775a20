"""PCC and RMSE of the genes by section and tissue, with what limits them (Wen et al. 2025, 5A)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import gaussian_kde

from histoscribe.figures.ablation import CEILING, SCORES, ablation_table
from histoscribe.figures.panels import WIDTH_MM, Page

N_GRID = 200
NAMES_MM, GAP_MM, RIGHT_MM = 34.0, 8.0, 10.0
TOP_MM, BELOW_MM, LEGEND_MM = 1.5, 9.0, 8.5
ROW_MM, LEAST_ROW_MM, PAGE_MM = 11.0, 5.0, 240.0
GROUP_SHARE = 0.55  # of a row, for the name of a group
MARKERS = "oD^vsPXp*h"
VIOLIN = 0.62  # height of the violin above a row's line, in rows
BELOW_LINE = 0.2  # where the baselines' marks lie


def accuracy_table(
    scores: pd.DataFrame, summary: pd.DataFrame, groups: dict[str, str | None]
) -> pd.DataFrame:
    """The rows of `ablation_table` with the group of each section, sections of a group together.

    `scores` has one row an experiment, section (`sample`) and gene; the first experiment is the one
    whose genes are drawn. `groups` by section, None where the sheet gives none.
    """
    table = ablation_table(scores, summary)
    table.insert(1, "group", table["sample"].map(groups))
    places = {group: i for i, group in enumerate(dict.fromkeys(groups.values()))}
    return table.sort_values("group", key=lambda g: g.map(places), kind="stable", ignore_index=True)


def density_table(scores: pd.DataFrame) -> pd.DataFrame:
    """The outlines of the violins: density over genes of the first experiment, at most 1.

    Columns sample, score, value, density. Fewer than three genes, or equal ones, have no outline.
    """
    first = scores[scores["experiment"] == scores["experiment"].iloc[0]]
    frames = []
    for sample, genes in first.groupby("sample", sort=False):
        for score in SCORES:
            values = genes[score].dropna().to_numpy()
            if len(values) < 3 or np.ptp(values) < 1e-9:
                continue
            grid = np.linspace(values.min(), values.max(), N_GRID)
            density = gaussian_kde(values)(grid)
            frames.append(
                pd.DataFrame(
                    {
                        "sample": sample, "score": score,
                        "value": grid, "density": density / density.max(),
                    }
                )
            )  # fmt: skip
    columns = ["sample", "score", "value", "density"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def draw_accuracy(
    table: pd.DataFrame, density: pd.DataFrame, colour: str, baseline_colour: str
) -> Figure:
    """A row a section, a column a score: the genes of the first experiment as half a violin.

    White: their quartiles and median. Below the line the means of the baselines, black the mean
    noise ceiling. `table` of `accuracy_table`, `density` of `density_table`.
    """
    shown = next(name for name in dict.fromkeys(table["experiment"]) if name != CEILING)
    others = [n for n in dict.fromkeys(table["experiment"]) if n not in (CEILING, shown)]
    markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(others)}
    rows, heads, n_rows = _places(table)
    n_genes = table.loc[table["experiment"] == shown].groupby("sample")["n_genes"].max()
    row_mm = np.clip((PAGE_MM - TOP_MM - BELOW_MM - LEGEND_MM) / n_rows, LEAST_ROW_MM, ROW_MM)
    tall = n_rows * row_mm
    page = Page(TOP_MM + tall + BELOW_MM + LEGEND_MM)
    wide = (WIDTH_MM - NAMES_MM - GAP_MM - RIGHT_MM) / len(SCORES)
    for column, (score, label) in enumerate(SCORES.items()):
        left = NAMES_MM + column * (wide + GAP_MM)
        axes = page.panel(left, TOP_MM, wide, tall)
        for sample, y in rows.items():
            part = table[(table["sample"] == sample) & (table["score"] == score)]
            outline = density[(density["sample"] == sample) & (density["score"] == score)]
            _draw_row(axes, y, part.set_index("experiment"), outline, shown, colour)
            for name in others:
                mean = part.loc[part["experiment"] == name, "mean"]
                axes.plot(
                    mean, [y + BELOW_LINE] * len(mean), markers[name], color="none",
                    markeredgecolor=baseline_colour, markeredgewidth=0.7, markersize=3.2,
                )  # fmt: skip
        axes.set_ylim(n_rows, 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", linewidth=0.4, color="0.9")
        axes.set_axisbelow(True)
        axes.margins(x=0.03)
        axes.set_xlabel(label)
    for sample, y in rows.items():
        at = TOP_MM + y * row_mm
        page.write(
            0, at - 1.6, sample, NAMES_MM - 2, fontsize=7, va="center",
        )  # fmt: skip
        page.write(0, at + 1.6, f"{n_genes[sample]:,} genes", fontsize=6, va="center", color="0.4")
    for group, y in heads.items():
        at = TOP_MM + y * row_mm
        page.write(0, at, group, WIDTH_MM, fontsize=7.5, va="center", fontweight="bold")
    _draw_legend(page, shown, colour, markers, baseline_colour)
    return page.figure


def _places(table: pd.DataFrame) -> tuple[dict[str, float], dict[str, float], float]:
    """The line of each section, and of each group's name, from the top; and their number."""
    rows, heads, y, last = {}, {}, 0.0, None
    for sample, group in table[["sample", "group"]].drop_duplicates().itertuples(index=False):
        if pd.notna(group) and group != last:
            heads[group] = y + GROUP_SHARE / 2
            y += GROUP_SHARE
        last = group
        rows[sample] = y + VIOLIN + 0.06
        y += 1
    return rows, heads, y


def _draw_row(
    axes: Axes, y: float, rows: pd.DataFrame, outline: pd.DataFrame, shown: str, colour: str
) -> None:
    axes.axhline(y, color="0.8", linewidth=0.5, zorder=0.5)
    if len(outline):
        top = y - VIOLIN * outline["density"]
        axes.fill_between(outline["value"], y, top, color=colour, alpha=0.35, linewidth=0)
        axes.plot(outline["value"], top, color=colour, linewidth=0.7)
    if shown in rows.index:
        box = rows.loc[shown]
        axes.hlines(y, box["p5"], box["p95"], color=colour, linewidth=0.8)
        axes.hlines(y, box["q1"], box["q3"], color=colour, linewidth=3)
        axes.plot(box["median"], y, "o", color="white", markersize=2, zorder=4)
        axes.vlines(box["mean"], y - VIOLIN, y, color=colour, linewidth=1.2)
        axes.annotate(
            f"{box['mean']:.3f}", (1.01, y - 0.2), xycoords=("axes fraction", "data"),
            fontsize=6.5, color=colour, va="center",
        )  # fmt: skip
    if CEILING in rows.index:
        axes.vlines(rows.loc[CEILING, "mean"], y - VIOLIN, y + 0.1, color="black", linewidth=0.9)


def _draw_legend(
    page: Page, shown: str, colour: str, markers: dict[str, str], baseline_colour: str
) -> None:
    handles = [
        Patch(facecolor=colour, alpha=0.35, label=f"genes of {shown[:40]}"),
        Line2D([], [], color=colour, marker="o", markerfacecolor="white", markeredgewidth=0,
               markersize=2.5, linewidth=3, label="median, quartiles, 5 to 95 %"),
        Line2D([], [], color=colour, marker="|", linestyle="none", label="mean (number)"),
        Line2D([], [], color="black", marker="|", linestyle="none", label="mean noise ceiling"),
        *(
            Line2D([], [], marker=marker, linestyle="none", color="none",
                   markeredgecolor=baseline_colour, markeredgewidth=0.7, markersize=3.2,
                   label=name)
            for name, marker in markers.items()
        ),
    ]  # fmt: skip
    page.figure.legend(
        handles=handles, loc="lower left", ncols=6, fontsize=6, bbox_to_anchor=(0, 0),
        handlelength=1.4, columnspacing=1.2, borderpad=0, labelspacing=0.4,
    )  # fmt: skip
