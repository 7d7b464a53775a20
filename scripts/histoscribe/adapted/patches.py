"""Patches of a section's image in its own stain, for networks to learn from and to look at."""

from dataclasses import dataclass

import numpy as np

from histoscribe.features.stain import (
    StainSeparation,
    concentrations,
    estimate_stain,
    optical_density,
)
from histoscribe.image import Slide

COLOUR_JITTER = 0.1  # SD of the logarithm of each stain's strength, and of all together
OFFSET_JITTER = 0.02
EDGE_PX = 4  # units nearer to a patch's edge are not read in it


@dataclass(frozen=True)
class StainedImage:
    """A slide seen as hematoxylin, eosin and residual, averaged over `factor` x `factor` px."""

    slide: Slide
    stain: StainSeparation
    factor: int
    um_per_px: float

    @staticmethod
    def of(slide: Slide, slide_um_per_px: float, um_per_px: float) -> "StainedImage":
        """`slide` at the whole multiple of its resolution that is nearest to `um_per_px`."""
        factor = max(1, round(um_per_px / slide_um_per_px))
        stain = estimate_stain(slide, slide_um_per_px)
        return StainedImage(slide, stain, factor, factor * slide_um_per_px)

    @property
    def size_px(self) -> tuple[float, float]:
        """Width and height."""
        return self.slide.width_px / self.factor, self.slide.height_px / self.factor

    def read(self, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """(3, height_px, width_px) float32; beyond the slide it is clear glass."""
        factor = self.factor
        region = self.slide.read_region(
            x_px * factor, y_px * factor, width_px * factor, height_px * factor
        )
        if factor > 1:
            blocks = region.reshape(height_px, factor, width_px, factor, 3)
            region = np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)
        return np.stack(concentrations(optical_density(region, self.stain.white), self.stain))


def augment(
    patch: np.ndarray, places: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A patch (3, size, size) turned or mirrored and stained otherwise, its places (..., 2) too."""
    strength = rng.lognormal(0, COLOUR_JITTER, 3) * rng.lognormal(0, COLOUR_JITTER)
    offset = rng.normal(0, OFFSET_JITTER, 3)
    patch = patch * strength[:, None, None] + offset[:, None, None]
    mirror_x, mirror_y, transpose = rng.random(3) < 0.5
    return mirrored(patch.astype(np.float32), places, mirror_x, mirror_y, transpose)


def mirrored(
    patch: np.ndarray, places: np.ndarray, in_x: bool, in_y: bool, transposed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A patch (3, height, width) in one of its eight positions, with the places (x, y) in it."""
    _, height, width = patch.shape
    x, y = places[..., 0], places[..., 1]
    if in_x:
        patch, x = patch[:, :, ::-1], width - x
    if in_y:
        patch, y = patch[:, ::-1], height - y
    if transposed:
        patch, x, y = patch.transpose(0, 2, 1), y, x
    return np.ascontiguousarray(patch), np.stack([x, y], axis=-1)
