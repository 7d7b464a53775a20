"""Colours like those of immunohistochemistry: brown for a gene upon pale blue nuclei.

Light passes both dyes, so their optical densities add. The brown is dosed so that lightness
(CIE L*) falls evenly with the value; it is told from the blue by lightness too, so that it can be
read without seeing red or green. Vectors: Ruifrok & Johnston (2001).
"""

import numpy as np
from matplotlib.colors import ListedColormap

HEMATOXYLIN = np.array([0.650, 0.704, 0.286])  # optical density of red, green and blue
EOSIN = np.array([0.072, 0.990, 0.105])
DAB = np.array([0.268, 0.570, 0.776])
DARKEST = 22.0  # L* of the highest value
BLUE_DENSITY = 0.55  # of the nuclei that stain most
WHITE = 245.0
SCALE_PERCENTILE = 99.5
MAX_AMOUNT = 1.3
_LEVELS = 256


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* (0 to 100) of sRGB colours (..., 3) from 0 to 1."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def _brown_densities() -> np.ndarray:
    """Amount of brown at each of 256 levels, so that lightness falls evenly."""
    amounts = np.linspace(0, 6, 6000)
    reached = lightness(np.exp(-amounts[:, None] * DAB))
    wanted = np.linspace(100, DARKEST, _LEVELS)
    return np.interp(-wanted, -reached, amounts)


BROWN_DENSITY = _brown_densities()
BROWN = ListedColormap(np.exp(-BROWN_DENSITY[:, None] * DAB), name="brown")


def hematoxylin(image: np.ndarray) -> np.ndarray:
    """How much hematoxylin each pixel of an RGB image holds, (height, width), from 0."""
    across = np.cross(HEMATOXYLIN, EOSIN)
    vectors = np.stack([v / np.linalg.norm(v) for v in (HEMATOXYLIN, EOSIN, across)])
    density = np.maximum(-np.log((image.astype(np.float64) + 1) / WHITE), 0)
    return np.maximum(density @ np.linalg.inv(vectors)[:, 0], 0)


def hematoxylin_scale(image: np.ndarray) -> float:
    """What counts as full stain in a section: nearly the most that the image shows."""
    return max(float(np.percentile(hematoxylin(image), SCALE_PERCENTILE)), 0.05)


def stained(image: np.ndarray, scale: float, levels: np.ndarray) -> np.ndarray:
    """The image in pale blue, with brown by `levels` (height, width) from 0 to 1 upon it.

    `scale` of `hematoxylin_scale`; returns (height, width, 3) uint8.
    """
    blue = np.minimum(hematoxylin(image) / scale, MAX_AMOUNT) * BLUE_DENSITY
    at = np.clip(levels, 0, 1) * (_LEVELS - 1)
    brown = np.interp(at, np.arange(_LEVELS), BROWN_DENSITY)
    density = blue[..., None] * HEMATOXYLIN + brown[..., None] * DAB
    return np.round(255 * np.exp(-density)).astype(np.uint8)
