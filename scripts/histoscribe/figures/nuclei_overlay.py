"""Nuclei over the H&E at three zooms: does the segmentation look right?"""

import geopandas as gpd
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import shapely
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy import ndimage

from histoscribe.figures.maps import draw_box, ground, show_window
from histoscribe.figures.style import FULL_WIDTH, MM, draw_scale_bar
from histoscribe.figures.windows import Window, places_within

ZOOMS_UM = (400.0, 100.0)
MAX_OUTLINES = 4000  # more of them on one panel are a smear: their density is drawn instead
DENSITY_UM = 50.0
TYPICAL_PERCENTILE = 75


def choose_windows(
    centre_um: np.ndarray, size_um: tuple[float, float], zooms_um: tuple[float, ...] = ZOOMS_UM
) -> list[Window]:
    """The whole image and a window for each zoom, each within the one before.

    `centre_um` (n_nuclei, 2). A window holds about as many nuclei as the 75th percentile of all
    places that hold any: neither the densest nor the emptiest.
    """
    windows = [Window(0.0, 0.0, *map(float, size_um))]
    for zoom_um in zooms_um:
        outer = windows[-1]
        corner, (width, height) = places_within(outer, zoom_um)
        counts = _counts(centre_um, *corner.T, width, height)
        held = counts[counts > 0]
        wanted = np.percentile(held, TYPICAL_PERCENTILE) if len(held) else 0
        best = int(np.argmin(np.abs(counts - wanted)))
        left, top = (float(v) for v in corner[best])
        windows.append(Window(left, top, left + width, top + height))
    return windows


def _counts(
    centre_um: np.ndarray, left: np.ndarray, top: np.ndarray, width: float, height: float
) -> np.ndarray:
    """Points in each of many rectangles of one size."""
    tree = shapely.STRtree(shapely.points(centre_um))
    boxes = shapely.box(left, top, left + width, top + height)
    in_box, _ = tree.query(boxes, predicate="intersects")
    return np.bincount(in_box, minlength=len(boxes))


def overlay_table(
    nuclei: gpd.GeoDataFrame, windows: list[Window], tissue: np.ndarray | None
) -> pd.DataFrame:
    """One row a window: its place, nuclei in it, their density and median area.

    Density is per mm2 of `tissue` (polygons in um) where that is given, of the nuclei that lie on
    it, else of the window; NaN where the window shows no tissue.
    """
    centre_um = shapely.get_coordinates(shapely.centroid(np.asarray(nuclei.geometry)))
    area_um2 = nuclei["area_um2"].to_numpy()
    whole = None if tissue is None else shapely.union_all(tissue)
    on_tissue = np.ones(len(centre_um), dtype=bool)
    if whole is not None:
        shapely.prepare(whole)
        on_tissue = shapely.intersects_xy(whole, *centre_um.T)
    rows = []
    for number, window in enumerate(windows):
        inside = window.holds(centre_um)
        box = shapely.box(*window.bounds)
        covered_um2 = shapely.area(box if whole is None else shapely.intersection(box, whole))
        rows.append(
            {
                "zoom": number,
                "left_um": window.left,
                "top_um": window.top,
                "width_um": window.width_um,
                "height_um": window.height_um,
                "n_nuclei": int(inside.sum()),
                "nuclei_per_mm2": (
                    (inside & on_tissue).sum() / covered_um2 * 1e6 if covered_um2 else np.nan
                ),
                "median_area_um2": np.median(area_um2[inside]) if inside.any() else np.nan,
            }
        )
    return pd.DataFrame(rows)


def draw_nuclei(
    images: list[np.ndarray],
    windows: list[Window],
    outlines: np.ndarray,
    table: pd.DataFrame,
    colours: dict[str, str],
) -> Figure:
    """The whole section, then each zoom, with outlines; boxes show where the next zoom lies.

    `images` (height, width, 3), one a window; `outlines` (n_nuclei,) polygons in um; `table` from
    `overlay_table`; `colours` has outline and zoom. Where outlines are too many to be seen, their
    density is drawn.
    """
    ratio = max(window.height_um / window.width_um for window in windows)
    size = (FULL_WIDTH, min(FULL_WIDTH / len(windows) * ratio + 14 * MM, 220 * MM))
    figure, panels = plt.subplots(1, len(windows), figsize=size, squeeze=False)
    tree = shapely.STRtree(outlines)
    for number, (axes, image, window) in enumerate(zip(panels[0], images, windows, strict=True)):
        shown = outlines[np.sort(tree.query(shapely.box(*window.bounds)))]
        few = len(shown) <= MAX_OUTLINES
        axes.imshow(
            image if few else ground(image, 0.5), extent=window.extent, interpolation="antialiased"
        )
        if few:
            _draw_outlines(axes, shown, colours["outline"], 0.35 * max(number, 0.7))
        else:
            _draw_density(axes, shown, window)
        if number + 1 < len(windows):
            draw_box(axes, windows[number + 1], colours["zoom"], 1.2)
        row = table.iloc[number]
        axes.set_title(
            f"{row['n_nuclei']:,.0f} nuclei, {_per_mm2(row['nuclei_per_mm2'])}\n"
            f"median area {row['median_area_um2']:.0f} µm²"
        )
        show_window(axes, window)
        draw_scale_bar(axes, window.width_um)
    return figure


def _per_mm2(density: float) -> str:
    return f"{density:,.0f} per mm²" if np.isfinite(density) else "no tissue"


def _draw_outlines(axes: Axes, outlines: np.ndarray, colour: str, linewidth: float) -> None:
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_exterior_ring(outlines)]
    # Dark below light: seen on pink as on purple.
    axes.add_collection(LineCollection(rings, colors="black", linewidths=1.8 * linewidth))
    axes.add_collection(LineCollection(rings, colors=colour, linewidths=linewidth))


def _draw_density(axes: Axes, outlines: np.ndarray, window: Window) -> None:
    centre = shapely.get_coordinates(shapely.centroid(outlines))
    step = max(window.width_um, window.height_um) / 400
    shape = (int(np.ceil(window.height_um / step)), int(np.ceil(window.width_um / step)))
    edges = [
        (window.top, window.top + shape[0] * step),
        (window.left, window.left + shape[1] * step),
    ]
    counts, _, _ = np.histogram2d(centre[:, 1], centre[:, 0], bins=shape, range=edges)
    per_mm2 = ndimage.gaussian_filter(counts, DENSITY_UM / step) / step**2 * 1e6
    drawn = axes.imshow(
        np.ma.masked_less(per_mm2, 0.02 * per_mm2.max()),
        extent=(*edges[1], *edges[0][::-1]),
        alpha=0.7,
    )
    beside = axes.inset_axes([0.5, -0.055, 0.5, 0.02])
    bar = axes.figure.colorbar(drawn, cax=beside, orientation="horizontal")
    bar.set_label("nuclei per mm²", fontsize=6, labelpad=1)
    bar.outline.set_linewidth(0)
    bar.ax.tick_params(length=1.5, labelsize=5.5, pad=1.5)
    bar.ax.locator_params(nbins=3)
