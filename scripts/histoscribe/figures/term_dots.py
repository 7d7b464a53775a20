"""The terms that clusters are richest in, as dots."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from histoscribe.figures.style import FULL_WIDTH, MM

LABEL_CHARACTERS = 62
LARGEST_DOT = 60  # points squared
STRONGEST = 20  # -log10 of the adjusted p at which colours end


def top_terms(enriched: pd.DataFrame, n_terms: int, adjusted_p_below: float) -> pd.DataFrame:
    """The `n_terms` best terms of each group, and what the other groups have of these.

    `enriched` of enrich_terms. Only rows below `adjusted_p_below` remain; `rank` orders the terms
    by the group that they are best in. Column `share`: of the group's genes, those in the term.
    """
    significant = enriched[enriched["adjusted_p"] < adjusted_p_below]
    best = significant.sort_values("p", kind="stable").groupby("group", sort=False).head(n_terms)
    in_order = [
        term
        for group in enriched["group"].unique()
        for term in best.loc[best["group"] == group, "term"]
    ]
    rank = {term: i for i, term in enumerate(dict.fromkeys(in_order))}
    shown = significant[significant["term"].isin(rank)]
    return shown.assign(
        rank=shown["term"].map(rank), share=shown["n_overlap"] / shown["n_group"]
    ).sort_values(["rank", "adjusted_p"], ignore_index=True)


def draw_terms(table: pd.DataFrame, groups: list[str], labels: dict[str, str]) -> Figure:
    """A row a term, a column a group; a dot's size is its share, its colour the adjusted p.

    `table` of top_terms; `groups` in the order of columns, `labels` what they are called.
    """
    terms = table.drop_duplicates("term").set_index("term")["name"]
    height = (4.0 * max(len(terms), 4) + 34) * MM
    figure, axes = plt.subplots(figsize=(FULL_WIDTH, height))
    x = table["group"].map({group: i for i, group in enumerate(groups)})
    strength = np.minimum(-np.log10(np.maximum(table["adjusted_p"], 1e-300)), STRONGEST)
    largest = max(float(table["share"].max()), 1e-9) if len(table) else 1.0
    dots = axes.scatter(
        x, table["rank"], s=LARGEST_DOT * table["share"] / largest, c=strength,
        cmap="viridis_r", vmin=0, vmax=max(float(strength.max()), 2) if len(table) else 2,
        linewidths=0.3, edgecolors="0.2", zorder=3,
    )  # fmt: skip
    axes.set_xticks(range(len(groups)), [labels.get(group, group) for group in groups])
    axes.tick_params(axis="x", rotation=55, length=0)
    for tick in axes.get_xticklabels():
        tick.set_ha("right")
        tick.set_rotation_mode("anchor")
    shortened = [textwrap.shorten(name, LABEL_CHARACTERS, placeholder=" …") for name in terms]
    axes.set_yticks(range(len(terms)), shortened)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_ylim(max(len(terms), 4) - 0.4, -0.6)
    axes.grid(linewidth=0.4, color="0.92")
    axes.set_axisbelow(True)
    if table.empty:
        axes.text(0.5, 0.5, "no enriched term", transform=axes.transAxes, ha="center")
        return figure
    bar = figure.colorbar(dots, ax=axes, shrink=min(1.0, 30 * MM / height), aspect=12, pad=0.02)
    bar.set_label("-log10 adjusted p" + (" (at most 20)" if strength.max() >= STRONGEST else ""))
    bar.outline.set_linewidth(0)
    sizes = [largest * part for part in (0.25, 0.5, 1.0)]
    handles = [
        plt.Line2D(
            [], [], marker="o", linestyle="", color="0.5",
            markersize=np.sqrt(LARGEST_DOT * size / largest), label=f"{size:.0%}",
        )
        for size in sizes
    ]  # fmt: skip
    figure.legend(
        handles=handles, title="share of the list", loc="outside lower right", ncols=3,
        title_fontsize=6.5, columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip
    return figure
