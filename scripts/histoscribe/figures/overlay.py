"""One gene over the section as if it were an immunostain: computed, and labelled so."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from histoscribe.figures.brown import BROWN, hematoxylin_scale, stained
from histoscribe.figures.gene_maps import Pictured
from histoscribe.figures.maps import (
    OVERSAMPLING,
    MappedUnits,
    averaged,
    draw_box,
    resized,
    show_window,
    unit_pixels,
)
from histoscribe.figures.panels import WIDTH_MM, Page
from histoscribe.figures.style import in_words, upper_cut
from histoscribe.figures.windows import Window, busiest_window

ZOOMS_UM = (400.0, 100.0)
ZOOM_UNITS = (30, 16)  # units across at least
PANEL_PX = 700
GAP_MM, LEFT_MM, TOP_MM, BELOW_MM, NOTE_MM = 2.5, 4.0, 10.5, 6.5, 4.0
ASPECT = (0.5, 1.5)
NAMES = {"predicted": "predicted (log1p)", "measured": "measured (log1p)"}


@dataclass(frozen=True)
class Overlaid:
    """A gene in a section: values (n_units,) by side, only of the sides that know it."""

    gene: str
    sample: str
    values: dict[str, np.ndarray]
    notes: list[str]


def overlay_windows(units: MappedUnits, values: np.ndarray, whole: Window) -> list[Window]:
    """The section and two zooms, each in the one before, where `values` are high and varied."""
    windows = [whole]
    for zoom_um, across in zip(ZOOMS_UM, ZOOM_UNITS, strict=True):
        edge_um = max(zoom_um, across * units.size_um)
        windows.append(busiest_window(units.xy_um, values, windows[-1], edge_um))
    return windows


def overlay_table(drawn: Overlaid, units: MappedUnits, windows: list[Window]) -> pd.DataFrame:
    """What is plotted: a row a unit, its place, the innermost window it lies in, and values."""
    zoom = np.zeros(len(units.xy_um), dtype=int)
    for number, window in enumerate(windows):
        zoom[window.holds(units.xy_um)] = number
    table = pd.DataFrame({"x_um": units.xy_um[:, 0], "y_um": units.xy_um[:, 1], "zoom": zoom})
    return table.assign(**drawn.values)


def draw_overlay(drawn: Overlaid, units: MappedUnits, pictures: list[Pictured]) -> Figure:
    """A row for each side, predicted and measured; the section and two zooms of it as columns.

    Brown runs from 0 to the 99th percentile of a side's values in the whole section.
    """
    sides = [side for side in NAMES if side in drawn.values]
    first = pictures[0].window
    ratio = np.clip(first.height_um / first.width_um, *ASPECT)
    free = WIDTH_MM - LEFT_MM - 2 * GAP_MM
    tall = free / (1 / ratio + 2)
    widths = [tall / ratio, tall, tall]
    lefts = LEFT_MM + np.cumsum([0, *(width + GAP_MM for width in widths[:2])])
    step = tall + BELOW_MM
    n_rows = max(len(sides), 1)
    page = Page(TOP_MM + n_rows * step + NOTE_MM + 3.0 * len(drawn.notes))
    page.write(0, 0.4, drawn.gene, 90, fontsize=9, fontstyle="italic", fontweight="bold")
    page.write(WIDTH_MM, 0.9, drawn.sample, 88, ha="right", fontsize=7.5, fontweight="bold")
    heads = [f"section, {in_words(first.width_um)} wide"]
    heads += [f"box, {in_words(picture.window.width_um)}" for picture in pictures[1:]]
    for left, width, words in zip(lefts, widths, heads, strict=True):
        page.write(left + width / 2, TOP_MM - 3.6, words, width, ha="center", fontsize=7)
    scale = hematoxylin_scale(pictures[0].image)
    shown_units = [
        unit_pixels(units, picture.window, OVERSAMPLING * PANEL_PX) for picture in pictures
    ]
    for row, side in enumerate(sides or [None]):
        top = TOP_MM + row * step
        values = None if side is None else drawn.values[side]
        page.write(
            LEFT_MM - 1.2, top + tall / 2, NAMES.get(side, "not drawn"),
            rotation=90, va="center", ha="right", fontsize=7.5,
        )  # fmt: skip
        for number, picture in enumerate(pictures):
            axes = page.panel(lefts[number], top, widths[number], tall)
            shown = 0.0 if values is None else values / upper_cut(values)
            levels = _levels(shown_units[number], np.broadcast_to(shown, len(units.xy_um)))
            axes.imshow(
                stained(resized(picture.image, levels.shape), scale, levels),
                extent=picture.window.extent, interpolation="antialiased",
            )  # fmt: skip
            show_window(axes, picture.window)
            if number + 1 < len(pictures):
                draw_box(axes, pictures[number + 1].window)
            below = top + tall + 1.2
            page.scale_bar(lefts[number], below, widths[number], picture.window.width_um)
        if values is not None:
            key = ScalarMappable(Normalize(0, upper_cut(values)), BROWN)
            page.colour_bar(lefts[2] + 0.45 * tall, top + tall + 1.2, 0.55 * tall, key)
    notes = [
        "Brown is computed from expression, not a stain: predicted from the H&E or counted, "
        "not immunohistochemistry. Blue: hematoxylin of the H&E.",
        *drawn.notes,
    ]
    top = TOP_MM + n_rows * step + 0.6
    for number, note in enumerate(notes):
        page.write(0, top + 3.0 * number, note, fontsize=6, color="0.35")
    return page.figure


def _levels(shown_unit: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The level at each pixel of the picture, 0 where no unit is."""
    at = np.append(np.clip(levels, 0, 1), 0.0)[shown_unit]
    return averaged(at[..., None])[..., 0]
