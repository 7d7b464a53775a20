"""Genes that were hidden while sections were integrated, as measured and as inferred."""

import anndata as ad
import numpy as np
import pandas as pd

from histoscribe.figures.integration import map_aspect, mapped_section
from histoscribe.figures.maps import draw_units
from histoscribe.figures.panels import WIDTH_MM, Page
from histoscribe.figures.style import upper_cut

WAYS = {  # columns of inference.tsv, in words
    "pcc": "inferred",
    "pcc_like_units": "mean of 30 like units",
    "pcc_nearest": "the most alike unit",
}
SHOWN = {"the best": 1.0, "upper quartile": 0.75, "median": 0.5, "lower quartile": 0.25}
GAP_MM = 4.0
SCORES_MM, SCORES_WIDE_MM = 30.0, 70.0
COLOURS = ("#0072B2", "#999999", "#CCCCCC")


def shown_genes(scores: pd.DataFrame) -> dict[str, str]:
    """Genes at fixed ranks of the scores, by what rank: good and bad alike."""
    ranked = scores.groupby("gene")["pcc"].mean().sort_values()
    place = {words: round(share * (len(ranked) - 1)) for words, share in SHOWN.items()}
    return {words: ranked.index[number] for words, number in place.items()}


def shown_units(maps: ad.AnnData, genes: list[str]) -> pd.DataFrame:
    """A row a unit: section, x_um, y_um, and each gene as measured and inferred (log1p)."""
    table = maps.obs[["section"]].copy()
    table[["x_um", "y_um"]] = maps.obsm["spatial"]
    measured, inferred = maps.to_df("measured"), maps.to_df()
    for gene in genes:
        table[f"{gene} measured"] = measured[gene].to_numpy()
        table[f"{gene} inferred"] = inferred[gene].to_numpy()
    return table.reset_index(drop=True)


def draw_inference(
    shown: pd.DataFrame, scores: pd.DataFrame, genes: dict[str, str], title: str
) -> Page:
    """The page: scores of all hidden genes by way, and maps of some; `genes` of shown_genes."""
    sections = list(dict.fromkeys(shown["section"].astype(str)))
    width = (WIDTH_MM - (len(SHOWN) - 1) * GAP_MM) / len(SHOWN)
    maps = {name: mapped_section(shown[shown["section"] == name]) for name in sections}
    heights = {name: min(width * map_aspect(units), 1.3 * width) for name, units in maps.items()}
    page = Page(16 + SCORES_MM + sum(2 * height + 21 for height in heights.values()))
    page.write(0, 0, title, WIDTH_MM, fontsize=8, fontweight="bold")
    _draw_scores(page, scores)
    top = 14 + SCORES_MM
    for name in sections:
        own, height = shown[shown["section"] == name], heights[name]
        window, wide = maps[name].window(), height / map_aspect(maps[name])
        by_gene = scores[scores["section"] == name].set_index("gene")
        for place, (words, gene) in enumerate(genes.items()):
            left = place * (width + GAP_MM)
            pcc = by_gene.loc[gene, "pcc"]
            page.write(left, top, f"{gene}: {words}, PCC {pcc:.2f}", width, fontsize=7)
            for step, kind in ((4, "measured"), (height + 10, "inferred")):
                values = own[f"{gene} {kind}"].to_numpy()
                page.write(left, top + step, f"{name}, {kind}", width, fontsize=6, color="0.4")
                axes = page.panel(left, top + step + 3, wide, height)
                draw_units(axes, maps[name], values, window, (0.0, upper_cut(values)))
            page.scale_bar(left, top + 2 * height + 13.6, wide, window.width_um)
        top += 2 * height + 21
    return page


def _draw_scores(page: Page, scores: pd.DataFrame) -> None:
    """Each way's scores, a dot a gene and section, and their mean."""
    axes = page.panel(38, 9, SCORES_WIDE_MM, SCORES_MM - 4)
    rng = np.random.default_rng(0)
    for place, (column, colour) in enumerate(zip(WAYS, COLOURS, strict=True)):
        values = scores[column].to_numpy()
        y = place + rng.uniform(-0.25, 0.25, len(values))
        axes.scatter(values, y, s=4, c=colour, linewidths=0)
        axes.plot([values.mean()] * 2, [place - 0.38, place + 0.38], color="black", linewidth=1)
        axes.annotate(
            f"{values.mean():.3f}", (1.02, place), xycoords=("axes fraction", "data"),
            va="center", fontsize=7,
        )  # fmt: skip
    axes.set_yticks(range(len(WAYS)), list(WAYS.values()), fontsize=6.5)
    axes.set_ylim(len(WAYS) - 0.4, -0.6)
    axes.set_xlabel("PCC of hidden genes over units; line and number: mean", fontsize=6.5)
    axes.axvline(0, color="0.8", linewidth=0.6, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    lines = [f"{scores['gene'].nunique()} genes that were hidden", "from a section, then inferred"]
    for number, words in enumerate(lines):
        left, top = SCORES_WIDE_MM + 56, 8 + 3.2 * number
        page.write(left, top, words, fontsize=6.5, color="0.3")
