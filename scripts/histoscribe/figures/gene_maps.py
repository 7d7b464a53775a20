"""Maps of measured and predicted expression beside the H&E (Wen et al. 2025, 2D-H)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from histoscribe.figures.style import FULL_WIDTH, MM, draw_scale_bar, upper_cut

PANEL_PX = 500
DISTINCT_BELOW = 0.8


def distinct_best_genes(scores: pd.Series, predicted: pd.DataFrame, n_genes: int) -> list[str]:
    """The best-scored genes whose predictions differ from those of the better ones.

    `scores` by gene; `predicted` (n_units, n_genes). Genes that look alike (correlation of 0.8 or
    more) are passed over, unless too few others are left.
    """
    ranked = scores.sort_values(ascending=False).index.tolist()
    correlation = pd.DataFrame(
        np.nan_to_num(np.corrcoef(predicted[ranked].to_numpy(), rowvar=False, dtype=np.float64)),
        index=ranked,
        columns=ranked,
    )
    chosen: list[str] = []
    for gene in ranked:
        if len(chosen) < n_genes and (correlation.loc[gene, chosen] < DISTINCT_BELOW).all():
            chosen.append(gene)
    spare = [gene for gene in ranked if gene not in chosen]
    return (chosen + spare)[:n_genes]


def draw_gene_maps(
    image: np.ndarray,
    extent_um: tuple[float, float, float, float],
    xy_um: np.ndarray,
    unit_um: float,
    measured: pd.DataFrame,
    predicted: pd.DataFrame,
    scores: pd.DataFrame,
) -> Figure:
    """H&E at the left; each gene a column, measured above predicted, in its own colour range.

    `image` (height, width, 3) covers `extent_um` (left, right, bottom, top); `xy_um` (n_units, 2);
    `unit_um` is the width of a unit; `measured` and `predicted` (n_units, n_genes) log1p values
    with genes as columns; `scores` has pcc and ceiling by gene. Ranges end at the 99th percentile.
    """
    genes = list(measured.columns)
    width_um, height_um = abs(extent_um[1] - extent_um[0]), abs(extent_um[3] - extent_um[2])
    panel = FULL_WIDTH / (len(genes) + 2.25)
    figure = plt.figure(figsize=(FULL_WIDTH, 2 * panel * height_um / width_um + 19 * MM))
    grid = figure.add_gridspec(2, len(genes) + 1, width_ratios=[2.05] + [1] * len(genes))
    slide = figure.add_subplot(grid[:, 0])
    slide.imshow(image, extent=extent_um, interpolation="antialiased")
    slide.set_title("H&E")
    _frame(slide, extent_um)
    draw_scale_bar(slide, width_um)
    shown_unit = nearest_units(xy_um, unit_um, extent_um, PANEL_PX)
    for column, gene in enumerate(genes, 1):
        for row, (name, values) in enumerate((("measured", measured), ("predicted", predicted))):
            axes = figure.add_subplot(grid[row, column])
            _draw_map(axes, values[gene].to_numpy(), shown_unit, extent_um)
            if column == 1:
                axes.set_ylabel(f"{name} (log1p)")
            if row == 0:
                pcc, ceiling = scores.loc[gene, ["pcc", "ceiling"]]
                axes.set_title(gene, fontstyle="italic", pad=11)
                axes.text(
                    0.5, 1.02, f"PCC {pcc:.2f} (ceiling {ceiling:.2f})",
                    transform=axes.transAxes, ha="center", va="bottom", fontsize=6,
                )  # fmt: skip
    return figure


def nearest_units(
    xy_um: np.ndarray, unit_um: float, extent_um: tuple[float, float, float, float], size_px: int
) -> np.ndarray:
    """The unit that each pixel of a map shows, (height_px, width_px); -1 where there is none.

    A pixel shows the unit whose centre is nearest, up to a unit's half diagonal away, so that
    bins leave no gaps whatever the angle of their grid.
    """
    left, right, bottom, top = extent_um
    step = (right - left) / size_px
    x = np.arange(left + step / 2, right, step)
    y = np.arange(top + step / 2, bottom, step)
    pixels = np.stack(np.meshgrid(x, y), axis=-1)
    reach = max(unit_um * np.sqrt(0.5), step)
    distance, unit = cKDTree(xy_um).query(pixels, distance_upper_bound=reach)
    return np.where(np.isfinite(distance), unit, -1)


def _draw_map(
    axes: Axes,
    values: np.ndarray,
    shown_unit: np.ndarray,
    extent_um: tuple[float, float, float, float],
) -> None:
    shown = np.ma.masked_where(shown_unit < 0, values[shown_unit])
    drawn = axes.imshow(shown, extent=extent_um, vmin=0, vmax=upper_cut(values))
    _frame(axes, extent_um)
    bar = axes.figure.colorbar(
        drawn, ax=axes, orientation="horizontal", shrink=0.75, aspect=20, pad=0.02
    )
    bar.outline.set_linewidth(0)
    bar.ax.tick_params(length=1.5, labelsize=5.5, pad=1.5)
    bar.ax.locator_params(nbins=3)


def _frame(axes: Axes, extent_um: tuple[float, float, float, float]) -> None:
    axes.set_xlim(extent_um[0], extent_um[1])
    axes.set_ylim(extent_um[2], extent_um[3])
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
