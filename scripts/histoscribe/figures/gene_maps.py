"""Maps of measured and predicted expression beside the H&E (Wen et al. 2025, 2D-H)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histoscribe.figures.style import FULL_WIDTH, MM, draw_scale_bar, upper_cut


def draw_gene_maps(
    image: np.ndarray,
    extent_um: tuple[float, float, float, float],
    xy_um: np.ndarray,
    unit_um: float,
    is_round: bool,
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
    aspect = abs(extent_um[3] - extent_um[2]) / abs(extent_um[1] - extent_um[0])
    panel = FULL_WIDTH / (len(genes) + 1.35)
    figure = plt.figure(figsize=(FULL_WIDTH, 2 * panel * aspect + 24 * MM))
    grid = figure.add_gridspec(2, len(genes) + 1, width_ratios=[1.25] + [1] * len(genes))
    slide = figure.add_subplot(grid[:, 0])
    slide.imshow(image, extent=extent_um, interpolation="antialiased")
    slide.set_title("H&E")
    _frame(slide, extent_um)
    draw_scale_bar(slide, abs(extent_um[1] - extent_um[0]))
    points_per_um = panel * 0.9 * 72 / abs(extent_um[1] - extent_um[0])
    size = max((unit_um * points_per_um) ** 2, 0.02)
    for column, gene in enumerate(genes, 1):
        score = scores.loc[gene]
        for row, (name, values) in enumerate((("measured", measured), ("predicted", predicted))):
            axes = figure.add_subplot(grid[row, column])
            shown = values[gene].to_numpy()
            order = np.argsort(shown, kind="stable")
            drawn = axes.scatter(
                *xy_um[order].T,
                c=shown[order],
                s=size,
                marker="o" if is_round else "s",
                linewidths=0,
                vmin=0,
                vmax=upper_cut(shown),
                rasterized=True,
            )
            _frame(axes, extent_um)
            bar = figure.colorbar(
                drawn, ax=axes, orientation="horizontal", shrink=0.7, aspect=18, pad=0.02
            )
            bar.outline.set_linewidth(0)
            bar.ax.tick_params(length=1.5, labelsize=5.5)
            bar.ax.locator_params(nbins=3)
            if column == 1:
                axes.set_ylabel(f"{name}, log1p")
            if row == 0:
                axes.set_title(
                    f"$\\it{{{gene.replace('_', chr(92) + '_')}}}$\n"
                    f"PCC {score['pcc']:.2f} of {score['ceiling']:.2f} reachable"
                )
    return figure


def _frame(axes: Axes, extent_um: tuple[float, float, float, float]) -> None:
    axes.set_xlim(extent_um[0], extent_um[1])
    axes.set_ylim(extent_um[2], extent_um[3])
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
