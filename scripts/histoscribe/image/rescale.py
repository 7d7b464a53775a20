"""Slides at another resolution: by region, and streamed into a tiled, pyramidal OME-TIFF.

Output pixel k covers exactly [k, k + 1) * um_per_px of the section, so positions in um stay valid.
Every pyramid level is made from the one above it while that passes by, in bands of `TILE_PX` rows;
levels below the first wait in nameless scratch files. Memory: one band of the output and what the
slide keeps decoded, whatever the slide's height.
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain, product
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image

from histoscribe.image.slide import WHITE, Slide

TILE_PX = 512
BLOCK_PX = 2048  # width of what is resampled at a time
SOURCE_PX = (8192, 2048)  # width and height of the slide that are read for it, margins aside
ENCODING_BYTES = 32 * 2**20  # of tiles that wait to be compressed
COVERED = 1e-6  # of a pixel may be missing where the slide ends


def resample_region(
    slide: Slide, scale: float, x_px: int, y_px: int, width_px: int, height_px: int
) -> np.ndarray:
    """A rectangle of the slide at another resolution, (height_px, width_px, 3) uint8.

    `scale` is slide pixels per output pixel; the rectangle is in output pixels. Bicubic, with
    antialiasing where it shrinks; a margin is read around, so that rectangles meet without a
    seam. White where the slide does not cover an output pixel whole.
    """
    if scale == 1:
        return slide.read_region(x_px, y_px, width_px, height_px)
    columns, rows = output_size(slide, scale)
    left, top = max(x_px, 0), max(y_px, 0)
    right, bottom = min(x_px + width_px, columns), min(y_px + height_px, rows)
    result = np.full((height_px, width_px, 3), WHITE, dtype=np.uint8)
    if left >= right or top >= bottom:
        return result
    margin = int(np.ceil(2 * max(scale, 1.0))) + 1  # the reach of the bicubic kernel
    x0, y0 = max(int(left * scale) - margin, 0), max(int(top * scale) - margin, 0)
    x1 = min(int(np.ceil(right * scale)) + margin, slide.width_px)
    y1 = min(int(np.ceil(bottom * scale)) + margin, slide.height_px)
    region = slide.read_region(x0, y0, x1 - x0, y1 - y0)
    # Across, then down: left alone, Pillow takes the axis first that saves more, and the rounding
    # between the two would depend on the rectangle.
    across = left * scale - x0, 0, min(right * scale, slide.width_px) - x0, y1 - y0
    down = 0, top * scale - y0, right - left, min(bottom * scale, slide.height_px) - y0
    wide = Image.fromarray(region).resize((right - left, y1 - y0), Image.Resampling.BICUBIC, across)
    result[top - y_px : bottom - y_px, left - x_px : right - x_px] = wide.resize(
        (right - left, bottom - top), Image.Resampling.BICUBIC, down
    )
    return result


def output_size(slide: Slide, scale: float) -> tuple[int, int]:
    """Width and height in whole output pixels; a last part of a pixel is cut."""
    return tuple(max(1, int(n / scale + COVERED)) for n in (slide.width_px, slide.height_px))


def write_rescaled(
    slide: Slide, um_per_px_in: float, um_per_px_out: float, path: Path, threads: int = 1
) -> None:
    """Write `slide` at `um_per_px_out` as a tiled, pyramidal OME-TIFF.

    Levels halve until no side is over 1,024 px; an odd last row or column is cut from the next.
    Raises UserError where the slide's pixels are damaged.
    """
    scale = um_per_px_out / um_per_px_in  # slide pixels per output pixel
    width, height = output_size(slide, scale)
    n_levels = 1
    while max(width, height) >> (n_levels - 1) > 2 * TILE_PX and min(width, height) >> n_levels:
        n_levels += 1
    shapes = [(height >> level, width >> level, 3) for level in range(n_levels)]
    with ExitStack() as stack:
        # Without a name no scratch file outlives the process, however it ends.
        scratch = [stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for _ in shapes[1:]]
        pool = stack.enter_context(ThreadPoolExecutor(threads))
        is_big = sum(np.prod(shape) for shape in shapes) > 2**31
        tiff = stack.enter_context(tifffile.TiffWriter(path, ome=True, bigtiff=is_big))
        bands = _bands(slide, scale, width, height, pool)
        _write_level(tiff, _spooled(bands, scratch), shapes, 0, um_per_px_out, threads)
        for number, file in enumerate(scratch, start=1):
            rows = _read_bands(file, shapes[number])
            _write_level(tiff, rows, shapes, number, um_per_px_out, threads)


def _bands(
    slide: Slide, scale: float, width: int, height: int, pool: ThreadPoolExecutor
) -> Iterator[np.ndarray]:
    """The rescaled image from top to bottom, `TILE_PX` rows at a time."""
    across = max(min(BLOCK_PX, int(SOURCE_PX[0] / scale)), 1)
    down = max(min(TILE_PX, int(SOURCE_PX[1] / scale)), 1)
    for top in range(0, height, TILE_PX):
        band = np.empty((min(TILE_PX, height - top), width, 3), dtype=np.uint8)
        corners = product(range(0, len(band), down), range(0, width, across))

        def fill(corner: tuple[int, int], band: np.ndarray = band, top: int = top) -> None:
            y, x = corner
            part = band[y : y + down, x : x + across]
            part[:] = resample_region(slide, scale, x, top + y, part.shape[1], len(part))

        list(pool.map(fill, corners))
        yield band


def _spooled(bands: Iterator[np.ndarray], scratch: list[BinaryIO]) -> Iterator[np.ndarray]:
    """The bands as they are; their halves, quarters ... go to the scratch files on the way.

    `TILE_PX` halves evenly as often as there are levels, so that no row is split between bands.
    """
    for band in bands:
        half = band
        for file in scratch:
            half = _halved(half)
            file.write(half.tobytes())
        yield band


def _halved(band: np.ndarray) -> np.ndarray:
    """2 x 2 means; an odd last row or column is cut."""
    height, width = band.shape[0] // 2, band.shape[1] // 2
    band = band[: 2 * height, : 2 * width]
    total = band[0::2, 0::2].astype(np.uint16)
    total += band[1::2, 0::2]
    total += band[0::2, 1::2]
    total += band[1::2, 1::2]
    total += 2
    return (total >> 2).astype(np.uint8)


def _read_bands(file: BinaryIO, shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
    height, width, _ = shape
    file.seek(0)
    for y in range(0, height, TILE_PX):
        rows = min(TILE_PX, height - y)
        yield np.frombuffer(file.read(rows * width * 3), np.uint8).reshape(rows, width, 3)


def _write_level(
    tiff: tifffile.TiffWriter,
    bands: Iterator[np.ndarray],
    shapes: list[tuple[int, int, int]],
    number: int,
    um_per_px: float,
    threads: int,
) -> None:
    per_cm = 1e4 / (um_per_px * 2**number)
    first = {
        "subifds": len(shapes) - 1,
        "metadata": {
            "axes": "YXS",
            "PhysicalSizeX": um_per_px,
            "PhysicalSizeY": um_per_px,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeYUnit": "µm",
        },
    }
    tiff.write(
        chain.from_iterable(_tiles(band) for band in bands),
        shape=shapes[number],
        dtype=np.uint8,
        photometric="rgb",
        tile=(TILE_PX, TILE_PX),
        compression="deflate",
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
        maxworkers=threads,
        buffersize=ENCODING_BYTES,
        **(first if number == 0 else {"subfiletype": 1}),
    )


def _tiles(band: np.ndarray) -> Iterator[np.ndarray]:
    for x in range(0, band.shape[1], TILE_PX):
        yield np.ascontiguousarray(band[:, x : x + TILE_PX])
