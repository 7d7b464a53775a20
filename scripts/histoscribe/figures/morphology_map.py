"""The quadrants of the morphology-gene map, with tiles, gains and genes.

Chelebian et al., Nat Commun 2025, figure 2, as a measurement.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from histoscribe.figures.panels import WIDTH_MM, Page
from histoscribe.figures.style import short_number
from histoscribe.morphology_map.extremes import most_extreme
from histoscribe.morphology_map.kinds import (
    GENES,
    INTEGRATION,
    NOISE,
    OVERESTIMATION,
    QUADRANTS,
    TRANSLATION,
    shares_of_pcc,
)

COLOURS = {
    TRANSLATION: "#009E73", INTEGRATION: "#0072B2", OVERESTIMATION: "#D55E00", NOISE: "#AAAAAA",
}  # fmt: skip
PLACES = {  # corner of a quadrant's name, and how it is aligned
    TRANSLATION: (0.98, 0.98, "right", "top"),
    INTEGRATION: (0.02, 0.98, "left", "top"),
    OVERESTIMATION: (0.98, 0.02, "right", "bottom"),
    NOISE: (0.02, 0.02, "left", "bottom"),
}
MEASURES = {"balanced_accuracy": "balanced accuracy", "ari": "ARI", "r2": "R²"}
PANEL_MM = 68.0
RIGHT_MM = 104.0
TILE_MM, TILE_GAP_MM = 14.0, 1.0
N_TILES = 4  # at each end of a feature
ROW_MM = TILE_MM + 8
CLOSE_UM = 48.0
MARK_UM = 12.0  # about the unit that a tile shows
CONTEXT = ("tile_", "nuclei_", "neighbour_", "tissue_", "clear_")  # beginnings of features' names
HEADROOM = 1.35  # above the highest point, for names of quadrants
Gallery = dict[str, tuple[list[np.ndarray], list[np.ndarray]]]


def gallery_um(feature: str, tile_um: float) -> float:
    """Edge of the tiles that show a feature: the encoder's own, or closer where it is of a unit."""
    is_of_unit = not feature.startswith((*CONTEXT, "global", "mean", "component"))
    return min(tile_um, CLOSE_UM) if is_of_unit else tile_um


def ends_of(values: np.ndarray, xy_um: np.ndarray, apart_um: float) -> tuple[list, list]:
    """Units (numbers) of the lowest and of the highest values, four each, that lie apart."""
    ends = []
    for order in (np.argsort(values, kind="stable"), np.argsort(-values, kind="stable")):
        chosen: list[int] = []
        for unit in order:
            away = np.abs(xy_um[chosen] - xy_um[unit]).max(axis=1) if chosen else np.array([np.inf])
            if away.min() >= apart_um:
                chosen.append(int(unit))
            if len(chosen) == N_TILES:
                break
        ends.append(chosen)
    return ends[0], ends[1]


def draw_morphology_map(
    shown: pd.DataFrame,
    gains: pd.DataFrame,
    genes: pd.DataFrame,
    gallery: Gallery,
    question: str,
    title: str,
    tile_um: float,
) -> Page:
    """The page; `gallery` has tiles of a feature's low and high end, by feature, or is empty."""
    extreme = {q: f for q, f in most_extreme(shown).items() if f in gallery}
    top = 13 + PANEL_MM + 12
    page = Page(top + (len(extreme) * ROW_MM + 4 if extreme else 0))
    page.write(0, 0, title, WIDTH_MM, fontsize=8, fontweight="bold")
    n = shown["quadrant"].value_counts().reindex(QUADRANTS, fill_value=0)
    words = ", ".join(f"{n[name]} {name}" for name in QUADRANTS)
    page.write(0, 4, f"question: {question}; {len(shown)} features: {words}", WIDTH_MM,
               fontsize=6.5, color="0.25")  # fmt: skip
    _draw_quadrants(page.panel(12, 11, PANEL_MM, PANEL_MM), shown)
    _draw_gains(page, 11, gains)
    if len(genes):
        _draw_genes(page, 11 + PANEL_MM / 2 + 10, genes)
    for row, (name, feature) in enumerate(extreme.items()):
        _draw_tiles(page, top + row * ROW_MM, name, feature, gallery[feature], tile_um)
    return page


def _draw_quadrants(axes: Axes, shown: pd.DataFrame) -> None:
    for name in reversed(QUADRANTS):
        own = shown[shown["quadrant"] == name]
        axes.scatter(
            own["overlap"], own["relevance"], s=9 if name != NOISE else 5, c=COLOURS[name],
            linewidths=0, clip_on=False, zorder=2 + (name != NOISE),
        )  # fmt: skip
        x, y, across, down = PLACES[name]
        axes.text(
            x, y, f"{name} {len(own)}", transform=axes.transAxes, ha=across, va=down, fontsize=7,
            color=COLOURS[name] if name != NOISE else "0.45", fontweight="bold",
        )  # fmt: skip
    for axis, key in ((axes.xaxis, "overlap"), (axes.yaxis, "relevance")):
        most = max(HEADROOM * shown[key].max(), 0.02)
        (axes.set_xlim if key == "overlap" else axes.set_ylim)(0, most)
        scale = axes.set_xscale if key == "overlap" else axes.set_yscale
        scale("function", functions=(_root, np.square))
        ticks = [t for t in (0, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2) if t <= most]
        axis.set_ticks(ticks)
        axis.set_major_formatter(short_number)
    axes.set_xlabel("overlap: what genes tell of the feature (nats)", fontsize=6.5)
    axes.set_ylabel("relevance: what the question tells of it (nats)", fontsize=6.5)


def _root(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(values, 0))


def _draw_gains(page: Page, top: float, gains: pd.DataFrame) -> None:
    """How well the question is answered from each set, by the first measure, with intervals."""
    measure = gains["measure"].iloc[0]
    own = gains[gains["measure"] == measure].reset_index(drop=True)
    page.write(RIGHT_MM, top - 3, f"the question answered from ({MEASURES[measure]})",
               WIDTH_MM - RIGHT_MM, fontsize=7)  # fmt: skip
    axes = page.panel(RIGHT_MM + 32, top + 2, WIDTH_MM - RIGHT_MM - 54, PANEL_MM / 2 - 12)
    place = np.arange(len(own))
    axes.hlines(place, own["low"], own["high"], color="0.4", linewidth=1)
    axes.plot(own["value"], place, "o", color="black", markersize=3.5)
    usual = own.loc[own["from"] == GENES, "value"].iloc[0]
    axes.axvline(usual, color="0.8", linewidth=0.6, zorder=0)
    axes.set_yticks(place, own["from"], fontsize=6.5)
    axes.set_ylim(len(own) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=6)
    axes.locator_params(axis="x", nbins=4)
    height = (PANEL_MM / 2 - 12) / len(own)
    page.write(WIDTH_MM - 20, top - 0.5, "gain over genes", 20, fontsize=6, color="0.4")
    for number, row in own.iterrows():
        if row["from"] != GENES:
            told = f"{row['gain']:+.3f} ({row['gain_low']:+.2f}, {row['gain_high']:+.2f})"
            y = top + 2 + (number + 0.5) * height - 1.2
            page.write(WIDTH_MM - 20, y, told, 20, fontsize=6)


def _draw_genes(page: Page, top: float, genes: pd.DataFrame) -> None:
    """Genes by how well they are predicted and by what they say of the question."""
    shares = shares_of_pcc(genes)
    told = (
        f"genes: {shares['overestimation']:.0%} of the mean PCC is overestimation, "
        f"{shares['housekeeping']:.0%} housekeeping"
    )
    page.write(RIGHT_MM, top - 6, told, WIDTH_MM - RIGHT_MM, fontsize=6.5)
    axes = page.panel(RIGHT_MM + 10, top - 1, WIDTH_MM - RIGHT_MM - 34, PANEL_MM / 2 - 9)
    relevance = (genes["relevance"] - genes["relevance_by_chance"].clip(lower=0)).clip(lower=0)
    for is_hk, colour, size in ((False, "0.55", 4), (True, COLOURS[OVERESTIMATION], 7)):
        own = genes["is_housekeeping"] == is_hk
        axes.scatter(
            genes.loc[own, "pcc"], relevance[own], s=size, c=colour, linewidths=0, clip_on=False,
            zorder=2 + is_hk,
        )  # fmt: skip
    axes.set_ylim(0, max(1.05 * relevance.max(), 0.02))
    axes.set_yscale("function", functions=(_root, np.square))
    ticks = [t for t in (0, 0.05, 0.2, 0.5, 1, 2) if t <= axes.get_ylim()[1]]
    axes.set_yticks(ticks)
    axes.yaxis.set_major_formatter(short_number)
    axes.axvline(0, color="0.8", linewidth=0.6, zorder=0)
    axes.tick_params(labelsize=6)
    axes.set_xlabel("PCC of the prediction", fontsize=6.5)
    axes.set_ylabel("relevance (nats)", fontsize=6.5)
    left = WIDTH_MM - 22
    page.swatch(left, top, COLOURS[OVERESTIMATION], 1.6)
    page.write(left + 2.4, top - 0.6, "housekeeping", 20, fontsize=6)
    page.swatch(left, top + 3.4, "0.55", 1.6)
    page.write(left + 2.4, top + 2.8, "other genes", 20, fontsize=6)


def _draw_tiles(
    page: Page,
    top: float,
    name: str,
    feature: str,
    ends: tuple[list[np.ndarray], list[np.ndarray]],
    tile_um: float,
) -> None:
    """Tiles at the low and at the high end of a feature, in a row."""
    page.swatch(0, top + 0.3, COLOURS[name])
    page.write(3.5, top, f"{name}: {feature}", 90, fontsize=7)
    edge_um = gallery_um(feature, tile_um)
    half = N_TILES * (TILE_MM + TILE_GAP_MM)
    for start, words, tiles in ((22.0, "low", ends[0]), (22.0 + half + 16, "high", ends[1])):
        page.write(start - 10, top + 5 + TILE_MM / 2 - 1, words, 9, fontsize=6.5, color="0.4")
        for number, tile in enumerate(tiles):
            left = start + number * (TILE_MM + TILE_GAP_MM)
            axes = page.panel(left, top + 4.2, TILE_MM, TILE_MM)
            axes.imshow(tile, interpolation="bilinear")
            middle = (tile.shape[1] - 1) / 2, (tile.shape[0] - 1) / 2
            radius = MARK_UM / edge_um * tile.shape[0]
            axes.add_patch(Circle(middle, radius, fill=False, edgecolor="white", linewidth=0.6))
            axes.set_axis_off()
    page.scale_bar(0, top + 4.2 + TILE_MM - 3, TILE_MM, edge_um)
