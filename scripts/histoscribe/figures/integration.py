"""Integrated sections: units before and after by section, their domains, and where these lie.

Zhao et al., Nat Genet 2026, figure 2.
"""

import anndata as ad
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from histoscribe.figures.maps import MappedUnits
from histoscribe.figures.panels import WIDTH_MM, Page
from histoscribe.figures.types import paint_types
from histoscribe.integration.sections import spacing_um

UMAP_MM = 42.0
GAP_MM = 4.0
LEGEND_ROW_MM = 3.6
A_ROW = 4  # maps
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#444444")
MAX_NAMED = 16  # sections or domains in a legend
MEASURES = {  # columns of mixing.tsv, in words, and whether more is better
    "ilisi_equal": "iLISI: sections among neighbours",
    "silhouette_section": "silhouette of sections",
    "clisi": "cLISI: labels among neighbours",
    "silhouette_label": "silhouette of labels",
}
BETTER = {"ilisi_equal": "↑", "silhouette_section": "↓", "clisi": "↓", "silhouette_label": "↑"}


def shown_units(units: ad.AnnData) -> pd.DataFrame:
    """What the figure shows: unit, section, domain, x_um, y_um and both layouts, a row a unit."""
    table = units.obs[["section", "unit", "domain"]].copy()
    table["domain"] = table["domain"].astype(str)
    table[["x_um", "y_um"]] = units.obsm["spatial"]
    table[["before_1", "before_2"]] = units.obsm["X_umap_unintegrated"]
    table[["after_1", "after_2"]] = units.obsm["X_umap"]
    return table.reset_index(drop=True)


def domain_colours(domains: list[str]) -> dict[str, str]:
    """A colour for each domain; the first eight are told apart by the colour-blind."""
    colours = [*OKABE_ITO, *colormaps["tab20b"].colors, *colormaps["Set3"].colors]
    return {name: to_hex(colours[i % len(colours)]) for i, name in enumerate(domains)}


def section_colours(sections: list[str]) -> dict[str, str]:
    """A colour for each section, in order: a development or a stack is read off them."""
    steps = np.linspace(0.05, 0.92, max(len(sections), 2))
    return {name: to_hex(colormaps["viridis"](x)) for name, x in zip(sections, steps, strict=False)}


def draw_integration(shown: pd.DataFrame, mixing: pd.DataFrame, title: str) -> Page:
    """The page of one integration; `shown` of shown_units, `mixing` as measure_mixing writes it."""
    sections = list(shown["section"].cat.categories)
    domains = sorted(shown["domain"].unique(), key=int)
    by_domain, by_section = domain_colours(domains), section_colours(sections)
    width = (WIDTH_MM - (A_ROW - 1) * GAP_MM) / A_ROW
    maps = {name: mapped_section(shown[shown["section"] == name]) for name in sections}
    heights = {name: min(width * map_aspect(units), 1.6 * width) for name, units in maps.items()}
    rows = [sections[i : i + A_ROW] for i in range(0, len(sections), A_ROW)]
    legend = LEGEND_ROW_MM * (1 + min(max(len(domains), len(sections)), MAX_NAMED + 1))
    top = 12 + max(UMAP_MM, legend) + 8
    page = Page(top + sum(max(heights[name] for name in row) + 12 for row in rows))
    page.write(0, 0, title, WIDTH_MM, fontsize=8, fontweight="bold")
    panels = [
        ("before, by section", "before", "section", by_section),
        ("after, by section", "after", "section", by_section),
        ("after, by domain", "after", "domain", by_domain),
    ]
    for place, (words, layout, key, colours) in enumerate(panels):
        left = place * (UMAP_MM + GAP_MM)
        page.write(left, 6, words, UMAP_MM, fontsize=7)
        axes = page.panel(left, 10, UMAP_MM, UMAP_MM)
        _scatter(axes, shown, layout, key, colours)
    left = 3 * (UMAP_MM + GAP_MM) + 2
    draw_legend(page, left, 6, "section", sections, by_section)
    draw_legend(page, left + 25, 6, "domain", domains, by_domain)
    _measures(page, 0, 10 + UMAP_MM + 1, mixing)
    for row in rows:
        for place, name in enumerate(row):
            left = place * (width + GAP_MM)
            page.write(left, top, name, width, fontsize=7)
            own = shown[shown["section"] == name]
            height = heights[name]
            wide = height / map_aspect(maps[name])
            axes = page.panel(left, top + 4, wide, height)
            window = maps[name].window()
            paint_types(axes, maps[name], own["domain"], window, by_domain)
            page.scale_bar(left, top + 4.6 + height, wide, window.width_um)
        top += max(heights[name] for name in row) + 12
    return page


def mapped_section(own: pd.DataFrame) -> MappedUnits:
    """The units of one section, of columns x_um and y_um, as squares about their spacing wide."""
    return mapped_positions(own[["x_um", "y_um"]].to_numpy())


def mapped_positions(xy_um: np.ndarray) -> MappedUnits:
    """Units at positions (n_units, 2) in um, as squares as wide as they lie apart."""
    return MappedUnits(xy_um, 1.1 * spacing_um(xy_um))


def map_aspect(units: MappedUnits) -> float:
    """Height of the section over its width."""
    window = units.window()
    return window.height_um / window.width_um


def _scatter(
    axes: Axes, shown: pd.DataFrame, layout: str, key: str, colours: dict[str, str]
) -> None:
    """Units of a layout in random order, so that no section lies on top of all others."""
    position = shown[[f"{layout}_1", f"{layout}_2"]].to_numpy()
    drawn = np.flatnonzero(np.isfinite(position).all(axis=1))
    drawn = np.random.default_rng(0).permutation(drawn)
    colour = shown[key].astype(str).map(colours).to_numpy()[drawn]
    size = float(np.clip(3000 / max(len(drawn), 1), 0.15, 4))
    axes.scatter(*position[drawn].T, c=colour, s=size, linewidths=0, rasterized=True)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_aspect("equal", adjustable="datalim")


def draw_legend(
    page: Page, left: float, top: float, words: str, names: list[str], colours: dict[str, str]
) -> None:
    """Names in their colours, one below the other; of many, the first."""
    page.write(left, top, words, fontsize=6, color="0.4")
    for place, name in enumerate(names[:MAX_NAMED], 1):
        y = top + LEGEND_ROW_MM * place
        page.swatch(left, y + 0.3, colours[name])
        page.write(left + 3.5, y, name, 20, fontsize=6)
    if len(names) > MAX_NAMED:
        y = top + LEGEND_ROW_MM * (MAX_NAMED + 1)
        page.write(left, y, f"and {len(names) - MAX_NAMED} more", fontsize=5.5, color="0.4")


def _measures(page: Page, left: float, top: float, mixing: pd.DataFrame) -> None:
    """Measures before and after, in one line: arrows say what is better."""
    by_space = mixing.set_index("space")
    words = []
    for column, name in MEASURES.items():
        before, after = (by_space.loc[space, column] for space in ("unintegrated", "latent"))
        if np.isfinite(after):
            words.append(f"{name} {BETTER[column]} {before:z.2f} → {after:z.2f}")
    page.write(left, top, "     ".join(words), WIDTH_MM, fontsize=6.5, color="0.25")
