"""Labels that integrated sections have, those they get from others, and how these agree."""

import pandas as pd

from histoscribe.figures.agreement import draw_confusions
from histoscribe.figures.integration import domain_colours, draw_legend, map_aspect, mapped_section
from histoscribe.figures.panels import WIDTH_MM, Page
from histoscribe.figures.types import paint_types

ALL = "all"  # sections together, in the tables
A_ROW = 4  # sections
GAP_MM = 4.0
LEGEND_MM, MATRIX_MM = 26.0, 76.0
SCORES = {
    "accuracy": "accuracy",
    "accuracy_by_chance": "chance",
    "balanced_accuracy": "balanced",
    "ari": "ARI",
    "nmi": "NMI",
}
NAME_MM, COLUMN_MM, ROW_MM = 15.0, 9.8, 3.6


def draw_label_transfer(
    shown: pd.DataFrame, scores: pd.DataFrame, confusion: pd.DataFrame, title: str
) -> Page:
    """A page: own labels above transferred ones, section by section; scores; confusion.

    `shown`: section, label, transferred, x_um, y_um, a row a unit; `scores` and `confusion` as
    transfer_labels writes them.
    """
    sections = list(dict.fromkeys(shown["section"].astype(str)))
    both = pd.concat([shown["label"], shown["transferred"]]).dropna().astype(str)
    colours = domain_colours(sorted(both.unique()))
    width = (WIDTH_MM - (A_ROW - 1) * GAP_MM) / A_ROW
    maps = {name: mapped_section(shown[shown["section"] == name]) for name in sections}
    heights = {name: min(width * map_aspect(units), 1.3 * width) for name, units in maps.items()}
    rows = [sections[i : i + A_ROW] for i in range(0, len(sections), A_ROW)]
    tall = [max(heights[name] for name in row) for row in rows]
    below = max(MATRIX_MM, 10 + ROW_MM * (len(scores) + 2), 10 + ROW_MM * len(colours))
    page = Page(8 + sum(2 * height + 21 for height in tall) + below)
    page.write(0, 0, title, WIDTH_MM, fontsize=8, fontweight="bold")
    top = 6.0
    for row, height in zip(rows, tall, strict=True):
        for place, name in enumerate(row):
            left = place * (width + GAP_MM)
            own = shown[shown["section"] == name]
            window = maps[name].window()
            wide = heights[name] / map_aspect(maps[name])
            for step, column, words in (
                (0, "label", "own"),
                (height + 6, "transferred", "from others"),
            ):
                page.write(left, top + step, f"{name}, {words}", width, fontsize=7)
                axes = page.panel(left, top + step + 4, wide, heights[name])
                paint_types(axes, maps[name], own[column], window, colours)
            page.scale_bar(left, top + height + 10.6 + heights[name], wide, window.width_um)
        top += 2 * height + 21
    draw_legend(page, 0, top, "label", list(colours), colours)
    latent = scores[scores["space"] == "latent"]
    _draw_scores(page, LEGEND_MM, top, latent)
    if len(latent):
        words = "labels from others against own"
        named = latent.rename(columns={"section": "reference"})
        draw_confusions(page, top, confusion, {ALL: words}, named)
    return page


def _draw_scores(page: Page, left: float, top: float, latent: pd.DataFrame) -> None:
    """A small table: a row a section."""
    if latent.empty:
        page.write(left, top, "one section alone has labels: nothing to compare with", 50,
                   fontsize=6, color="0.4")  # fmt: skip
        return
    for place, words in enumerate(SCORES.values()):
        x = left + NAME_MM + COLUMN_MM * place
        page.write(x, top, words, fontsize=5.2, color="0.4")
    for number, row in enumerate(latent.to_dict("records"), 1):
        y = top + ROW_MM * number
        page.write(left, y, row["section"], NAME_MM - 1, fontsize=6)
        for place, column in enumerate(SCORES):
            page.write(left + NAME_MM + COLUMN_MM * place, y, f"{row[column]:.2f}", fontsize=6)
