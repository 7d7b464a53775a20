"""Where the words of a figure lie: do they overlap, or run off the page?"""

from itertools import combinations

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

MM_INCH = 25.4
SLACK_PX = 1.0


def drawn_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is seen, with its place in pixels."""
    figure.canvas.draw()
    unseen = set()
    for axes in figure.findobj(matplotlib.axes.Axes):
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            margin = 1e-6 * (high - low)
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not (low - margin <= tick.get_loc() <= high + margin) or not axes.axison:
                    unseen.update((tick.label1, tick.label2))
            if not axes.axison:
                unseen.update((axis.label, axis.offsetText))
    found = []
    for text in figure.findobj(Text):
        words = text.get_text().strip()
        if words and text.get_visible() and text not in unseen:
            box = Text.get_window_extent(text) if isinstance(text, Annotation) else None
            found.append((words, box or text.get_window_extent()))
    return [(words, box) for words, box in found if box.width > 0 and box.height > 0]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that cover each other."""
    pairs = []
    for (one, a), (other, b) in combinations(drawn_texts(figure), 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        tall = min(a.y1, b.y1) - max(a.y0, b.y0)
        if wide > SLACK_PX and tall > SLACK_PX:
            pairs.append((one, other))
    return pairs


def width_mm(figure: Figure) -> float:
    """The width of all that is drawn, as it is saved."""
    figure.canvas.draw()
    return figure.get_tightbbox().width * MM_INCH
