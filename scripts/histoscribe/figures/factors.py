"""Spatial factors of integrated sections: where they are, beside the genes that tell them.

Zhao et al., Nat Genet 2026, figures 3 and 4.
"""

import anndata as ad
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable

from histoscribe.figures.integration import map_aspect, mapped_section
from histoscribe.figures.maps import draw_units
from histoscribe.figures.panels import WIDTH_MM, Page
from histoscribe.figures.style import upper_cut

MAX_FACTORS = 8
MAX_SECTIONS = 6
WORDS_MM = 40.0
LEAST_ROW_MM = 23.0  # for the words beside maps
MAPS_MM = 200.0  # for all rows together
GAP_MM = 2.5
HEAD_MM = 13.0
GENES_A_LINE = 3
NO_GENE = "no gene stands out"


def drawn_factors(factors: pd.DataFrame, most: int = MAX_FACTORS) -> list[str]:
    """Up to `most` used factors, those that vary most in space first; `factors` of factors.tsv.

    By Moran's I times the standard deviation, so that neither a faint pattern nor noise wins.
    """
    used = factors[factors["is_used"]]
    weight = used["morans_i"] * used["standard_deviation"]
    return used.loc[weight.sort_values(ascending=False).index[:most], "factor"].tolist()


def drawn_sections(sections: list[str], most: int = MAX_SECTIONS) -> list[str]:
    """All, or `most` at even steps from the first to the last."""
    if len(sections) <= most:
        return sections
    return [sections[i] for i in np.linspace(0, len(sections) - 1, most).round().astype(int)]


def factor_maps(units: ad.AnnData, names: list[str]) -> pd.DataFrame:
    """What the figure shows: section, unit, x_um, y_um and a column a factor, a row a unit."""
    table = units.obs[["section", "unit"]].reset_index(drop=True)
    table[["x_um", "y_um"]] = units.obsm["spatial"]
    for name in names:
        number = int(name.rpartition("_")[2]) - 1
        table[name] = np.asarray(units.obsm["factors"])[:, number]
    return table


def best_terms(terms: pd.DataFrame, adjusted_p_below: float) -> dict[str, str]:
    """The term of least p of each factor that has one below `adjusted_p_below`."""
    passed = terms[terms["adjusted_p"] < adjusted_p_below].sort_values("p", kind="stable")
    return passed.drop_duplicates("group").set_index("group")["name"].to_dict()


def draw_factors(
    maps: pd.DataFrame, factors: pd.DataFrame, terms: dict[str, str], title: str
) -> Page:
    """A row a factor, a column a section; `maps` of factor_maps, `factors` of factors.tsv.

    A factor's colours are those of all its sections, from 0 to the 99th percentile.
    """
    names = [column for column in maps if column in set(factors["factor"])]
    every = list(maps["section"].cat.categories)
    sections = drawn_sections(every)
    units = {name: mapped_section(maps[maps["section"] == name]) for name in sections}
    column = (WIDTH_MM - WORDS_MM) / max(len(sections), 1) - GAP_MM
    tallest = min(
        max(column * map_aspect(its) for its in units.values()), MAPS_MM / len(names or [0])
    )
    row = max(tallest, LEAST_ROW_MM) + GAP_MM
    page = Page(HEAD_MM + max(len(names), 1) * row + 6)
    page.write(0, 0, title, WIDTH_MM, fontsize=8, fontweight="bold")
    told = _words_of_choice(len(names), factors, len(sections), len(every))
    page.write(0, 4, told, WIDTH_MM, fontsize=6, color="0.4")
    described = factors.set_index("factor")
    for place, name in enumerate(names):
        top = HEAD_MM + place * row
        limits = (0.0, upper_cut(maps[name].to_numpy()))
        _write_factor(page, top, described.loc[name], terms.get(name))
        key = ScalarMappable()
        for number, section in enumerate(sections):
            left = WORDS_MM + number * (column + GAP_MM)
            wide = min(column, tallest / map_aspect(units[section]))
            axes = page.panel(left, top, wide, wide * map_aspect(units[section]))
            own = maps.loc[maps["section"] == section, name].to_numpy()
            window = units[section].window()
            key = draw_units(axes, units[section], own, window, limits)
            if place == 0:
                page.write(left, HEAD_MM - 4, section, column, fontsize=7)
            if place == len(names) - 1:
                below = top + max(wide * map_aspect(units[section]), 0) + 1
                page.scale_bar(left, below, wide, window.width_um)
        page.colour_bar(1.2, top + LEAST_ROW_MM - 5.5, 18, key)
    if not names:
        page.write(0, HEAD_MM, "no factor is used: see factors.tsv", WIDTH_MM, fontsize=7)
    return page


def _words_of_choice(n_drawn: int, factors: pd.DataFrame, n_sections: int, n_every: int) -> str:
    words = [f"proportions; {n_drawn} of {int(factors['is_used'].sum())} factors in use"]
    if n_drawn < factors["is_used"].sum():
        words.append("those that vary most in space")
    if n_sections < n_every:
        words.append(f"{n_sections} of {n_every} sections")
    return ", ".join(words)


def _write_factor(page: Page, top: float, factor: pd.Series, term: str | None) -> None:
    """A factor's name, share, genes and term, in the column left of its maps."""
    width = WORDS_MM - 3
    page.write(0, top, factor.name.replace("_", " "), width, fontsize=7, fontweight="bold")
    share = f"{100 * factor['mean']:.1f} % in all, Moran's I {factor['morans_i']:.2f}"
    page.write(0, top + 3.4, share, width, fontsize=6, color="0.4")
    genes = str(factor["top_genes"]).split(",") if isinstance(factor["top_genes"], str) else []
    lines = [", ".join(genes[i : i + GENES_A_LINE]) for i in range(0, len(genes), GENES_A_LINE)]
    for number, line in enumerate(lines):
        page.write(0, top + 6.6 + 3 * number, line, width, fontsize=6.5, fontstyle="italic")
    if not lines:
        page.write(0, top + 6.6, NO_GENE, width, fontsize=6, color="0.4")
    if term is not None:
        page.write(0, top + 13.0, term, width, fontsize=6)
