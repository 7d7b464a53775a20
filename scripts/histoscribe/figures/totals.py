"""H&E, total counts and numbers of genes, measured over predicted (Wen et al. 2025, 2B)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histoscribe.figures.gene_maps import Pictured
from histoscribe.figures.maps import (
    OVERSAMPLING,
    MappedUnits,
    draw_units,
    ground,
    show_window,
    unit_pixels,
)
from histoscribe.figures.panels import WIDTH_MM, Page
from histoscribe.figures.style import short_number

MAPS = {"total": "total counts", "genes": "genes at equal depth"}
SIDES = ("measured", "predicted")
SHOWN_PERCENTILES = (1.0, 99.0)
PANEL_PX = 500
GAP_MM, LEFT_MM, TOP_MM, BELOW_MM, NOTE_MM = 3.0, 3.5, 8.5, 7.5, 7.0
ASPECT = (0.5, 1.6)  # height to width that a panel may have
AXIS_MM = 2.5  # by which panels with an axis below are lower
N_CELLS = 60  # along an axis of the panels that compare


def agreement_table(sums: pd.DataFrame, depth: float) -> pd.DataFrame:
    """How measured and predicted agree over units: one row for totals, one for genes.

    `pcc` between both, over the units that have both; `pcc_with_umi` between the measured quantity
    and all molecules of a unit, which no image tells; means of both sides; `depth`, the number of
    molecules at which genes are compared. NaN for a constant side.
    """
    rows = []
    for quantity in MAPS:
        known = sums.dropna(subset=[f"measured_{quantity}"])
        measured, predicted = (known[f"{side}_{quantity}"] for side in SIDES)
        rows.append(
            {
                "quantity": quantity,
                "n_units": len(known),
                "depth": depth if quantity == "genes" else np.nan,
                "pcc": _pcc(measured, predicted),
                "pcc_with_umi": _pcc(measured, known["umi"]),
                "measured_mean": measured.mean(),
                "predicted_mean": predicted.mean(),
            }
        )
    return pd.DataFrame(rows)


def _pcc(one: pd.Series, other: pd.Series) -> float:
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    return float(np.corrcoef(one, other)[0, 1])


def draw_totals(
    whole: Pictured,
    units: MappedUnits,
    sums: pd.DataFrame,
    agreement: pd.DataFrame,
    sample: str,
    n_genes: int,
    depth: float,
) -> Figure:
    """Maps of totals and of numbers of genes; beside them how both sides agree.

    At the left the H&E and all molecules measured. `sums` (n_units rows) has umi, and total and
    genes of either side, over the `n_genes` that were predicted and measured, genes at a `depth` in
    molecules; `agreement` is of `agreement_table`. Each map has its own range, from the 1st to the
    99th percentile.
    """
    ratio = np.clip(whole.window.height_um / whole.window.width_um, *ASPECT)
    wide = (WIDTH_MM - LEFT_MM - 6.5 - 3 * GAP_MM) / 4
    tall = wide * ratio
    step = tall + BELOW_MM + 3.0
    page = Page(TOP_MM + 2 * step - 3.0 + NOTE_MM)
    lefts = [i * (wide + GAP_MM) for i in range(3)]
    lefts = [lefts[0], *(left + LEFT_MM for left in lefts[1:])]
    tops = [TOP_MM, TOP_MM + step]
    page.write(0, 0.4, sample, WIDTH_MM, fontsize=8, fontweight="bold")

    slide = page.panel(lefts[0], tops[0], wide, tall)
    slide.imshow(whole.image, extent=whole.window.extent, interpolation="antialiased")
    show_window(slide, whole.window)
    _head(page, lefts[0], tops[0], wide, "H&E")
    page.scale_bar(lefts[0], tops[0] + tall + 1.2, wide, whole.window.width_um)

    shown_unit = unit_pixels(units, whole.window, OVERSAMPLING * PANEL_PX)

    pale = ground(whole.image)

    def draw_map(left: float, top: float, values: pd.Series) -> Axes:
        axes = page.panel(left, top, wide, tall)
        axes.imshow(pale, extent=whole.window.extent, interpolation="antialiased")
        shown = values.to_numpy(dtype=np.float64)
        key = draw_units(
            axes, units, shown, whole.window, shown_range(shown), PANEL_PX, shown_unit=shown_unit
        )
        page.colour_bar(left + 0.1 * wide, top + tall + 1.2, 0.8 * wide, key)
        return axes

    draw_map(lefts[0], tops[1], sums["umi"])
    _head(page, lefts[0], tops[1], wide, "all molecules measured (UMI)")
    for column, (quantity, name) in enumerate(MAPS.items(), 1):
        _head(page, lefts[column], tops[0], wide, name)
        for side, top in zip(SIDES, tops, strict=True):
            draw_map(lefts[column], top, sums[f"{side}_{quantity}"])
    for side, top in zip(SIDES, tops, strict=True):
        page.write(
            lefts[1] - 1.2, top + tall / 2, side, rotation=90, va="center", ha="right", fontsize=7.5
        )
    left = WIDTH_MM - wide + 0.5
    for top, (quantity, name) in zip(tops, MAPS.items(), strict=True):
        axes = page.panel(left, top, wide - 0.5, tall - AXIS_MM)
        pcc = agreement.set_index("quantity").loc[quantity, "pcc"]
        words = f"{name}: PCC {pcc:.2f}" if np.isfinite(pcc) else f"{name}: constant"
        _head(page, left, top, wide, words)
        _draw_agreement(axes, *(sums[f"{side}_{quantity}"].to_numpy() for side in SIDES))
    page.write(
        0, page.height_mm - NOTE_MM + 2.2,
        f"{len(sums):,} units, {n_genes:,} genes that are predicted and measured. Total counts: "
        "sum of normalised counts. Colours: 1st to 99th percentile of each map.\n"
        f"Genes at equal depth: expected among {depth:,.0f} molecules, by rarefying what was "
        "counted and from predicted probabilities; grey: units of fewer molecules.",
        fontsize=6, color="0.35", linespacing=1.25,
    )  # fmt: skip
    return page.figure


def shown_range(values: np.ndarray) -> tuple[float, float]:
    """The 1st and 99th percentile; a range around a constant."""
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, SHOWN_PERCENTILES))
    if high - low <= 1e-9 * max(abs(high), 1e-9):
        low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _head(page: Page, left: float, top: float, width: float, words: str) -> None:
    page.write(left + width / 2, top - 3.4, words, width, ha="center", fontsize=7)


def _draw_agreement(axes: Axes, measured: np.ndarray, predicted: np.ndarray) -> None:
    """Units by both sides: how many lie where, and the line where both are equal."""
    known = np.isfinite(measured)
    if not known.any():
        axes.set_axis_off()
        return
    measured, predicted = measured[known], predicted[known]
    ranges = [_plot_range(measured), _plot_range(predicted)]
    whole_numbers = np.all(measured == np.round(measured)) and np.ptp(ranges[0]) <= 2 * N_CELLS
    x_edges = (
        np.arange(np.floor(ranges[0][0]) - 0.5, np.ceil(ranges[0][1]) + 1)
        if whole_numbers
        else np.linspace(*ranges[0], N_CELLS + 1)
    )
    y_edges = np.linspace(*ranges[1], N_CELLS + 1)
    counts, _, _ = np.histogram2d(measured, predicted, bins=[x_edges, y_edges])
    axes.pcolormesh(
        x_edges, y_edges, np.ma.masked_equal(counts.T, 0), norm="log", cmap="Greys",
        rasterized=True, vmin=0.5,
    )  # fmt: skip
    low, high = max(ranges[0][0], ranges[1][0]), min(ranges[0][1], ranges[1][1])
    if high > low:
        axes.plot([low, high], [low, high], color="0.3", linewidth=0.7, linestyle="--")
    axes.set_xlim(x_edges[0], x_edges[-1])
    axes.set_ylim(*ranges[1])
    axes.set_xlabel("measured", labelpad=1.5)
    axes.set_ylabel("predicted", labelpad=2)
    axes.locator_params(nbins=4)
    axes.tick_params(labelsize=6, pad=1.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(short_number)


def _plot_range(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(values, (0.1, 99.9)))
    return (low, high) if high > low else (low - 0.5, low + 0.5)
