"""Maps of units in seconds: 100,000 of them as pixels, few of them as their outlines.

An image of which unit each pixel shows is made once a window, by the nearest unit or by scanning
outlines; every gene is then a look-up in it. Where outlines are few, they stay vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely
from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from PIL import Image
from scipy.spatial import cKDTree

from histoscribe.figures.windows import Window, window_of
from histoscribe.provenance import recall
from histoscribe.raster import scan_outlines

if TYPE_CHECKING:
    import anndata as ad

OVERSAMPLING = 2  # pixels along an edge that are averaged into one, so that edges are smooth
MIN_UNIT_PX = 4  # units narrower than that are drawn by their nearest pixels, not by outlines
MAX_VECTORS = 1500  # outlines that stay vectors in a panel
ROUND_PX = 6
NO_UNIT = -1
NO_VALUE = 0.62  # grey of units without a value
GROUND_FADED = 0.75


@dataclass(frozen=True)
class MappedUnits:
    """Where units lie, (n_units, 2) in um, and what they cover.

    `size_um` is the edge of a bin, the diameter of a spot, or about that of a nucleus;
    `outlines` (n_units,) are polygons in um where units have some.
    """

    xy_um: np.ndarray
    size_um: float
    is_round: bool = False
    outlines: np.ndarray | None = None

    def window(self) -> Window:
        """The window that holds all units whole."""
        reach = self.size_um if self.outlines is not None else self.size_um / 2
        return window_of(self.xy_um, reach)


def mapped_units(units: ad.AnnData, nuclei: gpd.GeoDataFrame | None) -> MappedUnits:
    """The units of a section, with their outlines from `nuclei` where there are such."""
    facts = recall(units.uns)
    outlines = None
    if nuclei is not None:
        outlines = np.asarray(nuclei.geometry.loc[units.obs_names])
    xy_um = np.asarray(units.obsm["spatial"], dtype=np.float64)
    return MappedUnits(xy_um, facts["unit_size_um"], facts["unit_shape"] == "circle", outlines)


def unit_pixels(units: MappedUnits, window: Window, longest_px: int) -> np.ndarray:
    """The unit that each pixel of a window shows, (height_px, width_px); -1 where there is none.

    Outlines are scanned where they are wide enough to be seen; else a pixel shows the nearest
    unit, if that is near enough.
    """
    shape = window.shape_px(longest_px)
    step = max(window.width_um / shape[1], window.height_um / shape[0])
    if units.outlines is not None and units.size_um >= MIN_UNIT_PX * step:
        return _outlined_units(units.outlines, window, shape)
    return nearest_units(units.xy_um, units.size_um, window.extent, shape, units.is_round)


def nearest_units(
    xy_um: np.ndarray,
    unit_um: float,
    extent_um: tuple[float, float, float, float],
    shape_px: tuple[int, int],
    is_round: bool = False,
) -> np.ndarray:
    """The unit whose centre is nearest to each pixel's, (height_px, width_px); -1 for none.

    `extent_um` is left, right, bottom, top. A unit reaches half its diagonal far, so that bins
    leave no gaps whatever the angle of their grid; a round one half its diameter; and a pixel at
    least, so that none is lost.
    """
    left, right, bottom, top = extent_um
    rows, columns = shape_px
    step_x, step_y = (right - left) / columns, (bottom - top) / rows
    x = left + (np.arange(columns) + 0.5) * step_x
    y = top + (np.arange(rows) + 0.5) * step_y
    reach = max(unit_um * (0.5 if is_round else np.sqrt(0.5)), step_x, step_y)
    pixels = np.stack(np.meshgrid(x, y), axis=-1)
    distance, unit = cKDTree(xy_um).query(pixels, distance_upper_bound=reach)
    return np.where(np.isfinite(distance), unit, NO_UNIT)


def _outlined_units(outlines: np.ndarray, window: Window, shape: tuple[int, int]) -> np.ndarray:
    """By outlines: a pixel shows the one its centre lies in, the last of several."""
    shown = np.full(shape, NO_UNIT, dtype=np.int64)
    near = np.sort(shapely.STRtree(outlines).query(shapely.box(*window.bounds)))
    if not len(near):
        return shown
    parts, owner = shapely.get_parts(outlines[near], return_index=True)
    points, ring = shapely.get_coordinates(shapely.get_exterior_ring(parts), return_index=True)
    step = np.array([window.width_um / shape[1], window.height_um / shape[0]])
    points = np.round((points - window.bounds[:2]) / step, ROUND_PX)
    row, column, owner = scan_outlines(points, owner[ring], ring, ROUND_PX)
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    shown[row[inside], column[inside]] = near[owner[inside]]
    return shown


def coloured(
    shown_unit: np.ndarray, values: np.ndarray, low: float, high: float, cmap: str | None = None
) -> np.ndarray:
    """The map as an image, (height_px / 2, width_px / 2, 4) from 0 to 1, clear without units.

    Units whose value is NaN are grey. Pixels are averaged two by two, colours by the share of the
    pixel that units cover.
    """
    table = colormaps[cmap or rcParams["image.cmap"]](np.linspace(0, 1, 256))[:, :3]
    table = np.vstack([table, np.full(3, NO_VALUE)])
    level = np.round(np.clip((values - low) / (high - low), 0, 1) * 255)
    level = np.where(np.isfinite(level), level, 256)
    colour = np.append(level, 0).astype(np.int64)[shown_unit]
    covered = (shown_unit >= 0).astype(np.float64)
    paint = np.dstack([table[colour] * covered[..., None], covered])
    paint = averaged(paint)
    with np.errstate(invalid="ignore"):
        paint[..., :3] = np.where(paint[..., 3:] > 0, paint[..., :3] / paint[..., 3:], 1)
    return paint


def averaged(image: np.ndarray) -> np.ndarray:
    """Blocks of OVERSAMPLING pixels in both directions as their mean."""
    rows, columns = (n // OVERSAMPLING for n in image.shape[:2])
    cut = image[: rows * OVERSAMPLING, : columns * OVERSAMPLING]
    return cut.reshape(rows, OVERSAMPLING, columns, OVERSAMPLING, -1).mean(axis=(1, 3))


def draw_units(
    axes: Axes,
    units: MappedUnits,
    values: np.ndarray,
    window: Window,
    limits: tuple[float, float],
    longest_px: int = 500,
    cmap: str | None = None,
    shown_unit: np.ndarray | None = None,
) -> ScalarMappable:
    """Units of a window coloured by value, on what the axes show already; what a bar needs.

    `values` (n_units,); `limits` are the ends of the colours; `shown_unit` of `unit_pixels` at
    twice `longest_px`, where it is at hand.
    """
    colours = colormaps[cmap or rcParams["image.cmap"]].with_extremes(bad=str(NO_VALUE))
    key = ScalarMappable(Normalize(*limits), colours)
    few = _few_outlines(units, window)
    if few is not None:
        parts, owner = shapely.get_parts(units.outlines[few], return_index=True)
        rings = [shapely.get_coordinates(r) for r in shapely.get_exterior_ring(parts)]
        axes.add_collection(
            PolyCollection(
                rings, facecolors=key.to_rgba(values[few][owner]), edgecolors="white",
                linewidths=0.12,
            )
        )  # fmt: skip
    else:
        if shown_unit is None:
            shown_unit = unit_pixels(units, window, OVERSAMPLING * longest_px)
        axes.imshow(
            coloured(shown_unit, values, *limits, cmap),
            extent=window.extent, interpolation="antialiased",
        )  # fmt: skip
    show_window(axes, window)
    return key


def _few_outlines(units: MappedUnits, window: Window) -> np.ndarray | None:
    """The units in a window whose outlines are few enough to stay vectors; None for others."""
    if units.outlines is None or units.size_um < max(window.width_um, window.height_um) / 150:
        return None
    near = np.sort(shapely.STRtree(units.outlines).query(shapely.box(*window.bounds)))
    return near if len(near) <= MAX_VECTORS else None


def show_window(axes: Axes, window: Window) -> None:
    """Exactly the window, with neither ticks nor frame."""
    axes.set_xlim(window.left, window.right)
    axes.set_ylim(window.bottom, window.top)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def draw_box(axes: Axes, window: Window, colour: str = "black", linewidth: float = 0.8) -> None:
    """A rectangle around a window, with a light line that parts it from dark ground."""
    for line, width in (("white", 2.2 * linewidth), (colour, linewidth)):
        axes.add_patch(
            Rectangle(
                (window.left, window.top), window.width_um, window.height_um,
                fill=False, ec=line, lw=width, zorder=3, clip_on=False,
            )
        )  # fmt: skip


def resized(image: np.ndarray, shape_px: tuple[int, int]) -> np.ndarray:
    """An RGB image with another number of pixels, of the same extent."""
    size = shape_px[1], shape_px[0]
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def ground(image: np.ndarray, paleness: float = GROUND_FADED) -> np.ndarray:
    """An RGB image in pale grey, so that colours upon it are read, and none of them is its own."""
    grey = image @ np.array([0.299, 0.587, 0.114])
    pale = np.round(grey + paleness * (255.0 - grey)).astype(np.uint8)
    return np.repeat(pale[..., None], 3, axis=-1)


def frame_map(axes: Axes, extent_um: tuple[float, float, float, float]) -> None:
    """Show `extent_um` (left, right, bottom, top) in true proportions, without ticks or frame."""
    axes.set_xlim(extent_um[0], extent_um[1])
    axes.set_ylim(extent_um[2], extent_um[3])
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def draw_colour_bar(axes: Axes, drawn: ScalarMappable) -> None:
    """A slim colour bar below a map."""
    bar = axes.figure.colorbar(
        drawn, ax=axes, orientation="horizontal", shrink=0.75, aspect=20, pad=0.02
    )
    bar.outline.set_linewidth(0)
    bar.ax.tick_params(length=1.5, labelsize=5.5, pad=1.5)
    bar.ax.locator_params(nbins=3)
