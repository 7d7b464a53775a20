"""A section's own H&E stain: its white, its two stain vectors, its scale.

Donors and laboratories stain differently, so features speak of hematoxylin and eosin relative
to the section they come from. The vectors follow Macenko et al. (ISBI 2009): the plane of the
two largest directions of optical density (OD), and in it the outermost robust angles.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from histoscribe.image import Slide

# Ruifrok & Johnston (2001): the vectors where a section does not show its own.
DEFAULT_VECTORS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])
DEFAULT_SCALE = np.array([1.2, 1.0])
DEFAULT_WHITE = 240.0
DEFAULT_NUCLEAR_LEVEL = 0.5

SAMPLE_WINDOWS = 256
SAMPLE_WINDOW_PX = 64
TISSUE_OD = 0.35  # length of the OD vector above which a pixel is tissue
CLEAR_OD = 0.12  # mean OD below which a pixel is glass or lumen
ANGLE_PERCENTILES = (1.0, 99.0)
SCALE_PERCENTILE = 99.0
MIN_TISSUE_PX = 500
PLAUSIBLE_ANGLE_DEG = (8.0, 75.0)
CONCENTRATION_RANGE = (-1.0, 4.0)


@dataclass(frozen=True)
class StainSeparation:
    """What turns RGB of one section into comparable stain concentrations.

    `white` (3,) is the grey level of clear glass; the rows of `vectors` (3, 3) are the unit OD
    vectors of hematoxylin, eosin and the direction across both; `scale` (3,) is the
    concentration that counts as 1; `nuclear_level` parts nuclei from the rest in scaled
    hematoxylin smoothed over 1 um.
    """

    white: np.ndarray
    vectors: np.ndarray
    scale: np.ndarray
    nuclear_level: float


def estimate_stain(slide: Slide, um_per_px: float, seed: int = 0) -> StainSeparation:
    """Stain separation of a section from small windows spread over it.

    Falls back, one quantity at a time, to textbook values where the section shows too little
    (blank glass, a single colour).
    """
    windows = sample_windows(slide, seed)  # (n_windows, height, width, 3)
    white = white_level(windows.reshape(-1, 3))
    density = optical_density(windows, white)
    flat = density.reshape(-1, 3)
    tissue = flat[np.linalg.norm(flat, axis=1) > TISSUE_OD]
    vectors = with_residual(stain_vectors(tissue))
    scale = np.append(DEFAULT_SCALE, 1.0)
    level = DEFAULT_NUCLEAR_LEVEL
    if len(tissue) >= MIN_TISSUE_PX:
        amounts = tissue @ np.linalg.inv(vectors)
        top = np.percentile(amounts[:, :2], SCALE_PERCENTILE, axis=0)
        scale[:2] = np.clip(top, 0.15 * DEFAULT_SCALE, 4 * DEFAULT_SCALE)
        level = _nuclear_level(density, vectors, scale, um_per_px)
    return StainSeparation(white, vectors, scale, level)


def optical_density(rgb: np.ndarray, white: np.ndarray) -> np.ndarray:
    """OD of 8-bit RGB, float32, 0 for white and brighter."""
    levels = np.arange(256, dtype=np.float64)[:, None]
    table = np.maximum(np.log((white + 1.0) / (levels + 1.0)), 0.0).astype(np.float32)
    return np.stack([table[rgb[..., channel], channel] for channel in range(3)], axis=-1)


def concentrations(density: np.ndarray, stain: StainSeparation) -> tuple[np.ndarray, ...]:
    """Scaled hematoxylin, eosin and residual of an OD image, each float32 of its shape."""
    unmix = np.linalg.inv(stain.vectors) / stain.scale
    planes = []
    for stain_index in range(3):
        # Written out, so that a pixel's value never depends on the shape of its block.
        weights = unmix[:, stain_index].astype(np.float32)
        plane = density[..., 0] * weights[0]
        plane += density[..., 1] * weights[1]
        plane += density[..., 2] * weights[2]
        planes.append(np.clip(plane, *CONCENTRATION_RANGE, out=plane))
    return tuple(planes)


def sample_windows(slide: Slide, seed: int) -> np.ndarray:
    """Square windows, one at a random place in each cell of a grid over the slide."""
    rng = np.random.default_rng(seed)
    size = min(SAMPLE_WINDOW_PX, slide.width_px, slide.height_px)
    columns = int(np.ceil(np.sqrt(SAMPLE_WINDOWS * slide.width_px / slide.height_px)))
    columns = min(max(columns, 1), max(slide.width_px // size, 1))
    rows = min(max(SAMPLE_WINDOWS // columns, 1), max(slide.height_px // size, 1))
    x_edges = np.linspace(0, slide.width_px, columns + 1)
    y_edges = np.linspace(0, slide.height_px, rows + 1)
    windows = []
    for y0, y1 in pairwise(y_edges):
        for x0, x1 in pairwise(x_edges):
            x = int(x0 + rng.random() * max(x1 - x0 - size, 0))
            y = int(y0 + rng.random() * max(y1 - y0 - size, 0))
            windows.append(slide.read_region(x, y, size, size))
    return np.stack(windows)


def white_level(rgb: np.ndarray) -> np.ndarray:
    """Grey level of clear glass: the brighter half of what is bright and hardly coloured."""
    lowest, highest = rgb.min(axis=1), rgb.max(axis=1)
    bright = rgb[(lowest >= 160) & (highest - lowest <= 40)]
    if len(bright) < max(0.001 * len(rgb), 50):
        return np.maximum(np.percentile(rgb, 99.9, axis=0), DEFAULT_WHITE)
    brightness = bright.sum(axis=1, dtype=np.int32)
    return np.median(bright[brightness >= np.median(brightness)], axis=0).astype(np.float64)


def stain_vectors(tissue: np.ndarray) -> np.ndarray:
    """Unit OD vectors of hematoxylin and eosin, (2, 3), from tissue OD (n_px, 3)."""
    if len(tissue) < MIN_TISSUE_PX:
        return DEFAULT_VECTORS
    tissue = tissue.astype(np.float64)
    _, directions = np.linalg.eigh(tissue.T @ tissue / len(tissue))
    plane = directions[:, [2, 1]]
    plane[:, 0] *= np.sign(plane[:, 0].sum()) or 1.0
    on_plane = tissue @ plane
    angles = np.percentile(np.arctan2(on_plane[:, 1], on_plane[:, 0]), ANGLE_PERCENTILES)
    vectors = np.stack([plane @ [np.cos(angle), np.sin(angle)] for angle in angles])
    vectors = np.maximum(vectors, 0.0)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if (lengths < 0.5).any():
        return DEFAULT_VECTORS
    vectors /= lengths
    between = np.degrees(np.arccos(np.clip(vectors[0] @ vectors[1], -1.0, 1.0)))
    if not PLAUSIBLE_ANGLE_DEG[0] <= between <= PLAUSIBLE_ANGLE_DEG[1]:
        return DEFAULT_VECTORS
    # Hematoxylin absorbs red, eosin hardly does.
    return vectors[np.argsort(-vectors[:, 0])]


def with_residual(vectors: np.ndarray) -> np.ndarray:
    """Two stain vectors and the unit direction across both, (3, 3)."""
    across = np.cross(vectors[0], vectors[1])
    return np.vstack([vectors, across / np.linalg.norm(across)])


def _nuclear_level(
    density: np.ndarray, vectors: np.ndarray, scale: np.ndarray, um_per_px: float
) -> float:
    """Otsu's threshold of smoothed hematoxylin over the tissue of the sampled windows."""
    amounts = density @ (np.linalg.inv(vectors)[:, 0] / scale[0])
    smooth = ndimage.gaussian_filter(amounts, (0, 1.0 / um_per_px, 1.0 / um_per_px))
    values = smooth[np.linalg.norm(density, axis=-1) > TISSUE_OD]
    if np.ptp(values) < 1e-3:
        return DEFAULT_NUCLEAR_LEVEL
    return float(np.clip(threshold_otsu(values), 0.2, 0.9))
