"""Panels placed by the millimetre on a page of journal width, so that nothing can overlap."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.textpath import TextPath

from histoscribe.figures.style import FULL_WIDTH, MM, round_length

WIDTH_MM = FULL_WIDTH / MM
BAR_MM = 1.3
INCH_PT = 72
LEAST_PT = 5.0  # smaller type is not read in print
MISSING = "…"


class Page:
    """A figure of journal width; places are in mm from its upper left corner."""

    def __init__(self, height_mm: float) -> None:
        self.height_mm = height_mm
        self.figure = plt.figure(figsize=(FULL_WIDTH, height_mm * MM))
        self.figure.set_layout_engine("none")

    def panel(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes at a place."""
        bottom = self.height_mm - top - height
        return self.figure.add_axes(
            (
                left / WIDTH_MM, bottom / self.height_mm,
                width / WIDTH_MM, height / self.height_mm,
            )
        )  # fmt: skip

    def write(
        self, left: float, top: float, text: str, width: float | None = None, **style: object
    ) -> None:
        """Text whose upper left corner lies at a place; cut to `width` mm where it is longer."""
        style = {"va": "top", "ha": "left", "fontsize": 7.0, **style}
        if width is not None:
            text, style["fontsize"] = fitted(text, width, style["fontsize"])
        self.figure.text(left / WIDTH_MM, 1 - top / self.height_mm, text, parse_math=False, **style)

    def scale_bar(self, left: float, top: float, panel: float, width_um: float) -> None:
        """A bar of a round length, for a panel that is `panel` mm and `width_um` wide."""
        length, label = round_length(width_um)
        line = self.panel(left, top, panel * length / width_um, 0.6)
        line.set_facecolor("black")
        line.set_xticks([])
        line.set_yticks([])
        line.spines[:].set_visible(False)
        self.write(left, top + 1.1, label, fontsize=6)

    def colour_bar(self, left: float, top: float, width: float, key: ScalarMappable) -> None:
        """A thin horizontal bar with few ticks below it."""
        bar = self.figure.colorbar(
            key, cax=self.panel(left, top, width, BAR_MM), orientation="horizontal"
        )
        bar.outline.set_linewidth(0)
        bar.ax.tick_params(length=1.5, labelsize=5.5, pad=1)
        bar.ax.locator_params(nbins=3)


def fitted(text: str, width_mm: float, size_pt: float) -> tuple[str, float]:
    """Text and type size that fit a width: smaller type first, then letters left out."""
    while width_of(text, size_pt) > width_mm and size_pt > LEAST_PT:
        size_pt = max(size_pt - 0.5, LEAST_PT)
    kept = text
    while kept and width_of(text, size_pt) > width_mm:
        kept = kept[:-1]
        text = kept.rstrip() + MISSING
    return text, size_pt


def width_of(text: str, size_pt: float) -> float:
    """Width in mm of a line of text in the style's type, bold, which is the widest."""
    if not text:
        return 0.0
    path = TextPath((0, 0), text.replace("$", r"\$"), size=size_pt, prop={"weight": "bold"})
    return float(path.get_extents().width) / INCH_PT / MM
