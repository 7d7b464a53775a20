"""Measured against predicted cell types: maps, zones, shares and confusion.

Wen et al. 2025, figure 3: spatial types, proportions as bars and pies, the confusion matrix.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import ndimage

from histoscribe.figures.maps import MappedUnits, draw_box, show_window, unit_pixels
from histoscribe.figures.panels import WIDTH_MM, Page, name_ticks
from histoscribe.figures.types import UNNAMED_COLOUR, paint_types
from histoscribe.figures.windows import Window

MAX_CLASSES = 10
ZONE_UM = 25.0  # zones of nuclei are smoothed by it, so that their outlines are no lace
ZONE_UNITS = 1.5  # those of bins and spots by so many of their widths
LEAST_WEIGHT = 1e-4  # of smoothed units: less is outside the tissue
ZONE_PX = 260
PANEL_MM = 57.0
GAP_MM = (WIDTH_MM - 3 * PANEL_MM) / 2
CLASS_ROW_MM, PIE_ROW_MM = 4.4, 19.0
CELL_MM, NUMBERED_MM = 6.2, 3.6  # of the confusion matrix; smaller cells hold no numbers
CLASS_NAME_MM = 22.0
DARK = 0.55  # share from which numbers are white


@dataclass(frozen=True)
class Sides:
    """Broad classes of the same units, (n_units,) each: by side's name, the measured one first."""

    units: MappedUnits
    classes: dict[str, pd.Series]


def draw_agreement(
    sides: Sides,
    images: dict[str, np.ndarray],
    windows: dict[str, Window],
    confusion: pd.DataFrame,
    proportions: pd.DataFrame,
    scores: pd.DataFrame,
    colours: dict[str, str],
    title: str,
) -> Page:
    """H&E, measured and predicted classes, whole and at one zoom with zones; shares; confusion.

    `images` and `windows` by "whole" and "zoom"; `confusion`, `proportions` and `scores` are the
    tables of compare_annotation at the level of broad classes.
    """
    whole, zoom = windows["whole"], windows["zoom"]
    heights = [min(PANEL_MM * w.height_um / w.width_um, 1.3 * PANEL_MM) for w in (whole, zoom)]
    classes = list(proportions["label"])[:MAX_CLASSES]
    references = list(dict.fromkeys(confusion["against"]))
    matrix_rows = max((len(_matrix(confusion, name)[0]) for name in references), default=0)
    below = 13 + sum(heights) + 18
    bottom = max(
        34 + CLASS_ROW_MM * len(classes),
        8 + PIE_ROW_MM * len(_sides(proportions)),
        13 + CELL_MM * matrix_rows + CLASS_NAME_MM + 6,
    )
    page = Page(below + bottom)
    page.write(0, 0, title, WIDTH_MM, fontsize=8, fontweight="bold")
    names = ["H&E", *(f"{name} broad classes" for name in sides.classes)]
    tops = (10.0, 10 + heights[0] + 8)
    for column, name in enumerate(names[:3]):
        left = column * (PANEL_MM + GAP_MM)
        page.write(left, 5.5, name, PANEL_MM)
        for key, top, height in zip(("whole", "zoom"), tops, heights, strict=True):
            window = windows[key]
            axes = page.panel(left, top, height * window.width_um / window.height_um, height)
            if column == 0:
                axes.imshow(images[key], extent=window.extent, interpolation="antialiased")
                show_window(axes, window)
            else:
                side = list(sides.classes)[column - 1]
                paint_types(axes, sides.units, sides.classes[side], window, colours)
            if key == "whole":
                draw_box(axes, zoom)
            else:
                _draw_zones(axes, sides.units, sides.classes, window)
    for window, top, height in zip((whole, zoom), tops, heights, strict=True):
        page.scale_bar(
            0, top + height + 1, height * window.width_um / window.height_um, window.width_um
        )
    page.write(
        PANEL_MM + GAP_MM, tops[1] + heights[1] + 1,
        "black lines: zones of measured classes; pale grey: no class", fontsize=6, color="0.4",
    )  # fmt: skip
    _draw_proportions(page, below, proportions, classes, colours)
    named = {name: f"predicted against {name}" for name in references}
    draw_confusions(page, below, confusion, named, scores)
    return page


def zones(units: MappedUnits, classes: pd.Series, window: Window) -> tuple[np.ndarray, list[str]]:
    """The class that prevails around each pixel of a window, and the names of its numbers.

    (height_px, width_px); -1 where no unit of a class is near.
    """
    names = sorted(set(classes.dropna().astype(str)))
    code = pd.Categorical(classes.astype(object), categories=names).codes
    shown = unit_pixels(units, window, ZONE_PX)
    label = np.where(shown >= 0, code[shown], -1)
    step_um = window.width_um / shown.shape[1]
    smooth_um = ZONE_UNITS * units.size_um if units.outlines is None else ZONE_UM
    weight = np.stack(
        [
            ndimage.gaussian_filter((label == i).astype(np.float32), smooth_um / step_um)
            for i in range(len(names))
        ]
        or [np.zeros(shown.shape, dtype=np.float32)]
    )
    return np.where(weight.max(axis=0) > LEAST_WEIGHT, weight.argmax(axis=0), -1), names


def _draw_zones(
    axes: Axes, units: MappedUnits, classes: dict[str, pd.Series], window: Window
) -> None:
    prevailing, names = zones(units, next(iter(classes.values())), window)
    rows, columns = prevailing.shape
    x = window.left + (np.arange(columns) + 0.5) * window.width_um / columns
    y = window.top + (np.arange(rows) + 0.5) * window.height_um / rows
    for number in range(len(names)):
        inside = prevailing == number
        if inside.any() and not inside.all() and min(inside.shape) > 1:
            axes.contour(x, y, inside, levels=[0.5], colors="black", linewidths=0.6)
    show_window(axes, window)


def _draw_proportions(
    page: Page, top: float, proportions: pd.DataFrame, classes: list[str], colours: dict[str, str]
) -> None:
    """Bars and a pie a side."""
    sides = _sides(proportions)
    page.write(0, top, "shares of broad classes", fontweight="bold")
    shown = proportions.set_index("label").reindex(classes)[sides].fillna(0.0)
    shown.loc["other"] = np.maximum(1 - shown.sum(), 0)
    rows = [name for name in shown.index if name != "other" or shown.loc[name].max() > 0.0005]
    height = CLASS_ROW_MM * len(rows)
    axes = page.panel(30, top + 5, 34, height)
    step = 0.8 / len(sides)
    shades = ("0.25", "0.55", "0.8")
    for number, side in enumerate(sides):
        place = np.arange(len(rows)) - 0.4 + step * (number + 0.5)
        axes.barh(
            place, 100 * shown.loc[rows, side], height=0.92 * step, color=shades[number % 3],
            label=side,
        )  # fmt: skip
    axes.set_yticks([])
    for place, name in enumerate(rows):
        y = top + 5 + CLASS_ROW_MM * (place + 0.5)
        page.swatch(0, y - 1.1, _colour(name, colours))
        page.write(3.5, y, name, 25, fontsize=6.5, va="center")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("% of units")
    axes.legend(loc="lower right", fontsize=5.5, handlelength=1)
    for number, side in enumerate(sides):
        pie = page.panel(68, top + 4 + PIE_ROW_MM * number, 17, 17)
        pie.pie(
            shown.loc[rows, side].to_numpy(), colors=[_colour(name, colours) for name in rows],
            startangle=90, counterclock=False, wedgeprops={"linewidth": 0.3, "edgecolor": "white"},
        )  # fmt: skip
        page.write(76.5, top + 20.5 + PIE_ROW_MM * number, side, 20, fontsize=6, ha="center")


def draw_confusions(
    page: Page,
    top: float,
    confusion: pd.DataFrame,
    references: dict[str, str],
    scores: pd.DataFrame,
) -> None:
    """A matrix for each of the named references, side by side, with its scores in words."""
    if not references:
        return
    left, width = 92.0, WIDTH_MM - 92.0
    each = width / len(references)
    for number, (name, title) in enumerate(references.items()):
        rows, columns, share, _ = _matrix(confusion, name)
        x = left + number * each
        page.write(x, top, title, each - 2, fontweight="bold")
        row = scores[scores["reference"] == name].iloc[0]
        for line, words in enumerate(score_words(row)):
            page.write(x, top + 4 + 3 * line, words, each - 2, fontsize=6, color="0.3")
        edge = min(CELL_MM, (each - CLASS_NAME_MM - 2) / max(len(columns), 1))
        axes = page.panel(x + CLASS_NAME_MM, top + 11.5, edge * len(columns), edge * len(rows))
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, j in np.ndindex(share.shape):
            if share[i, j] >= 0.005 and edge >= NUMBERED_MM:
                axes.text(
                    j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=5,
                    color="white" if share[i, j] > DARK else "black",
                )  # fmt: skip
        axes.set_yticks(range(len(rows)))
        axes.set_xticks(range(len(columns)), columns, rotation=90)
        for axis, names in ((axes.yaxis, rows), (axes.xaxis, columns)):
            name_ticks(axis, names, CLASS_NAME_MM - 2, 5.5)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted (% of row)", fontsize=6)


def score_words(row: pd.Series) -> list[str]:
    """The scores of one comparison, a line each."""
    lines = []
    if np.isfinite(row["accuracy"]):
        lines.append(f"accuracy {row['accuracy']:.0%}, by chance {row['accuracy_by_chance']:.0%}")
    return [*lines, f"ARI {row['ari']:.2f}, NMI {row['nmi']:.2f}"]


def _matrix(
    confusion: pd.DataFrame, against: str
) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Names of the rows and columns of one reference, shares of each row, and units."""
    part = confusion[confusion["against"] == against]
    counts = part.pivot(index="reference", columns="predicted", values="n_units").fillna(0)
    rows = list(counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:MAX_CLASSES])
    falling = counts.sum().sort_values(ascending=False, kind="stable").index
    columns = [name for name in rows if name in counts.columns]
    columns += [name for name in falling if name not in columns][: MAX_CLASSES - len(columns)]
    units = counts.loc[rows, columns].to_numpy()
    whole = counts.loc[rows].sum(axis=1).to_numpy()[:, None]
    return rows, columns, units / np.maximum(whole, 1), units


def _sides(proportions: pd.DataFrame) -> list[str]:
    return [c for c in proportions.columns if c not in ("label", "level")]


def _colour(name: str, colours: dict[str, str]) -> str:
    return colours.get(name, UNNAMED_COLOUR)
