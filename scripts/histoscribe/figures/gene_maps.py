"""Maps of measured and predicted expression beside the H&E (Wen et al. 2025, 2D-H)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histoscribe.figures.maps import (
    OVERSAMPLING,
    MappedUnits,
    draw_box,
    draw_units,
    ground,
    show_window,
    unit_pixels,
)
from histoscribe.figures.panels import WIDTH_MM, Page, width_of
from histoscribe.figures.style import in_words, upper_cut
from histoscribe.figures.windows import Window, busiest_window

DISTINCT_BELOW = 0.8
CANDIDATES = 40  # genes whose predictions are compared to tell which look alike
INSET_UM = 200.0
INSET_UNITS = 12  # an inset is so many units wide at least
PANEL_PX = 360  # of the 29 mm of a panel
GAP_MM, MIDDLE_MM = 1.6, 4.0
TOP_MM, TITLE_MM, BELOW_MM, NOTE_MM = 8.0, 4.2, 6.2, 3.5
PAGE_MM = 240.0  # panels shrink for the figure to fit a page,
LEAST_MM = 20.0  # but not below this height
WHOLE_ASPECT = (0.6, 1.8)  # height to width that panels of the whole section may have


@dataclass(frozen=True)
class Pictured:
    """A window and its H&E, (height_px, width_px, 3) uint8."""

    window: Window
    image: np.ndarray


def distinct_best_genes(scores: pd.Series, predicted: pd.DataFrame, n_genes: int) -> list[str]:
    """The best-scored genes whose predictions differ from those of the better ones.

    `scores` by gene; `predicted` (n_units, n_genes). Genes that look alike (correlation of 0.8 or
    more) are passed over, unless too few others are left.
    """
    ranked = scores.sort_values(ascending=False).index.tolist()
    with np.errstate(invalid="ignore"):  # constant genes are like no other
        correlation = pd.DataFrame(
            np.nan_to_num(
                np.corrcoef(predicted[ranked].to_numpy(), rowvar=False, dtype=np.float64)
            ).reshape(len(ranked), -1),
            index=ranked,
            columns=ranked,
        )
    chosen: list[str] = []
    for gene in ranked:
        if len(chosen) < n_genes and (correlation.loc[gene, chosen] < DISTINCT_BELOW).all():
            chosen.append(gene)
    spare = [gene for gene in ranked if gene not in chosen]
    return (chosen + spare)[:n_genes]


def gene_insets(units: MappedUnits, measured: pd.DataFrame, whole: Window) -> dict[str, Window]:
    """For each gene where to look closely: where it is measured high and varied."""
    edge_um = max(INSET_UM, INSET_UNITS * units.size_um)
    return {
        gene: busiest_window(units.xy_um, values.to_numpy(), whole, edge_um)
        for gene, values in measured.items()
    }


def inset_table(
    insets: dict[str, Window], measured: pd.DataFrame, predicted: pd.DataFrame, scores: pd.DataFrame
) -> pd.DataFrame:
    """One row a gene: its inset, the ends of its colours, and its scores."""
    return pd.DataFrame(
        {
            "gene": gene,
            "left_um": inset.left,
            "top_um": inset.top,
            "width_um": inset.width_um,
            "height_um": inset.height_um,
            "measured_cut": upper_cut(measured[gene].to_numpy()),
            "predicted_cut": upper_cut(predicted[gene].to_numpy()),
            **scores.loc[gene, ["pcc", "ceiling"]].to_dict(),
        }
        for gene, inset in insets.items()
    )


def draw_gene_maps(
    whole: Pictured,
    insets: dict[str, Pictured],
    units: MappedUnits,
    measured: pd.DataFrame,
    predicted: pd.DataFrame,
    scores: pd.DataFrame,
) -> Figure:
    """Each gene a row: H&E, measured and predicted, of the whole section and of the gene's inset.

    `measured` and `predicted` (n_units, n_genes) log1p values with genes as columns; `scores` has
    pcc and ceiling by gene. Every map has its own range, from 0 to the 99th percentile of the
    whole section.
    """
    genes = list(insets)
    ratio = np.clip(whole.window.height_um / whole.window.width_um, *WHOLE_ASPECT)
    free = WIDTH_MM - 4 * GAP_MM - MIDDLE_MM
    room = (PAGE_MM - TOP_MM - NOTE_MM) / len(genes) - TITLE_MM - BELOW_MM
    tall = min(free / (3 / ratio + 3), max(room, LEAST_MM))
    wide = tall / ratio
    margin = (free - 3 * wide - 3 * tall) / 2
    lefts = margin + np.array([*(i * (wide + GAP_MM) for i in range(3))])
    lefts = [*lefts, *(lefts[2] + wide + MIDDLE_MM + i * (tall + GAP_MM) for i in range(3))]
    step = TITLE_MM + tall + BELOW_MM
    page = Page(TOP_MM + step * len(genes) + NOTE_MM)
    _write_heads(page, lefts, (wide, tall), whole.window, insets[genes[0]].window)
    shown_unit = unit_pixels(units, whole.window, OVERSAMPLING * PANEL_PX)
    for row, gene in enumerate(genes):
        top = TOP_MM + row * step
        pcc, ceiling = scores.loc[gene, ["pcc", "ceiling"]]
        words = f"PCC {pcc:.2f}, ceiling {ceiling:.2f}"
        right = lefts[-1] + tall
        page.write(right, top + 0.8, words, ha="right", fontsize=6.5, color="0.25")
        page.write(
            lefts[0], top + 0.4, gene, right - lefts[0] - width_of(words, 6.5) - GAP_MM,
            fontsize=8, fontstyle="italic", fontweight="bold",
        )  # fmt: skip
        top += TITLE_MM
        inset = insets[gene]
        axes = [
            page.panel(left, top, wide if i < 3 else tall, tall) for i, left in enumerate(lefts)
        ]
        _draw_image(axes[0], whole)
        _draw_image(axes[3], inset)
        shown_inset = unit_pixels(units, inset.window, OVERSAMPLING * PANEL_PX)
        for i, values in ((1, measured[gene]), (2, predicted[gene])):
            limits = 0.0, upper_cut(values.to_numpy())
            for panel, picture in ((axes[i], whole), (axes[i + 3], inset)):
                _draw_image(panel, Pictured(picture.window, ground(picture.image)))
            key = draw_units(
                axes[i], units, values.to_numpy(), whole.window, limits, PANEL_PX,
                shown_unit=shown_unit,
            )  # fmt: skip
            draw_units(
                axes[i + 3], units, values.to_numpy(), inset.window, limits, PANEL_PX,
                shown_unit=shown_inset,
            )  # fmt: skip
            page.colour_bar(lefts[i] + 0.1 * wide, top + tall + 1.2, 0.8 * wide, key)
        for panel in axes[:3]:
            draw_box(panel, inset.window)
        page.scale_bar(lefts[0], top + tall + 1.2, wide, whole.window.width_um)
        page.scale_bar(lefts[3], top + tall + 1.2, tall, inset.window.width_um)
    page.write(
        lefts[0], page.height_mm - NOTE_MM + 0.4,
        "log1p of normalised counts, colours cut at the 99th percentile of each map. "
        "Boxes lie where the measured gene is high and varied.",
        lefts[-1] + tall - lefts[0], fontsize=6, color="0.35",
    )  # fmt: skip
    return page.figure


def _write_heads(
    page: Page, lefts: list[float], sizes: tuple[float, float], whole: Window, inset: Window
) -> None:
    wide, tall = sizes
    for i, name in enumerate(("H&E", "measured", "predicted") * 2):
        width = wide if i < 3 else tall
        page.write(lefts[i] + width / 2, 4.6, name, width, ha="center", fontsize=7)
    for first, width, words in (
        (0, wide, f"section, {in_words(whole.width_um)} wide"),
        (3, tall, f"box, {in_words(inset.width_um)}"),
    ):
        right = lefts[first + 2] + width
        page.write(
            (lefts[first] + right) / 2, 0.4, words, right - lefts[first],
            ha="center", fontsize=7.5, fontweight="bold",
        )  # fmt: skip
        rule = page.panel(lefts[first], 4.0, right - lefts[first], 0.1)
        rule.set_axis_off()
        rule.axhline(0.5, color="0.6", linewidth=0.5)


def _draw_image(axes: Axes, pictured: Pictured) -> None:
    axes.imshow(pictured.image, extent=pictured.window.extent, interpolation="antialiased")
    show_window(axes, pictured.window)
