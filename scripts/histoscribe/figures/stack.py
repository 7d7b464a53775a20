"""Stacked sections: as given, in one frame, and in 3D."""

import textwrap

import anndata as ad
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.transforms import Affine2D
from scipy import ndimage

from histoscribe.figures.integration import (
    domain_colours,
    draw_legend,
    mapped_positions,
    section_colours,
)
from histoscribe.figures.maps import MappedUnits, averaged, unit_pixels
from histoscribe.figures.panels import WIDTH_MM, Page
from histoscribe.figures.style import in_words
from histoscribe.figures.types import paint_types
from histoscribe.figures.windows import Window, window_of

OVERVIEW_MM = 86.0  # height of the upper half
NAMES_MM = 17.0  # beside the stack seen from the side,
SIDE_MM = 72.0  # which is as wide as this
OUTLINES_MM = 33.0
GAP_MM = 4.0
A_ROW = 3  # sections
LINE_MM = 3.0
N_LINES = 4  # of words below a section
LETTERS = 44  # in such a line
LAYER_PX = 600
OUTLINE_PX = 250
RIM_PX = 3
TURNED_DEG = -30.0  # how far the stack is turned before it is seen from the side,
FLATTENED = 0.45  # and how much of its front to back that leaves
APART = 0.55  # from layer to layer, of a layer's height; less where there are many
HIGHEST = 2.2  # all that in sum
WARNING = "#B2182B"


def stacked_units(stack: ad.AnnData) -> pd.DataFrame:
    """What the figure shows, a row a unit.

    section, unit, domain, is_placed; x_um and y_um as given; stack_x_um to stack_z_um.
    """
    table = stack.obs[["section", "unit", "domain", "is_placed"]].copy()
    table["domain"] = table["domain"].astype(str)
    table[["x_um", "y_um"]] = stack.obsm["spatial"]
    table[["stack_x_um", "stack_y_um", "stack_z_um"]] = stack.obsm["spatial_3d"]
    return table.reset_index(drop=True)


def draw_stack(shown: pd.DataFrame, alignments: pd.DataFrame, title: str) -> Page:
    """The page of one stack; `shown` of stacked_units, `alignments` as stack_sections writes it."""
    own = {name: shown[shown["section"] == name] for name in alignments["section"]}
    given = {
        name: mapped_positions(units[["x_um", "y_um"]].to_numpy()) for name, units in own.items()
    }
    placed = {
        name: mapped_positions(units[["stack_x_um", "stack_y_um"]].to_numpy())
        for name, units in own.items()
        if units["is_placed"].all()
    }
    domains = {name: units["domain"] for name, units in own.items()}
    by_domain = domain_colours(sorted(shown["domain"].unique(), key=int))
    by_section = section_colours(list(own))
    frame = around(placed)
    column = (WIDTH_MM - (A_ROW - 1) * 2 * GAP_MM) / A_ROW
    panel = (column - GAP_MM) / 2
    windows = {name: units.window() for name, units in given.items()}
    maps_mm = max(_fitted(panel, window)[1] for window in (frame, *windows.values()))
    row_mm = 8 + maps_mm + 6 + N_LINES * LINE_MM + 4
    page = Page(OVERVIEW_MM + -(-len(own) // A_ROW) * row_mm)
    page.write(0, 0, title, WIDTH_MM, fontsize=8, fontweight="bold")
    _draw_side(page, placed, domains, alignments, frame, by_domain)
    _draw_outlines(page, 7, "outlines as given", given, around(given), by_section)
    _draw_outlines(page, 47, "outlines aligned", placed, frame, by_section)
    left = NAMES_MM + SIDE_MM + OUTLINES_MM + 3 * GAP_MM
    draw_legend(page, left, 7, "section", list(own), by_section)
    draw_legend(page, left + 25, 7, "domain", list(by_domain), by_domain)
    reference = alignments.loc[alignments["aligned_to"] == "", "section"].iloc[0]
    for place, row in enumerate(alignments.itertuples()):
        left = place % A_ROW * (column + 2 * GAP_MM)
        top = OVERVIEW_MM + place // A_ROW * row_mm
        name = row.section
        page.write(left, top, name, column, fontsize=7, fontweight="bold")
        page.write(left, top + 4, "as given", panel, fontsize=6, color="0.4")
        _draw_map(page, left, top + 8, panel, given[name], domains[name], windows[name], by_domain)
        if name in placed:
            right = left + panel + GAP_MM
            page.write(right, top + 4, "in the stack", panel, fontsize=6, color="0.4")
            axes = _draw_map(
                page, right, top + 8, panel, placed[name], domains[name], frame, by_domain
            )
            draw_outline(axes, placed[reference], frame, "black")
        words, colour = words_about(row, given[name], placed.get(name))
        for line, text in enumerate(words):
            y = top + 8 + maps_mm + 6 + line * LINE_MM
            page.write(left, y, text, column, fontsize=5.5, color=colour)
    return page


def words_about(
    row: tuple, given: MappedUnits, placed: MappedUnits | None
) -> tuple[list[str], str]:
    """What a row of the alignments says, in at most four lines, and in which colour."""
    if placed is None:
        return textwrap.wrap(f"not placed: {row.doubt}", LETTERS)[:N_LINES], WARNING
    if row.aligned_to == "":
        return ["the reference, whose frame this is"], "0.25"
    moved_um = np.linalg.norm(placed.xy_um.mean(axis=0) - given.xy_um.mean(axis=0))
    mirrored = "mirrored, " if row.is_reflected else ""
    bent = f"bent by up to {row.largest_warp_um:.0f} µm" if row.largest_warp_um else "not bent"
    before = "they do not meet" if np.isnan(row.domains_before) else f"{row.domains_before:.0%}"
    return [
        f"{mirrored}turned by {row.rotation_deg:z.0f}°, moved by {in_words(moved_um)}",
        f"{bent}; latents correlate: {row.score:.2f}",
        f"same domain as nearest unit of {row.aligned_to}: {row.domains_after:.0%}",
        f"(by chance {row.domains_by_chance:.0%}; as given {before})",
    ], "0.25"


def around(units: dict[str, MappedUnits]) -> Window:
    """The window that holds all sections."""
    windows = [own.window() for own in units.values()]
    corners = np.array([window.bounds for window in windows]).reshape(-1, 2)
    return window_of(corners, 0.0)


def from_the_side(frame: Window, lift_um: float) -> Affine2D:
    """Where places of a layer of the stack are seen, `lift_um` above the lowest layer."""
    centre = (frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2
    turned = Affine2D().rotate_deg_around(*centre, TURNED_DEG)
    return turned.scale(1, FLATTENED).translate(0, -lift_um)


def draw_outline(axes: Axes, units: MappedUnits, window: Window, colour: str) -> None:
    """A line around a section's tissue, holes too small to see left out."""
    covered = unit_pixels(units, window, OUTLINE_PX) >= 0
    covered = ndimage.binary_closing(np.pad(covered, RIM_PX), iterations=RIM_PX)
    covered = ndimage.binary_fill_holes(covered)
    rows, columns = covered.shape
    step_x = window.width_um / (columns - 2 * RIM_PX)
    step_y = window.height_um / (rows - 2 * RIM_PX)
    x = window.left + (np.arange(columns) + 0.5 - RIM_PX) * step_x
    y = window.top + (np.arange(rows) + 0.5 - RIM_PX) * step_y
    axes.contour(x, y, covered, levels=[0.5], colors=[colour], linewidths=0.7)


def _draw_side(
    page: Page,
    placed: dict[str, MappedUnits],
    domains: dict[str, pd.Series],
    alignments: pd.DataFrame,
    frame: Window,
    colours: dict[str, str],
) -> None:
    """All layers from the lowest up, with their names."""
    page.write(0, 7, "the stack from the side, first section below, not to scale in depth",
               NAMES_MM + SIDE_MM, fontsize=7)  # fmt: skip
    n_layers = len(alignments)
    corners = np.array([[x, y] for x in frame.extent[:2] for y in frame.extent[2:]])
    flat = from_the_side(frame, 0.0).transform(corners)
    (left, top), (right, bottom) = flat.min(axis=0), flat.max(axis=0)
    lift_um = (bottom - top) * min(APART, HIGHEST / max(n_layers - 1, 1))
    seen = Window(left, top - lift_um * (n_layers - 1), right, bottom)
    width, height = _fitted(SIDE_MM, seen, OVERVIEW_MM - 18)
    axes = page.panel(NAMES_MM + (SIDE_MM - width) / 2, 12, width, height)
    mm_per_um = height / seen.height_um
    free = np.inf
    for number, row in enumerate(alignments.itertuples()):
        if row.section in placed:
            image = _layer(placed[row.section], domains[row.section], frame, colours)
            axes.imshow(
                image, extent=frame.extent, interpolation="antialiased", zorder=number + 1,
                transform=from_the_side(frame, number * lift_um) + axes.transData,
            )  # fmt: skip
        middle = 12 + ((top + bottom) / 2 - number * lift_um - seen.top) * mm_per_um
        if middle <= free - 2 * LINE_MM:
            note = in_words(row.depth_um) if row.section in placed else "not placed"
            colour = "0.4" if row.section in placed else WARNING
            page.write(0, middle - LINE_MM, row.section, NAMES_MM - 1, fontsize=6.5)
            page.write(0, middle, note, NAMES_MM - 1, fontsize=6, color=colour)
            free = middle
    axes.set_xlim(seen.left, seen.right)
    axes.set_ylim(seen.bottom, seen.top)
    axes.axis("off")


def _layer(
    units: MappedUnits, domains: pd.Series, frame: Window, colours: dict[str, str]
) -> np.ndarray:
    """A section as an image of the frame (height_px, width_px, 4), its rim darkened."""
    shown = unit_pixels(units, frame, LAYER_PX)
    covered = shown >= 0
    table = np.array([to_rgb(colours[name]) for name in domains])
    paint = np.ones((*shown.shape, 4))
    paint[covered, :3] = table[shown[covered]]
    rim = covered & ~ndimage.binary_erosion(covered, iterations=RIM_PX)
    paint[rim, :3] *= 0.35
    paint[..., 3] = covered
    return averaged(paint)


def _draw_outlines(
    page: Page,
    top: float,
    words: str,
    units: dict[str, MappedUnits],
    window: Window,
    colours: dict[str, str],
) -> None:
    left = NAMES_MM + SIDE_MM + GAP_MM
    page.write(left, top, words, OUTLINES_MM, fontsize=7)
    width, height = _fitted(OUTLINES_MM, window, 28)
    axes = page.panel(left, top + 4, width, height)
    for name, own in units.items():
        draw_outline(axes, own, window, colours[name])
    _frame_only(axes, window)
    page.scale_bar(left, top + 4.8 + height, width, window.width_um)


def _draw_map(
    page: Page,
    left: float,
    top: float,
    panel: float,
    units: MappedUnits,
    domains: pd.Series,
    window: Window,
    colours: dict[str, str],
) -> Axes:
    width, height = _fitted(panel, window)
    axes = page.panel(left, top, width, height)
    paint_types(axes, units, domains, window, colours)
    page.scale_bar(left, top + 0.8 + height, width, window.width_um)
    return axes


def _frame_only(axes: Axes, window: Window) -> None:
    axes.set_xlim(window.left, window.right)
    axes.set_ylim(window.bottom, window.top)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _fitted(width: float, window: Window, highest: float | None = None) -> tuple[float, float]:
    """Width and height in mm at which a window fits a place of `width`, a little higher at most."""
    highest = 1.3 * width if highest is None else highest
    height = min(width * window.height_um / window.width_um, highest)
    return height * window.width_um / window.height_um, height
