"""The slide: an RGB image of a section, read by region."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from histoscribe.errors import problem

WHITE = 255


@dataclass(frozen=True)
class Slide:
    """An RGB image that is read by region.

    `pixels` is array-like of shape (height_px, width_px, 3), uint8, indexed by two slices;
    `um_per_px` is None where the file does not say.
    """

    path: Path
    pixels: object
    um_per_px: float | None

    @property
    def width_px(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        return int(self.pixels.shape[0])

    def read_region(self, x_px: int, y_px: int, width_px: int, height_px: int) -> np.ndarray:
        """Pixels of a rectangle, (height_px, width_px, 3) uint8; white outside the image.

        Raises UserError where the file's pixels are damaged.
        """
        left, top = max(x_px, 0), max(y_px, 0)
        right = min(x_px + width_px, self.width_px)
        bottom = min(y_px + height_px, self.height_px)
        region = np.full((height_px, width_px, 3), WHITE, dtype=np.uint8)
        if left < right and top < bottom:
            region[top - y_px : bottom - y_px, left - x_px : right - x_px] = self.pixels[
                top:bottom, left:right
            ]
        return region


def unreadable(path: Path, error: Exception, kind: str = "TIFF") -> str:
    """The words for a file, or a part of it, that does not decode."""
    return problem(
        str(path), f"an unreadable {kind} ({error})", f"a whole {kind}", "Copy it again."
    )
