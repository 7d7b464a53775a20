"""Cell types of a section: where they lie, how they part, and which genes mark them.

Wen et al. 2025, figure 3: UMAP, spatial types and the dot plot of markers.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb

from histoscribe.figures.maps import MappedUnits, averaged, show_window, unit_pixels
from histoscribe.figures.panels import WIDTH_MM, Page, name_ticks
from histoscribe.figures.style import MM
from histoscribe.figures.windows import Window

GENES_A_TYPE = 3
MAX_TYPES = 16  # of the most frequent, in the dot plot and the legend
UNNAMED = "no type"
UNNAMED_COLOUR = "#E6E6E6"
PANEL_PX = 900
MAP_MM, UMAP_MM = 72.0, 58.0
ROW_MM, LEGEND_ROW_MM = 4.6, 3.9
DOTS_LEFT_MM, GENE_MM = 42.0, 26.0  # room for the names of types and of genes
DOT_SHARE = 0.88  # diameter of the largest dot, of the room it has


def type_shares(types: pd.Series) -> pd.Series:
    """Share of units of each type, falling; units without a type count as UNNAMED."""
    named = types.astype(object).where(types.notna(), UNNAMED)
    return named.value_counts(normalize=True)


def drawn_types(types: pd.Series) -> list[str]:
    """The types that have a row in the legend and in the dot plot: the most frequent, in order."""
    return [name for name in type_shares(types).index if name != UNNAMED][:MAX_TYPES]


def marker_dots(clusters: pd.DataFrame, markers: pd.DataFrame, types: list[str]) -> pd.DataFrame:
    """What the dot plot shows: type, gene, named_by, share_in, mean_in, level.

    `clusters` and `markers` as annotate_cells writes them. Clusters of one type are averaged by
    their units. Of each type up to three genes are shown, those that name it first, by z; `level`
    is the mean relative to the type where it is highest (0 to 1).
    """
    kept = clusters[~clusters["is_dropped"] & clusters["type"].isin(types)]
    joined = markers.merge(kept[["cluster", "type", "n_units"]], on="cluster")
    if joined.empty:
        columns = ["type", "gene", "named_by", "share_in", "mean_in", "level"]
        return pd.DataFrame(columns=columns)
    for column in ("z", "share_in", "mean_in"):
        joined[column] = joined[column] * joined["n_units"]
    sums = joined.groupby(["type", "gene"], observed=True)[
        ["z", "share_in", "mean_in", "n_units"]
    ].sum()
    means = sums[["z", "share_in", "mean_in"]].div(sums["n_units"], axis=0)
    chosen: dict[str, str] = {}
    for name in types:
        if name not in means.index.get_level_values(0):
            continue
        ranked = means.loc[name].sort_values("z", ascending=False)
        written = ",".join(kept.loc[kept["type"] == name, "markers"].dropna())
        own = [gene for gene in ranked.index if gene in set(written.split(","))]
        others = [gene for gene in ranked.index[: 5 * GENES_A_TYPE] if gene not in own]
        free = [gene for gene in own + others if gene not in chosen]
        chosen |= dict.fromkeys(free[:GENES_A_TYPE], name)
    dots = means.loc[means.index.get_level_values(1).isin(chosen)].reset_index()
    dots["named_by"] = dots["gene"].map(chosen)
    highest = dots.groupby("gene")["mean_in"].transform("max")
    dots["level"] = dots["mean_in"] / highest.where(highest > 0, 1.0)
    order = {gene: place for place, gene in enumerate(chosen)}
    dots = dots.sort_values("gene", key=lambda s: s.map(order), kind="stable")
    return dots[["type", "gene", "named_by", "share_in", "mean_in", "level"]].reset_index(drop=True)


def draw_types(
    units: MappedUnits,
    window: Window,
    annotated: pd.DataFrame,
    dots: pd.DataFrame,
    doubtful: set[str],
    colours: dict[str, str],
    title: str,
) -> Page:
    """The map of types, their UMAP, a legend with shares, and the dots of their markers.

    `annotated` (n_units,) has type, umap_1 and umap_2; `doubtful` are types of which a cluster had
    a close runner-up; `colours` by type.
    """
    shares = type_shares(annotated["type"])
    types = drawn_types(annotated["type"])
    genes = list(dict.fromkeys(dots["gene"]))
    map_height = min(MAP_MM * window.height_um / window.width_um, 1.5 * MAP_MM)
    map_width = map_height * window.width_um / window.height_um
    legend = LEGEND_ROW_MM * (len(types) + 2)
    top_mm = 8 + max(map_height + 8, UMAP_MM, legend)
    page = Page(top_mm + (32 + ROW_MM * len(types) if genes else 0))
    page.write(0, 0, title, WIDTH_MM, fontsize=8, fontweight="bold")
    axes = page.panel(0, 7, map_width, map_height)
    paint_types(axes, units, annotated["type"], window, colours)
    page.scale_bar(0, 8 + map_height, map_width, window.width_um)
    _draw_umap(page.panel(MAP_MM + 4, 7, UMAP_MM, UMAP_MM), annotated, colours)
    page.write(MAP_MM + 4, 7 + UMAP_MM, "UMAP", fontsize=6, color="0.4")
    _draw_legend(page, MAP_MM + UMAP_MM + 9, 7, shares, types, doubtful, colours)
    if genes:
        _draw_dots(page, top_mm + 2, dots, types, genes)
    return page


def paint_types(
    axes: Axes,
    units: MappedUnits,
    types: pd.Series,
    window: Window,
    colours: dict[str, str],
    longest_px: int = PANEL_PX,
) -> None:
    """Units of a window in the colours of their types; untyped ones are pale grey.

    `types` (n_units,), NaN where there is none; `colours` by type.
    """
    names = sorted(set(types.dropna().astype(str)))
    code = pd.Categorical(types.astype(object), categories=names).codes
    table = np.array([to_rgb(colours[name]) for name in names] + [to_rgb(UNNAMED_COLOUR)])
    shown = unit_pixels(units, window, longest_px)
    covered = shown >= 0
    paint = np.zeros((*shown.shape, 4))
    paint[covered, :3] = table[code[shown[covered]]]
    paint[..., 3] = covered
    paint[~covered, :3] = 1
    axes.imshow(averaged(paint), extent=window.extent, interpolation="antialiased")
    show_window(axes, window)


def _draw_umap(axes: Axes, annotated: pd.DataFrame, colours: dict[str, str]) -> None:
    colour = annotated["type"].astype(object).map(colours).fillna(UNNAMED_COLOUR)
    # In random order, so that no type lies on top of all others.
    order = np.random.default_rng(0).permutation(len(annotated))
    size = float(np.clip(6000 / max(len(annotated), 1), 0.15, 6))
    axes.scatter(
        annotated["umap_1"].to_numpy()[order],
        annotated["umap_2"].to_numpy()[order],
        c=colour.to_numpy()[order],
        s=size,
        linewidths=0,
        rasterized=True,
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_aspect("equal", adjustable="datalim")


def _draw_legend(
    page: Page,
    left: float,
    top: float,
    shares: pd.Series,
    types: list[str],
    doubtful: set[str],
    colours: dict[str, str],
) -> None:
    width = WIDTH_MM - left
    page.write(left, top, "type", fontsize=6, color="0.4")
    page.write(WIDTH_MM, top, "% of units", fontsize=6, color="0.4", ha="right")
    rows = [(name, colours[name], shares[name]) for name in types]
    rest = 1 - sum(share for _, _, share in rows)
    if rest > 0.0005:
        rows.append(("other and no type", UNNAMED_COLOUR, rest))
    for place, (name, colour, share) in enumerate(rows, 1):
        y = top + LEGEND_ROW_MM * place
        page.swatch(left, y + 0.3, colour)
        shown = f"{name} ?" if name in doubtful else name
        page.write(left + 3.5, y, shown, width - 12, fontsize=6.5)
        page.write(WIDTH_MM, y, f"{100 * share:.1f}", fontsize=6.5, ha="right")
    if doubtful & set(types):
        y = top + LEGEND_ROW_MM * (len(rows) + 1)
        page.write(left, y, "? a close runner-up", fontsize=5.5, color="0.4")


def _draw_dots(
    page: Page, top: float, dots: pd.DataFrame, types: list[str], genes: list[str]
) -> None:
    left, height = DOTS_LEFT_MM, ROW_MM * len(types)
    width = min(WIDTH_MM - left - 22, 4.2 * len(genes))
    axes = page.panel(left, top, width, height)
    column = dots["gene"].map({gene: i for i, gene in enumerate(genes)})
    row = dots["type"].map({name: i for i, name in enumerate(types)})
    key = ScalarMappable(Normalize(0, 1), "viridis_r")
    largest = max(float(dots["share_in"].max()), 0.01)
    diameter_pt = DOT_SHARE * min(ROW_MM, width / len(genes)) * MM * 72
    axes.scatter(
        column, row, s=diameter_pt**2 * dots["share_in"] / largest, c=key.to_rgba(dots["level"]),
        linewidths=0,
    )  # fmt: skip
    axes.set_xlim(-0.7, len(genes) - 0.3)
    axes.set_ylim(len(types) - 0.4, -0.6)
    axes.set_xticks(range(len(genes)), genes, rotation=90, fontstyle="italic")
    name_ticks(axes.xaxis, genes, GENE_MM, 5.5)
    axes.set_yticks(range(len(types)))
    name_ticks(axes.yaxis, types, DOTS_LEFT_MM - 2, 6.5)
    axes.tick_params(length=0)
    axes.grid(linewidth=0.3, color="0.92")
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    right = left + width + 5
    page.write(right, top, "share of units", fontsize=6)
    for place, share in enumerate((0.1 * largest, 0.5 * largest, largest)):
        dot = page.panel(right + 6 * place, top + 3.5, 5, 5)
        dot.scatter([0], [0], s=diameter_pt**2 * share / largest, color="0.4", linewidths=0)
        dot.axis("off")
        words = f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"
        page.write(right + 6 * place + 2.5, top + 8.5, words, fontsize=5.5, ha="center")
    page.write(right, top + 13, "mean, of highest", fontsize=6)
    page.colour_bar(right, top + 16.5, 15, key)
