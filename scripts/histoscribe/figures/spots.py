"""Spots against single units (Wen et al. 2025, figure 4): maps of both, and how far they agree."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from scipy.spatial import cKDTree

from histoscribe.figures.maps import draw_colour_bar, frame_map, nearest_units
from histoscribe.figures.style import FULL_WIDTH, MM, draw_scale_bar, upper_cut

PANEL_PX = 500
N_GENES = 3
WINDOW_SPOTS = 4.5  # edge of the enlarged part, in distances between spots
WINDOW_LIMITS = (0.12, 0.5)  # of it, as shares of the section's shorter edge
N_BARS = 30
Extent = tuple[float, float, float, float]  # left, right, bottom, top in um


@dataclass(frozen=True)
class SpotMaps:
    """What the maps show; genes are the columns of the frames, values log1p.

    `spots_um` (n_spots, 2), of `diameter_um`, with `measured` and `predicted`; `units_um`
    (n_units, 2), about `unit_um` wide and named `unit`, with `single`.
    """

    spots_um: np.ndarray
    diameter_um: float
    measured: pd.DataFrame
    predicted: pd.DataFrame
    units_um: np.ndarray
    unit_um: float
    unit: str
    single: pd.DataFrame


def enlarged_window(maps: SpotMaps, extent_um: Extent) -> Extent:
    """The square part of the section in which single units differ most in the first gene.

    It is centred on a spot, and holds at least as many units as half of such squares do.
    """
    left, right, bottom, top = extent_um
    shorter = min(right - left, bottom - top)
    pitch_um = np.median(cKDTree(maps.spots_um).query(maps.spots_um, k=2)[0][:, 1])
    low, high = WINDOW_LIMITS
    edge_um = np.clip(WINDOW_SPOTS * pitch_um, low * shorter, high * shorter)
    half = edge_um / 2
    inside = np.all(
        (maps.spots_um >= (left + half, top + half))
        & (maps.spots_um <= (right - half, bottom - half)),
        axis=1,
    )
    centres = maps.spots_um[inside] if inside.any() else maps.spots_um
    near = cKDTree(maps.units_um).query_ball_point(centres, half, p=np.inf)
    values = maps.single.iloc[:, 0].to_numpy()
    sizes = np.array([len(units) for units in near])
    spread = np.array([values[units].std() if units else 0.0 for units in near])
    x, y = centres[np.argmax(np.where(sizes >= np.median(sizes), spread, -1.0))]
    return x - half, x + half, y + half, y - half


def draw_spots(
    slide: np.ndarray,
    extent_um: Extent,
    part: np.ndarray,
    window_um: Extent,
    maps: SpotMaps,
    spots: pd.DataFrame,
    genes: pd.DataFrame,
    section: dict,
    colours: dict[str, str],
) -> Figure:
    """Maps above, agreement below.

    `slide` (height, width, 3) covers `extent_um` and `part` covers `window_um`; `spots` are the
    compared spots and `genes` all genes of the comparison's tables, the latter indexed by gene;
    `section` is its one row; `colours` has kept, lost and cut.
    """
    names = list(maps.measured.columns)
    width_um, height_um = abs(extent_um[1] - extent_um[0]), abs(extent_um[3] - extent_um[2])
    panel = FULL_WIDTH / (len(names) + 1.12)
    map_height = min(panel * height_um / width_um, 1.35 * panel)
    below = 40 * MM
    figure = plt.figure(figsize=(FULL_WIDTH, 3 * map_height + below + 30 * MM))
    above, under = figure.add_gridspec(2, 1, height_ratios=[3 * map_height + 24 * MM, below])
    grid = above.subgridspec(3, len(names) + 1)
    _draw_slides(figure, grid[:, 0], slide, extent_um, part, window_um, maps, names[0])
    left, right, bottom, top = extent_um
    shape_px = (max(round(PANEL_PX * (bottom - top) / (right - left)), 1), PANEL_PX)
    shown = nearest_units(maps.units_um, maps.unit_um, extent_um, shape_px)
    rows = (
        ("spots, measured", maps.measured),
        ("spots, predicted", maps.predicted),
        (f"each {maps.unit}, predicted", maps.single),
    )
    for column, gene in enumerate(names, 1):
        for row, (label, values) in enumerate(rows):
            axes = figure.add_subplot(grid[row, column])
            level = values[gene].to_numpy()
            if row < 2:
                drawn = _circles(axes, maps.spots_um, maps.diameter_um, level)
            else:
                masked = np.ma.masked_where(shown < 0, level[shown])
                drawn = axes.imshow(masked, extent=extent_um, vmin=0, vmax=upper_cut(level))
            frame_map(axes, extent_um)
            draw_colour_bar(axes, drawn)
            if column == 1:
                axes.set_ylabel(f"{label} (log1p)")
            if row == 0:
                pcc, ceiling = genes.loc[gene, ["pcc", "ceiling"]]
                _title(axes, gene, f"PCC {pcc:.2f} (ceiling {ceiling:.2f})")
                axes.title.set_fontstyle("italic")
    panels = under.subgridspec(1, 5)
    _draw_agreement(figure, panels, spots, genes, section, colours, maps.unit)
    return figure


def draw_skipped(slide: np.ndarray, extent_um: Extent, maps: SpotMaps, note: str) -> Figure:
    """The section with its spots, and why nothing was compared."""
    width_um, height_um = abs(extent_um[1] - extent_um[0]), abs(extent_um[3] - extent_um[2])
    edge = FULL_WIDTH / 2
    figure, axes = plt.subplots(figsize=(edge, edge * min(height_um / width_um, 1.5) + 12 * MM))
    _slide_with_spots(axes, slide, extent_um, maps, "H&E and spots")
    draw_scale_bar(axes, width_um)
    figure.suptitle(note, fontsize=7)
    return figure


def plotted_table(
    maps: SpotMaps, spots: pd.DataFrame, genes: pd.DataFrame, units: pd.Index
) -> pd.DataFrame:
    """The numbers of the figure: rows of kind spot, gene and unit.

    `spots` has a row for each of `maps.spots_um`; `genes` is indexed by gene.
    """
    names = maps.measured.columns
    values = [maps.measured.add_prefix("measured_"), maps.predicted.add_prefix("predicted_")]
    of_spots = pd.concat(
        [spots.rename(columns={"spot": "name"}).reset_index(drop=True), *values], axis=1
    )
    of_genes = genes[["pcc", "ceiling", "within_share"]].rename_axis("name").reset_index()
    of_units = pd.DataFrame(maps.units_um, columns=["x_um", "y_um"]).assign(name=units)
    of_units = pd.concat([of_units, maps.single.add_prefix("predicted_")], axis=1)
    tables = {"spot": of_spots, "gene": of_genes, "unit": of_units}
    joined = pd.concat([table.assign(kind=kind) for kind, table in tables.items()])
    first = ["kind", "name", "x_um", "y_um"]
    last = [f"{side}_{gene}" for gene in names for side in ("measured", "predicted")]
    between = [column for column in joined if column not in (*first, *last)]
    return joined[[*first, *between, *last]]


def _draw_slides(
    figure: Figure,
    place: SubplotSpec,
    slide: np.ndarray,
    extent_um: Extent,
    part: np.ndarray,
    window_um: Extent,
    maps: SpotMaps,
    gene: str,
) -> None:
    """Left column: the whole H&E with spots, a part of it, and the units of that part."""
    grid = place.subgridspec(3, 1)
    whole, enlarged, units = (figure.add_subplot(grid[row]) for row in range(3))
    _slide_with_spots(whole, slide, extent_um, maps, "H&E and spots")
    draw_scale_bar(whole, abs(extent_um[1] - extent_um[0]))
    left, right, bottom, top = window_um
    whole.add_patch(
        plt.Rectangle((left, top), right - left, bottom - top, fill=False, color="black", lw=0.9)
    )
    enlarged.imshow(part, extent=window_um, interpolation="antialiased")
    enlarged.set_title("enlarged")
    inside = np.all((maps.units_um > (left, top)) & (maps.units_um < (right, bottom)), axis=1)
    values = maps.single[gene].to_numpy()
    drawn = _circles(units, maps.units_um[inside], 1.3 * maps.unit_um, values[inside])
    drawn.set_clim(0, upper_cut(values))
    units.set_facecolor("0.93")
    _title(units, gene, f"each {maps.unit}, predicted")
    units.title.set_fontstyle("italic")
    for axes in (enlarged, units):
        _outlines(axes, maps.spots_um, maps.diameter_um, 0.7)
        frame_map(axes, window_um)
        axes.spines[:].set_visible(True)
        draw_scale_bar(axes, right - left)


def _slide_with_spots(
    axes: Axes, slide: np.ndarray, extent_um: Extent, maps: SpotMaps, title: str
) -> None:
    axes.imshow(slide, extent=extent_um, interpolation="antialiased")
    _outlines(axes, maps.spots_um, maps.diameter_um, 0.25)
    axes.set_title(title)
    frame_map(axes, extent_um)


def _draw_agreement(
    figure: Figure,
    panels: SubplotSpec,
    spots: pd.DataFrame,
    genes: pd.DataFrame,
    section: dict,
    colours: dict[str, str],
    unit: str,
) -> None:
    point = {"s": 4, "linewidths": 0, "alpha": 0.5, "color": colours["kept"], "rasterized": True}
    plural = {"nucleus": "nuclei", "cell": "cells"}.get(unit, f"{unit}s")
    axes = figure.add_subplot(panels[0])
    axes.scatter(genes["ceiling"], genes["pcc"], **point)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.6, zorder=0)
    low = min(0.0, float(genes["pcc"].min()))
    axes.set(xlim=(0, 1), ylim=(low - 0.02, 1), xlabel="noise ceiling", ylabel="PCC over spots")
    _title(axes, f"{len(genes)} genes", f"mean PCC {section['pcc_mean']:.2f}")
    for number, (what, name) in enumerate({"total": "total", "features": "genes"}.items(), 1):
        axes = figure.add_subplot(panels[number])
        axes.scatter(spots[f"measured_{what}"], spots[f"predicted_{what}"], **point)
        axes.set(xlabel="measured", ylabel="predicted", xlim=(0, None), ylim=(0, None))
        for axis in ("x", "y"):
            axes.locator_params(axis=axis, nbins=4)
            axes.ticklabel_format(axis=axis, scilimits=(-3, 4))
        alone = section[f"pcc_{what}_n_units"]
        reached = f"PCC {section[f'pcc_{what}']:.2f} ({plural} alone {alone:.2f})"
        _title(axes, f"{name} expressed" if what == "features" else "total expression", reached)
    axes = figure.add_subplot(panels[3])
    n_units = spots["n_units"].to_numpy()
    step = max(1, int(np.ceil(n_units.max() / N_BARS)))
    bars = np.arange(0, n_units.max() + 2 * step, step) - 0.5
    axes.hist(n_units, bins=bars, color=colours["kept"])
    axes.set(xlabel=f"{plural} per spot", ylabel="spots")
    _title(axes, f"{len(spots):,} spots", f"mean {n_units.mean():.1f} {plural}")
    axes = figure.add_subplot(panels[4])
    share = 100 * genes["within_share"].dropna()
    axes.hist(share, bins=np.linspace(0, 100, 21), color=colours["kept"])
    axes.axvline(share.mean(), color=colours["cut"], linewidth=1)
    axes.set(xlabel="share of variance (%)", ylabel="genes", xlim=(0, 100))
    _title(axes, "predicted, within spots", f"mean {share.mean():.0f} % of the variance")


def _title(axes: Axes, title: str, note: str) -> None:
    axes.set_title(title, pad=11)
    axes.annotate(
        note, (0.5, 1), xycoords="axes fraction", xytext=(0, 2), textcoords="offset points",
        ha="center", va="bottom", fontsize=6,
    )  # fmt: skip


def _circles(
    axes: Axes, centre_um: np.ndarray, diameter_um: float, values: np.ndarray
) -> EllipseCollection:
    """Filled circles of true size, coloured up to the 99th percentile of their values."""
    width = np.full(len(centre_um), diameter_um)
    drawn = EllipseCollection(
        width, width, np.zeros(len(width)), units="xy", offsets=centre_um,
        offset_transform=axes.transData, array=values, linewidths=0, rasterized=True,
    )  # fmt: skip
    drawn.set_clim(0, upper_cut(values) if len(values) else 1)
    axes.add_collection(drawn)
    return drawn


def _outlines(axes: Axes, centre_um: np.ndarray, diameter_um: float, linewidth: float) -> None:
    width = np.full(len(centre_um), diameter_um)
    axes.add_collection(
        EllipseCollection(
            width, width, np.zeros(len(width)), units="xy", offsets=centre_um,
            offset_transform=axes.transData, facecolors="none", edgecolors="black",
            linewidths=linewidth,
        )
    )  # fmt: skip
