"""Maps of the scores of gene programs, measured above predicted, beside the H&E."""

import textwrap
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from histoscribe.figures.maps import draw_colour_bar, frame_map, nearest_units
from histoscribe.figures.style import FULL_WIDTH, MM, draw_scale_bar

PANEL_PX = 400
PROGRAMS_A_BAND = 4
TITLE_CHARACTERS = 21
CUTS = (1, 99)  # percentiles; scores are differences, so that a range does not begin at 0


def choose_programs(
    agreement: pd.DataFrame | None, scores: Mapping[str, pd.DataFrame], n_programs: int
) -> list[str]:
    """The programs to draw: those whose measured map is most signal, whatever the prediction says.

    By the ceiling of pooled scores (of single units where units stand too far apart) in the table
    of compare_programs; by the spread of the score where nothing was measured. In the order of
    the sets' files.
    """
    (first, *others) = scores.values()
    names = [name for name in first if all(name in other for other in others)]
    if agreement is not None and len(agreement):
        table = agreement.set_index("set")
        worth = table["ceiling_pooled"].fillna(table["ceiling"])
    else:
        worth = first.std()
    best = set(worth.reindex(names).sort_values(ascending=False, kind="stable").index[:n_programs])
    return [name for name in names if name in best]


def draw_program_maps(
    image: np.ndarray,
    extent_um: tuple[float, float, float, float],
    xy_um: np.ndarray,
    unit_um: float,
    scores: Mapping[str, pd.DataFrame],
    captions: Mapping[str, str],
) -> Figure:
    """Bands of four programs, the H&E at the left of each, a row of maps for each side.

    `image` (height, width, 3) covers `extent_um` (left, right, bottom, top); `scores` are frames
    (n_units, n_programs) by side ("measured", "predicted") of the same units, at `xy_um`
    (n_units, 2); `captions` words below the names. Each map has its own range, which ends at the
    1st and 99th percentile.
    """
    names = list(next(iter(scores.values())).columns)
    bands = [names[i : i + PROGRAMS_A_BAND] for i in range(0, len(names), PROGRAMS_A_BAND)] or [[]]
    width_um, height_um = abs(extent_um[1] - extent_um[0]), abs(extent_um[3] - extent_um[2])
    panel = FULL_WIDTH / (PROGRAMS_A_BAND + 2.25)
    band_height = max(len(scores), 1.6) * (panel * height_um / width_um + 5 * MM) + 10 * MM
    figure = plt.figure(figsize=(FULL_WIDTH, len(bands) * band_height))
    shape_px = (max(round(PANEL_PX * height_um / width_um), 1), PANEL_PX)
    shown_unit = nearest_units(xy_um, unit_um, extent_um, shape_px)
    subfigures = figure.subfigures(len(bands), 1, squeeze=False)[:, 0]
    for subfigure, shown in zip(subfigures, bands, strict=True):
        _draw_band(subfigure, image, extent_um, shown_unit, scores, shown, captions)
    return figure


def _draw_band(
    figure: SubFigure,
    image: np.ndarray,
    extent_um: tuple[float, float, float, float],
    shown_unit: np.ndarray,
    scores: Mapping[str, pd.DataFrame],
    names: list[str],
    captions: Mapping[str, str],
) -> None:
    ratios = [2.05] + [1] * PROGRAMS_A_BAND
    grid = figure.add_gridspec(len(scores), len(ratios), width_ratios=ratios)
    slide = figure.add_subplot(grid[:, 0])
    slide.imshow(image, extent=extent_um, interpolation="antialiased")
    slide.set_title("H&E")
    frame_map(slide, extent_um)
    draw_scale_bar(slide, abs(extent_um[1] - extent_um[0]))
    if not names:
        slide.text(1.1, 0.5, "no program could be scored", transform=slide.transAxes, va="center")
    for column, name in enumerate(names, 1):
        for row, (side, values) in enumerate(scores.items()):
            axes = figure.add_subplot(grid[row, column])
            _draw_map(axes, values[name].to_numpy(), shown_unit, extent_um)
            if column == 1:
                axes.set_ylabel(f"{side} (score)")
            if row == 0:
                title = textwrap.fill(name, TITLE_CHARACTERS)
                axes.set_title(title, pad=11, fontsize=7, linespacing=1.05)
                axes.text(
                    0.5, 1.02, captions.get(name, ""),
                    transform=axes.transAxes, ha="center", va="bottom", fontsize=6,
                )  # fmt: skip


def _draw_map(
    axes: Axes,
    values: np.ndarray,
    shown_unit: np.ndarray,
    extent_um: tuple[float, float, float, float],
) -> None:
    low, high = np.percentile(values, CUTS)
    shown = np.ma.masked_where(shown_unit < 0, values[shown_unit])
    drawn = axes.imshow(shown, extent=extent_um, vmin=low, vmax=max(high, low + 1e-6))
    frame_map(axes, extent_um)
    draw_colour_bar(axes, drawn)
