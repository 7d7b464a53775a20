"""Rectangles of a section that panels show, and where to look closely."""

from dataclasses import dataclass

import numpy as np
import shapely
from scipy.spatial import cKDTree

ALIKE_UNITS = 7  # neighbours whose mean tells structure from the noise of single counts
FULL_SHARE = 0.6  # of the units of a well filled window that a window must hold


@dataclass(frozen=True)
class Window:
    """A rectangle in um in the image frame."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width_um(self) -> float:
        return self.right - self.left

    @property
    def height_um(self) -> float:
        return self.bottom - self.top

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        return self.left, self.top, self.right, self.bottom

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """As matplotlib's images want it, y downwards."""
        return self.left, self.right, self.bottom, self.top

    def shape_px(self, longest_px: int) -> tuple[int, int]:
        """Rows and columns of an image of the window whose longer edge has `longest_px`."""
        step = max(self.width_um, self.height_um) / longest_px
        return max(1, round(self.height_um / step)), max(1, round(self.width_um / step))

    def holds(self, xy_um: np.ndarray) -> np.ndarray:
        """Which points lie inside, (n,) bool."""
        return np.all((xy_um >= self.bounds[:2]) & (xy_um < self.bounds[2:]), axis=1)


def window_of(xy_um: np.ndarray, margin_um: float) -> Window:
    """The smallest window around all points, widened by a margin."""
    left, top = (float(v) for v in xy_um.min(axis=0) - margin_um)
    right, bottom = (float(v) for v in xy_um.max(axis=0) + margin_um)
    return Window(left, top, right, bottom)


def places_within(outer: Window, edge_um: float) -> tuple[np.ndarray, tuple[float, float]]:
    """Corners (n, 2) at which a square of `edge_um` may lie in `outer`, and its size there.

    Steps are a quarter of the edge, coarser where there would be more than 200 along an axis.
    """
    size = min(edge_um, outer.width_um), min(edge_um, outer.height_um)
    step = max(edge_um / 4, max(outer.width_um, outer.height_um) / 200)
    x, y = np.meshgrid(
        np.arange(outer.left, outer.right - size[0] + 1e-6, step),
        np.arange(outer.top, outer.bottom - size[1] + 1e-6, step),
    )
    return np.column_stack([x.ravel(), y.ravel()]), size


def busiest_window(xy_um: np.ndarray, values: np.ndarray, outer: Window, edge_um: float) -> Window:
    """The square window in `outer` where `values` (n_units,) are both high and varied.

    Windows are ranked by mean x standard deviation of values that are averaged over each unit's
    seven nearest ones, itself included; those that hold few units are passed over. Without any
    variation the fullest window is taken.
    """
    corner, size = places_within(outer, edge_um)
    nearest = cKDTree(xy_um).query(xy_um, k=min(ALIKE_UNITS, len(xy_um)))[1]
    smooth = values[nearest.reshape(len(xy_um), -1)].mean(axis=1, dtype=np.float64)
    boxes = shapely.box(*corner.T, corner[:, 0] + size[0], corner[:, 1] + size[1])
    inside, unit = shapely.STRtree(shapely.points(xy_um)).query(boxes, predicate="intersects")
    count = np.bincount(inside, minlength=len(boxes))
    n = np.maximum(count, 1)
    mean = np.bincount(inside, smooth[unit], len(boxes)) / n
    square = np.bincount(inside, smooth[unit] ** 2, len(boxes)) / n
    score = mean * np.sqrt(np.maximum(square - mean**2, 0))
    score[count < FULL_SHARE * np.percentile(count, 90)] = -1
    best = int(np.argmax(score if score.max() > 1e-12 else count))
    left, top = (float(v) for v in corner[best])
    return Window(left, top, left + size[0], top + size[1])
