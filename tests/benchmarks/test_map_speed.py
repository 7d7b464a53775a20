"""Drawing 100,000 nuclei: the maps' pixels against matplotlib's own polygons and points.

All are drawn on one panel of a figure that is saved as PNG and as PDF in this process; the printed
numbers are processor times and sizes. Nothing is asserted about seconds.
"""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import shapely
from matplotlib.collections import PolyCollection

from histoscribe.figures.maps import OVERSAMPLING, MappedUnits, coloured, draw_units, unit_pixels
from histoscribe.figures.panels import Page
from histoscribe.figures.style import use_style
from histoscribe.figures.windows import Window

N_NUCLEI = 100_000
SIDE_UM = 3500.0
N_GENES = 4


def simulated():
    rng = np.random.default_rng(0)
    n_side = int(np.ceil(np.sqrt(N_NUCLEI)))
    y, x = (a.ravel()[:N_NUCLEI] for a in np.indices((n_side, n_side)))
    step = SIDE_UM / n_side
    middle = (np.column_stack([x, y]) + 0.5) * step + rng.uniform(-1, 1, (N_NUCLEI, 2))
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    size = rng.uniform(2.0, 4.5, (N_NUCLEI, 1, 1))
    outlines = shapely.polygons(middle[:, None] + ring[None] * size)
    return MappedUnits(middle, 6.0, outlines=outlines), rng.gamma(1, 1, (N_GENES, N_NUCLEI))


def ours(page, axes, units, values, window):
    shown = unit_pixels(units, window, OVERSAMPLING * 700)
    for panel, shades in zip(axes, values, strict=True):
        draw_units(panel, units, shades, window, (0, 4), 700, shown_unit=shown)


def rasterized_polygons(page, axes, units, values, window):
    """As pixels in the PDF too; as vectors they take minutes there."""
    rings = [shapely.get_coordinates(outline) for outline in units.outlines]
    for panel, shades in zip(axes, values, strict=True):
        panel.add_collection(PolyCollection(rings, array=shades, rasterized=True))
        panel.set_xlim(window.left, window.right)
        panel.set_ylim(window.bottom, window.top)


def points(page, axes, units, values, window):
    for panel, shades in zip(axes, values, strict=True):
        panel.scatter(*units.xy_um.T, c=shades, s=0.3, linewidths=0)
        panel.set_xlim(window.left, window.right)
        panel.set_ylim(window.bottom, window.top)


def saved(draw, units, values, folder):
    """Processor time in s of drawing and saving, by ending, and the size of the PDF in MB."""
    seconds = {}
    for ending in ("png", "pdf"):
        start = time.process_time()
        page = Page(50)
        axes = [page.panel(1 + 45 * i, 2, 43, 43) for i in range(N_GENES)]
        draw(page, axes, units, values, Window(0, 0, SIDE_UM, SIDE_UM))
        path = folder / f"{draw.__name__}.{ending}"
        page.figure.savefig(path)
        plt.close("all")
        seconds[ending] = time.process_time() - start
    return seconds, path.stat().st_size / 1e6


def test_maps_of_100000_nuclei(repository, tmp_path: Path):
    use_style(repository / "resources/matplotlibrc")
    units, values = simulated()
    start = time.process_time()
    shown = unit_pixels(units, Window(0, 0, 1000, 1000), 2000)
    scanned = time.process_time() - start
    start = time.process_time()
    whole = unit_pixels(units, Window(0, 0, SIDE_UM, SIDE_UM), 3500)
    all_scanned = time.process_time() - start
    start = time.process_time()
    coloured(whole, values[0], 0, 4)
    lookup = time.process_time() - start
    print(
        f"\noutlines of {len(np.unique(shown)):,} nuclei on 2,000 px: {scanned:.2f} s; of "
        f"{len(np.unique(whole)):,} on 3,500 px: {all_scanned:.2f} s; colours of a gene: "
        f"{lookup:.2f} s"
    )
    reference = None
    for draw in (ours, points, rasterized_polygons):
        seconds, size_mb = saved(draw, units, values, tmp_path)
        reference = reference or seconds
        ratio = {ending: seconds[ending] / reference[ending] for ending in seconds}
        print(
            f"{draw.__name__:20} PNG {seconds['png']:5.1f} s ({ratio['png']:.1f} x), "
            f"PDF {seconds['pdf']:5.1f} s ({ratio['pdf']:.1f} x), {size_mb:.1f} MB"
        )
    assert (whole >= 0).mean() > 0.2
