"""Per-pixel maps of a block, and their means over square windows.

Every map has a support: how far, in pixels, a value looks. Windows shrink by it, so a window of
a tile never sees beyond the tile. Sums are taken in whole numbers, so that a mean does not
depend on where the block that it was computed in begins.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

TRUNCATE = 3.0
FIXED_POINT = 2.0**16
EPSILON_PX = 1e-6


@dataclass(frozen=True)
class Map:
    """A plane of values over a block; each looks at most `support_px` away along x or y."""

    values: np.ndarray
    support_px: int = 0


def smooth(plane: Map, sigma_px: float) -> Map:
    """Gaussian smoothing, cut at three standard deviations."""
    radius = int(TRUNCATE * sigma_px + 0.5)
    values = ndimage.gaussian_filter(plane.values, sigma_px, radius=radius, mode="nearest")
    return Map(values, plane.support_px + radius)


def bands(plane: Map, sigmas_px: list[float]) -> tuple[list[Map], list[Map]]:
    """Smoothings of a map, and the differences of neighbours: blobs and lines of one size."""
    smoothed = [smooth(plane, sigma) for sigma in sigmas_px]
    differences = [
        Map(narrow.values - wide.values, max(narrow.support_px, wide.support_px))
        for narrow, wide in pairwise(smoothed)
    ]
    return smoothed, differences


def gradient(plane: Map) -> tuple[Map, Map]:
    """Central differences along x and y."""
    values = plane.values
    along_x, along_y = np.zeros_like(values), np.zeros_like(values)
    along_x[:, 1:-1] = 0.5 * (values[:, 2:] - values[:, :-2])
    along_y[1:-1] = 0.5 * (values[2:] - values[:-2])
    return Map(along_x, plane.support_px + 1), Map(along_y, plane.support_px + 1)


def peaks(plane: Map, radius_px: int, threshold: float) -> Map:
    """1 where a value is the largest within a square of `radius_px` and above `threshold`."""
    highest = ndimage.maximum_filter(plane.values, size=2 * radius_px + 1, mode="nearest")
    found = (plane.values >= highest) & (plane.values > threshold)
    return Map(found.astype(np.float32), plane.support_px + radius_px)


def pool(plane: Map, factor: int) -> Map:
    """Means over factor x factor pixels; the block's sides are multiples of `factor`."""
    if factor == 1:
        return plane
    height, width = plane.values.shape
    cells = plane.values.reshape(height // factor, factor, width // factor, factor)
    # One addend at a time: the same order, hence the same rounding, for every pixel.
    rows = cells[:, 0].astype(np.float32)
    for k in range(1, factor):
        rows += cells[:, k]
    total = rows[..., 0].copy()
    for k in range(1, factor):
        total += rows[..., k]
    return Map(total / np.float32(factor**2), -(-plane.support_px // factor))


def window_means(
    plane: Map, centre_px: np.ndarray, halves_px: list[float], reach_px: float
) -> np.ndarray:
    """Means of a map over squares around centres, (n_centres, n_halves) float64.

    `centre_px` (n_centres, 2) are x, y in the block; `halves_px` are half sides, cut so that
    window and support stay within `reach_px` of the centre.
    """
    table = np.zeros(np.add(plane.values.shape, 1), dtype=np.int64)
    table[1:, 1:] = np.rint(plane.values * FIXED_POINT)
    np.cumsum(table, axis=0, out=table)
    np.cumsum(table, axis=1, out=table)
    means = np.empty((len(centre_px), len(halves_px)))
    for column, half_px in enumerate(halves_px):
        half = max(min(half_px, reach_px - plane.support_px), 0.5)
        (x0, y0), (x1, y1) = window_bounds(centre_px, half)
        total = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
        means[:, column] = total / ((x1 - x0) * (y1 - y0) * FIXED_POINT)
    return means


def window_bounds(centre_px: np.ndarray, half_px: float) -> tuple[np.ndarray, np.ndarray]:
    """First and one-past-last pixels wholly within `half_px` of centres, each (2, n), x and y.

    At least the pixel that holds the centre.
    """
    low = np.ceil(centre_px - half_px - EPSILON_PX).astype(np.int64)
    high = np.floor(centre_px + half_px + EPSILON_PX).astype(np.int64)
    empty = high <= low
    low = np.where(empty, np.floor(centre_px).astype(np.int64), low)
    return low.T, np.where(empty, low + 1, high).T
