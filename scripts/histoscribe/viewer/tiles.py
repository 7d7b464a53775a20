"""The H&E as a pyramid of JPEG tiles that the page loads one by one.

Level 0 is the coarsest. The picture is padded with white to a multiple of the coarsest level's
pixel, so that pixel k of a level covers exactly [k, k + 1) of its pixels in um at every level, and
no tile is stretched by a part of a pixel.
"""

from dataclasses import dataclass
from pathlib import Path

import tifffile
from PIL import Image
from tqdm import tqdm

from histoscribe.image import Slide
from histoscribe.image.segments import level_samples

TILE_PX = 512
COARSEST_PX = 1024  # no level below the first one whose edges fit into this


@dataclass(frozen=True)
class TilePyramid:
    """Size of the finest level, padding included, and the number of the finest level."""

    width_px: int
    height_px: int
    max_level: int
    um_per_px: float
    tile_px: int = TILE_PX


def write_tiles(path: Path, um_per_px: float, folder: Path, quality: int) -> TilePyramid:
    """Write {level}/{column}_{row}.jpg into `folder`, from a section's image at `um_per_px`.

    `path` is what `write_rescaled` wrote. Each level is cut from the file's level of that size, a
    tile at a time, whatever the size of the slide.
    """
    with tifffile.TiffFile(path) as tiff:
        stored = tiff.series[0].levels
        sizes = [level.shape[:2] for level in stored]
        n_levels = 1
        while n_levels < len(stored) and max(sizes[n_levels - 1]) > COARSEST_PX:
            n_levels += 1
        coarsest = 2 ** (n_levels - 1)  # pixels of the finest level along one of the coarsest
        height, width = (-(-edge // coarsest) * coarsest for edge in sizes[0])
        pyramid = TilePyramid(width, height, n_levels - 1, um_per_px)
        for number, level in enumerate(stored[:n_levels]):
            slide = Slide(path, level_samples(path, level), um_per_px * 2**number)
            target = folder / str(pyramid.max_level - number)
            _write_level(slide, width >> number, height >> number, target, quality)
    return pyramid


def _write_level(slide: Slide, width_px: int, height_px: int, folder: Path, quality: int) -> None:
    folder.mkdir(parents=True)
    for y in tqdm(range(0, height_px, TILE_PX), desc=f"tiles of level {folder.name}", disable=None):
        for x in range(0, width_px, TILE_PX):
            size = min(TILE_PX, width_px - x), min(TILE_PX, height_px - y)
            tile = Image.fromarray(slide.read_region(x, y, *size))
            # Full colour resolution: the stain is what a reader looks at.
            tile.save(folder / f"{x // TILE_PX}_{y // TILE_PX}.jpg", quality=quality, subsampling=0)
