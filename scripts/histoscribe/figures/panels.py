"""Panels placed by the millimetre on a page of journal width, so that nothing can overlap."""

from bisect import bisect_right

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.font_manager import FontProperties, findfont, get_font

from histoscribe.figures.style import FULL_WIDTH, MM, round_length, short_number

WIDTH_MM = FULL_WIDTH / MM
BAR_MM = 1.3
INCH_PT = 72
SUBPIXELS = 64  # of a font's measures
LEAST_PT = 5.0  # smaller type is not read in print
MISSING = "…"
LINE_SPACING = 1.25


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

    def paragraph(self, left: float, top: float, text: str, width: float, **style: object) -> None:
        """Text of several lines, each as long as `width` mm lets it be."""
        size_pt = style.get("fontsize", 6.0)
        lines = wrapped(text, width, size_pt)
        for number, line in enumerate(lines):
            y = top + number * LINE_SPACING * size_pt / INCH_PT / MM
            self.write(left, y, line, width, **{**style, "fontsize": size_pt})

    def scale_bar(self, left: float, top: float, panel: float, width_um: float) -> None:
        """A bar of a round length, for a panel that is `panel` mm and `width_um` wide."""
        length, label = round_length(width_um)
        line = self.panel(left, top, panel * length / width_um, 0.6)
        line.set_facecolor("black")
        line.set_xticks([])
        line.set_yticks([])
        line.spines[:].set_visible(False)
        self.write(left, top + 1.1, label, fontsize=6)

    def swatch(self, left: float, top: float, colour: str, edge: float = 2.2) -> None:
        """A square of a colour, for a legend."""
        square = self.panel(left, top, edge, edge)
        square.set_facecolor(colour)
        square.set_xticks([])
        square.set_yticks([])
        square.spines[:].set_visible(False)

    def colour_bar(self, left: float, top: float, width: float, key: ScalarMappable) -> None:
        """A thin horizontal bar with few ticks below it."""
        bar = self.figure.colorbar(
            key, cax=self.panel(left, top, width, BAR_MM), orientation="horizontal"
        )
        bar.outline.set_linewidth(0)
        bar.ax.tick_params(length=1.5, labelsize=5.5, pad=1)
        bar.ax.locator_params(nbins=3)
        bar.ax.xaxis.set_major_formatter(short_number)


def fitted(text: str, width_mm: float, size_pt: float) -> tuple[str, float]:
    """Text and type size that fit a width: smaller type first, then no letters in the middle."""
    while width_of(text, size_pt) > width_mm and size_pt > LEAST_PT:
        size_pt = max(size_pt - 0.5, LEAST_PT)
    if width_of(text, size_pt) > width_mm:
        n_kept = bisect_right(
            range(len(text)), width_mm, key=lambda n: width_of(_shortened(text, n), size_pt)
        )
        text = _shortened(text, max(n_kept - 1, 0))
    return text, size_pt


def wrapped(text: str, width_mm: float, size_pt: float) -> list[str]:
    """Text in lines that fit a width, broken between words."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width_of(longer, size_pt) > width_mm:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def name_ticks(axis: Axis, names: list[str], width_mm: float, size_pt: float) -> None:
    """Names at the ticks of an axis, each in type that fits the width."""
    shown, sizes = zip(*(fitted(name, width_mm, size_pt) for name in names), strict=True)
    axis.set_ticklabels(shown)
    for label, size in zip(axis.get_ticklabels(), sizes, strict=True):
        label.set_fontsize(size)
        label.set_parse_math(False)


def _shortened(text: str, n_kept: int) -> str:
    """The first and the last letters of a text, since names often differ at their ends."""
    tail = n_kept // 2
    return text[: n_kept - tail] + MISSING + text[len(text) - tail :]


def width_of(text: str, size_pt: float) -> float:
    """Width in mm of a line of text in the style's type, bold, which is the widest."""
    font = get_font(findfont(FontProperties(weight="bold")))
    font.set_size(size_pt, INCH_PT)
    font.set_text(text, 0.0)
    return font.get_width_height()[0] / SUBPIXELS / INCH_PT / MM
