"""The ablation figure: how well each experiment predicts, gene by gene (Wen et al. 2025, 5B)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histoscribe.figures.panels import fitted
from histoscribe.figures.style import FULL_WIDTH, MM

CEILING = "noise ceiling"
NAMES_MM, NAME_PT = 36.0, 6.5  # room and type of an experiment's name
TITLE_MM, TITLE_PT = 44.0, 7.5
SCORES = {"pcc": "PCC per gene", "rmse": "RMSE per gene (log1p)"}


def ablation_table(scores: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """What the figure shows: the quartiles, whiskers and mean of each score over genes.

    `scores` has one row an experiment, sample and gene, with columns pcc, rmse and ceiling;
    `summary` (summary.tsv) the interval of the mean PCC. One row an experiment, sample and score
    comes out; the ceiling is a row of its own.
    """
    ends = summary.set_index(["sample", "experiment"])[["pcc_mean_low", "pcc_mean_high"]]
    ends = ends[~ends.index.duplicated()].T.to_dict("list")
    first = scores["experiment"] == scores["experiment"].iloc[0]
    ceiling = scores[first].assign(experiment=CEILING, pcc=lambda s: s["ceiling"], rmse=np.nan)
    both = pd.concat([ceiling, scores], ignore_index=True)
    rows = []
    for (sample, experiment), genes in both.groupby(["sample", "experiment"], sort=False):
        for score in SCORES:
            values = genes[score].dropna()
            if len(values):
                mean_ends = ends.get((sample, experiment)) if score == "pcc" else None
                low, q1, median, q3, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
                rows.append(
                    {
                        "sample": sample,
                        "experiment": experiment,
                        "score": score,
                        "n_genes": len(values),
                        "p5": low,
                        "q1": q1,
                        "median": median,
                        "q3": q3,
                        "p95": high,
                        "mean": values.mean(),
                        "mean_low": mean_ends[0] if mean_ends else np.nan,
                        "mean_high": mean_ends[1] if mean_ends else np.nan,
                    }
                )
    return pd.DataFrame(rows)


def draw_ablation(table: pd.DataFrame, colours: dict[str, str]) -> Figure:
    """One row a section, one column a score; boxes over genes, the mean as a diamond and number,
    with the interval of the mean PCC beside it.

    `colours` maps experiments (and the ceiling) to their colour.
    """
    samples = list(dict.fromkeys(table["sample"]))
    names = list(dict.fromkeys(table["experiment"]))
    height = (9 + 5.2 * len(names)) * MM * len(samples) + 8 * MM
    figure, axes = plt.subplots(
        len(samples), len(SCORES), figsize=(FULL_WIDTH, height), sharey=True, squeeze=False
    )
    for row, sample in zip(axes, samples, strict=True):
        for panel, (score, label) in zip(row, SCORES.items(), strict=True):
            shown = table[(table["sample"] == sample) & (table["score"] == score)]
            _draw_boxes(panel, shown.set_index("experiment"), names, colours)
            panel.set_xlabel(label)
        n_genes = int(table.loc[table["sample"] == sample, "n_genes"].max())
        title, size = fitted(f"{sample}, {n_genes:,} genes", TITLE_MM, TITLE_PT)
        row[0].set_title(title, loc="left", fontweight="bold", fontsize=size)
    return figure


def _draw_boxes(axes: Axes, shown: pd.DataFrame, names: list[str], colours: dict[str, str]) -> None:
    for y, name in enumerate(names):
        if name not in shown.index:
            continue
        box, colour = shown.loc[name], colours[name]
        axes.hlines(y, box["p5"], box["p95"], color=colour, linewidth=0.8)
        axes.barh(
            y,
            box["q3"] - box["q1"],
            left=box["q1"],
            height=0.56,
            facecolor=colour,
            alpha=0.35,
            edgecolor="none",
        )
        axes.vlines(box["median"], y - 0.28, y + 0.28, color=colour, linewidth=1.4)
        axes.plot(
            box["mean"], y, "D", color="white", markeredgecolor=colour, markersize=3.4, zorder=3
        )
        axes.annotate(
            _mean_in_words(box),
            (1.01, y),
            xycoords=("axes fraction", "data"),
            va="center",
            ha="left",
            fontsize=6.5,
            color=colour,
        )
    labels, sizes = zip(*(fitted(name, NAMES_MM, NAME_PT) for name in names), strict=True)
    axes.set_yticks(range(len(names)), labels, fontsize=min(sizes))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.use_sticky_edges = False
    axes.margins(x=0.04)
    axes.grid(axis="x", linewidth=0.4, color="0.9")
    axes.set_axisbelow(True)
    has_intervals = np.isfinite(shown["mean_low"]).any()
    axes.annotate(
        "mean, 95 % interval" if has_intervals else "mean",
        (1.01, -0.62),
        xycoords=("axes fraction", "data"),
        fontsize=6,
        color="0.4",
    )


def _mean_in_words(box: pd.Series) -> str:
    words = f"{box['mean']:.3f}"
    if box["mean_low"] < box["mean_high"]:
        words += f"  {box['mean_low']:.3f} to {box['mean_high']:.3f}"
    return words
