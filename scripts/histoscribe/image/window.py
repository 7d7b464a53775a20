"""A part of a section's image for figures and overviews."""

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from histoscribe.image.segments import level_samples
from histoscribe.image.slide import Slide


def read_window(
    path: Path, um_per_px: float, window_um: tuple[float, float, float, float], max_px: int
) -> np.ndarray:
    """A window (left, top, right, bottom in um) of a section's image, no edge over `max_px`.

    `path` is what `write_rescaled` wrote, at `um_per_px`. Reads the smallest pyramid level that
    is sharp enough; white outside the image. Returns (height, width, 3) uint8.
    """
    left, top, right, bottom = (edge / um_per_px for edge in window_um)
    reduction = max(right - left, bottom - top) / max_px
    with tifffile.TiffFile(path) as tiff:
        levels = tiff.series[0].levels
        number = max(i for i, _ in enumerate(levels) if 2**i <= max(reduction, 1))
        pixels = level_samples(path, levels[number])
    scale = 2**number
    x, y = int(left // scale), int(top // scale)
    width, height = int(np.ceil(right / scale)) - x, int(np.ceil(bottom / scale)) - y
    region = Slide(path, pixels, um_per_px * scale).read_region(x, y, width, height)
    box = (left / scale - x, top / scale - y, right / scale - x, bottom / scale - y)
    shrink = min(max_px / max(box[2] - box[0], box[3] - box[1]), 1.0)
    size = (max(1, round((box[2] - box[0]) * shrink)), max(1, round((box[3] - box[1]) * shrink)))
    return np.asarray(Image.fromarray(region).resize(size, Image.Resampling.BICUBIC, box))
