"""Ordered groups of sections: units in their order by other sections, and what goes along."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from histoscribe.figures.factors import drawn_sections
from histoscribe.figures.integration import map_aspect, mapped_section, section_colours
from histoscribe.figures.maps import draw_units
from histoscribe.figures.panels import WIDTH_MM, Page, name_ticks

MAX_MAPS = 8
A_ROW = 4
GAP_MM = 4.0
BOXES_MM, BOXES_HEIGHT_MM = 84.0, 40.0
MAX_FACTORS = 4
N_GENES = 8  # named in each direction
PERCENTILES = {"low": 5, "lower_quartile": 25, "median": 50, "upper_quartile": 75, "high": 95}
Q_BELOW = 0.05
POINT = 12  # points squared


def gradient_values(
    units: pd.DataFrame, sections: pd.DataFrame, table: pd.DataFrame, used: list[str]
) -> pd.DataFrame:
    """What boxes and dots show, a row a section in the order of groups.

    `units`, `sections` and `table` as follow_gradient writes them. Columns section, group, rank,
    donor, percentiles of the units' scores, and proportions of the four `used` factors that go
    best.
    """
    by_section = units.groupby("section")["gradient"]
    shown = sections[["section", "group", "rank", "donor"]].copy()
    for name, percent in PERCENTILES.items():
        values = by_section.quantile(percent / 100)
        shown[name] = shown["section"].map(values)
    best = table.loc[(table["kind"] == "factor") & table["p"].notna(), "name"]
    best = best[best.isin(used)]
    return shown.join(sections[best.head(MAX_FACTORS).tolist()])


def in_words(table: pd.DataFrame, sections: pd.DataFrame) -> str:
    """What the figure rests on: sections, donors, how well the order is found, the least p."""
    sizes = sections.groupby("group", sort=False).size()
    order = table[table["kind"] == "order"].iloc[0]
    words = f"{len(sections)} sections ({', '.join(f'{g} {n}' for g, n in sizes.items())})"
    if order["n_replicates"] < len(sections):
        words += f", {order['n_replicates']:.0f} replicates"
    if np.isfinite(order["rho"]):
        words += (
            f"; order by other sections: Spearman {order['rho']:.2f}, p {order['p']:.2g} "
            f"(no less than {order['least_p']:.2g} could be)"
        )
    else:
        words += "; no order by other sections: too few groups have two donors"
    return words


def draw_gradient(
    units: pd.DataFrame,
    sections: pd.DataFrame,
    table: pd.DataFrame,
    top_genes: dict[str, str],
    title: str,
) -> tuple[Page, pd.DataFrame]:
    """The page, and the numbers of its boxes and dots; `top_genes` of factors that are used.

    Maps and boxes show units in the order that other sections give them, and are left out where
    there is none.
    """
    shown = gradient_values(units, sections, table, list(top_genes))
    groups = list(dict.fromkeys(shown["group"]))
    colours = section_colours(groups)
    known = units["gradient"].dropna()
    names = drawn_sections(shown["section"].tolist(), MAX_MAPS) if len(known) else []
    maps = {name: mapped_section(units[units["section"] == name]) for name in names}
    width = (WIDTH_MM - (A_ROW - 1) * GAP_MM) / A_ROW
    rows = [names[i : i + A_ROW] for i in range(0, len(names), A_ROW)]
    heights = [max(min(width * map_aspect(maps[n]), 1.3 * width) for n in row) for row in rows]
    above = sum(height + 11 for height in heights) + 8 * bool(names)
    page = Page(above + BOXES_HEIGHT_MM + 34)
    page.write(0, 0, title, WIDTH_MM, fontsize=8, fontweight="bold")
    page.write(0, 4, in_words(table, sections), WIDTH_MM, fontsize=6.5, color="0.25")
    top = 11.0 - 2 * bool(names)
    group = shown.set_index("section")["group"]
    limits = _limits(known)
    for row, height in zip(rows, heights, strict=True):
        for place, name in enumerate(row):
            left = place * (width + GAP_MM)
            page.swatch(left, top + 0.4, colours[group[name]])
            page.write(left + 3, top, f"{group[name]}: {name}", width - 3, fontsize=7)
            wide = min(width, height / map_aspect(maps[name]))
            axes = page.panel(left, top + 4, wide, wide * map_aspect(maps[name]))
            own = units.loc[units["section"] == name, "gradient"].to_numpy()
            window = maps[name].window()
            key = draw_units(axes, maps[name], own, window, limits, cmap="viridis")
            below = top + 4.6 + wide * map_aspect(maps[name])
            page.scale_bar(left, below, wide, window.width_um)
        top += height + 11
    if names:
        last = f"{len(groups) - 1} ({groups[-1]})"
        scale = f"predicted rank of a unit's group, from 0 ({groups[0]}) to {last}"
        page.write(0, top, scale, WIDTH_MM - 30, fontsize=6.5)
        page.colour_bar(WIDTH_MM - 26, top + 0.6, 24, key)
        top += 8
        _draw_boxes(page.panel(10, top, BOXES_MM - 14, BOXES_HEIGHT_MM), shown, colours)
    _draw_factors(page, BOXES_MM + 8 if names else 8, top, shown, table, top_genes, groups, colours)
    _write_genes(page, top + BOXES_HEIGHT_MM + 12, table)
    return page, shown


def _limits(known: pd.Series) -> tuple[float, float]:
    """Percentiles 1 and 99, set apart where they are one."""
    if known.empty:
        return 0.0, 1.0
    low, high = np.percentile(known, [1, 99])
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _draw_boxes(axes: Axes, shown: pd.DataFrame, colours: dict[str, str]) -> None:
    """Scores of each section's units, by percentiles 5, 25, 50, 75 and 95."""
    parts = dict(zip(("whislo", "q1", "med", "q3", "whishi"), PERCENTILES, strict=True))
    boxes = [
        {"fliers": [], **{part: row[name] for part, name in parts.items()}}
        for _, row in shown.iterrows()
    ]
    drawn = axes.bxp(
        boxes, positions=range(len(boxes)), widths=0.6, showfliers=False, patch_artist=True,
        medianprops={"color": "black", "linewidth": 1}, boxprops={"linewidth": 0.5},
        whiskerprops={"linewidth": 0.5}, capprops={"linewidth": 0.5},
    )  # fmt: skip
    for box, name in zip(drawn["boxes"], shown["group"], strict=True):
        box.set_facecolor(colours[name])
    axes.plot(range(len(boxes)), shown["rank"], "_", color="0.5", markersize=9, zorder=0)
    axes.set_xticks(range(len(boxes)))
    name_ticks(axes.xaxis, shown["section"].tolist(), 14, 6)
    axes.tick_params(axis="x", rotation=40, length=0)
    for label in axes.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")
    axes.set_ylabel("predicted rank", fontsize=6.5)


def _draw_factors(
    page: Page,
    left: float,
    top: float,
    shown: pd.DataFrame,
    table: pd.DataFrame,
    top_genes: dict[str, str],
    groups: list[str],
    colours: dict[str, str],
) -> None:
    """Mean proportions of factors by section, over the rank of its group."""
    factors = table[table["kind"] == "factor"].set_index("name")
    names = [column for column in shown if column in factors.index]
    width, height = (WIDTH_MM - left - 10) / 2, (BOXES_HEIGHT_MM - 14) / 2
    for place, name in enumerate(names):
        x = left + (place % 2) * (width + 10)
        y = top + (place // 2) * (height + 14)
        row = factors.loc[name]
        genes = ", ".join(top_genes.get(name, "").split(",")[:3])
        page.write(x, y - 1, f"{name.replace('_', ' ')} {genes}", width, fontsize=6.5)
        told = f"Spearman {row['rho']:.2f}, p {row['p']:.2g}, q {row['q']:.2g}"
        page.write(x, y + 2, told, width, fontsize=6, color="0.4")
        axes = page.panel(x, y + 5.5, width, height)
        axes.scatter(
            shown["rank"], 100 * shown[name], s=POINT, c=shown["group"].map(colours),
            linewidths=0.4, edgecolors="0.2", clip_on=False, zorder=3,
        )  # fmt: skip
        axes.plot(
            range(len(groups)), 100 * shown.groupby("rank")[name].mean(), color="0.6", linewidth=0.8
        )
        axes.set_xlim(-0.3, len(groups) - 0.7)
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(len(groups)))
        is_last = place + 2 >= len(names)
        name_ticks(axes.xaxis, groups if is_last else [""] * len(groups), width / len(groups), 6)
        axes.tick_params(labelsize=6)
        axes.locator_params(axis="y", nbins=3)
        if place % 2 == 0:
            axes.set_ylabel("%", fontsize=6)


def _write_genes(page: Page, top: float, table: pd.DataFrame) -> None:
    """Genes whose pseudo-bulk goes up or down, those of least p first."""
    genes = table[(table["kind"] == "gene") & table["p"].notna()]
    n_sure = int((genes["q"] < Q_BELOW).sum())
    least = f", least p that could be {genes['least_p'].min():.2g}" if len(genes) else ""
    told = f"genes: {n_sure} of {len(genes)} below q {Q_BELOW:g}{least}; first by p and Spearman:"
    page.write(0, top, told, WIDTH_MM, fontsize=6.5)
    for number, (words, sign) in enumerate((("up", 1), ("down", -1))):
        its = genes.loc[np.sign(genes["rho"]) == sign, "name"].head(N_GENES)
        y = top + 3.6 * (number + 1)
        page.write(0, y, words, 10, fontsize=6.5, color="0.4")
        page.write(10, y, ", ".join(its) or "none", WIDTH_MM - 10, fontsize=6.5, fontstyle="italic")
