"""Section images: read by region, rescaled to the working resolution, written as a pyramid.

`open_slide` gives a `Slide` for any supported file. What knows no regions is whole in memory:
JPEG, PNG, and a compressed TIFF in one piece. Tiled TIFFs and those of many strips are decoded
piece by piece, uncompressed ones are mapped into memory. `write_rescaled` streams a slide into a
tiled OME-TIFF.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
import zarr
from PIL import Image

from histoscribe.errors import UserError, problem
from histoscribe.units import PLAUSIBLE_UM_PER_PX

TILE_PX = 512
WHITE = 255
TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".svs", ".ndpi")
WHOLE_SUFFIXES = (".jpg", ".jpeg", ".png")
UM_PER_RESOLUTION_UNIT = {2: 25_400.0, 3: 10_000.0}  # TIFF ResolutionUnit: inch, centimetre

# The guard is meant for web servers; slides are large by nature.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Slide:
    """An RGB image that is read by region.

    `pixels` is array-like of shape (height_px, width_px, 3), uint8; `um_per_px` is None where
    the file does not say.
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
        """Pixels of a rectangle, (height_px, width_px, 3) uint8; white outside the image."""
        region = np.full((height_px, width_px, 3), WHITE, dtype=np.uint8)
        left, top = max(x_px, 0), max(y_px, 0)
        right = min(x_px + width_px, self.width_px)
        bottom = min(y_px + height_px, self.height_px)
        if left < right and top < bottom:
            region[top - y_px : bottom - y_px, left - x_px : right - x_px] = self.pixels[
                top:bottom, left:right
            ]
        return region


def open_slide(path: Path | str) -> Slide:
    """Open an image file for reading by region.

    Raises UserError for a missing, truncated or unreadable file and for pixels other than
    8-bit RGB.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(problem(str(path), "no such file", "an image", "Correct the path."))
    suffix = path.suffix.lower()
    if suffix in TIFF_SUFFIXES:
        return _open_tiff(path)
    if suffix in WHOLE_SUFFIXES:
        return _open_whole(path)
    raise UserError(
        problem(
            str(path),
            f"the ending '{suffix}'",
            "one of " + " ".join(TIFF_SUFFIXES + WHOLE_SUFFIXES),
            "Convert the image to a tiled TIFF.",
        )
    )


def read_window(
    path: Path, um_per_px: float, window_um: tuple[float, float, float, float], max_px: int
) -> np.ndarray:
    """A window (left, top, right, bottom in um) of a section's image, no edge over `max_px`.

    Reads the smallest pyramid level that is sharp enough; white outside the image.
    """
    left, top, right, bottom = (edge / um_per_px for edge in window_um)
    reduction = max(right - left, bottom - top) / max_px
    with tifffile.TiffFile(path) as tiff:
        levels = tiff.series[0].levels
        number = max(i for i, _ in enumerate(levels) if 2**i <= max(reduction, 1))
    pixels = zarr.open(tifffile.imread(path, aszarr=True, series=0, level=number), mode="r")
    scale = 2**number
    x, y = int(left // scale), int(top // scale)
    width, height = int(np.ceil(right / scale)) - x, int(np.ceil(bottom / scale)) - y
    region = Slide(path, pixels, um_per_px * scale).read_region(x, y, width, height)
    box = (left / scale - x, top / scale - y, right / scale - x, bottom / scale - y)
    shrink = min(max_px / max(box[2] - box[0], box[3] - box[1]), 1.0)
    size = (max(1, round((box[2] - box[0]) * shrink)), max(1, round((box[3] - box[1]) * shrink)))
    return np.asarray(Image.fromarray(region).resize(size, Image.Resampling.BICUBIC, box))


def _open_tiff(path: Path) -> Slide:
    try:
        with tifffile.TiffFile(path) as tiff:
            level, page = tiff.series[0].levels[0], tiff.pages[0]
            shape, dtype, is_mappable = level.shape, level.dtype, level.dataoffset is not None
            firsts = [each.keyframe for series in tiff.series for each in series.levels]
            largest = max(first.imagelength * first.imagewidth for first in firsts)
            ends = np.add(page.dataoffsets, page.databytecounts, dtype=np.int64)
            complete = len(ends) > 0 and int(ends.max()) <= path.stat().st_size
            um_per_px = _tiff_um_per_px(tiff)
    except (tifffile.TiffFileError, IndexError, ValueError, OSError) as error:
        raise UserError(_unreadable(path, error)) from error
    if not complete:
        raise UserError(
            problem(
                str(path),
                f"a file that ends at byte {path.stat().st_size}, before its last pixels",
                f"at least {int(ends.max()) if len(ends) else 0} bytes",
                "The file is truncated; copy it again.",
            )
        )
    _require_rgb8(path, shape, dtype)
    if largest > shape[0] * shape[1]:
        raise UserError(
            problem(
                str(path),
                f"a first image of {shape[1]} x {shape[0]} px and a later one that is larger",
                "the full-resolution image first",
                "Convert the image.",
            )
        )
    return Slide(path, _tiff_pixels(path, is_mappable), um_per_px)


def _tiff_pixels(path: Path, is_mappable: bool) -> object:
    """The first image of a TIFF as an array that is read by region; see the module's docstring."""
    if is_mappable:
        return tifffile.memmap(path, series=0, level=0, mode="r")
    pixels = zarr.open(tifffile.imread(path, aszarr=True, series=0, level=0), mode="r")
    if any(part < whole for part, whole in zip(pixels.chunks[:2], pixels.shape[:2], strict=True)):
        return pixels
    # In one piece, which every region would decode anew.
    try:
        return pixels[:]
    except Exception as error:  # each compression raises its own for damaged pixels
        raise UserError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    return problem(str(path), f"an unreadable TIFF ({error})", "a whole TIFF", "Copy it again.")


def _open_whole(path: Path) -> Slide:
    try:
        with Image.open(path) as image:
            mode = image.mode
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            problem(str(path), f"an unreadable image ({error})", "a whole image", "Copy it again.")
        ) from error
    if mode != "RGB":
        raise UserError(_not_rgb8(path, f"{mode} pixels"))
    return Slide(path, pixels, None)


def _require_rgb8(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) != 3 or shape[2] != 3 or dtype != np.uint8:
        raise UserError(_not_rgb8(path, f"pixels of shape {shape} and type {dtype}"))


def _not_rgb8(path: Path, found: str) -> str:
    return problem(str(path), found, "8-bit RGB, (height, width, 3)", "Convert the image.")


def _tiff_um_per_px(tiff: tifffile.TiffFile) -> float | None:
    """Resolution from the TIFF tags or the Aperio description; None where neither speaks."""
    page = tiff.pages[0]
    if page.is_svs:
        mpp = tifffile.tifffile.svs_description_metadata(page.description).get("MPP")
        return float(mpp) if mpp else None
    unit = page.tags.get("ResolutionUnit")
    resolution = page.tags.get("XResolution")
    if unit is None or resolution is None or int(unit.value) not in UM_PER_RESOLUTION_UNIT:
        return None
    numerator, denominator = resolution.value
    if not numerator or not denominator:
        return None
    um_per_px = UM_PER_RESOLUTION_UNIT[int(unit.value)] * denominator / numerator
    # 72 to 1200 dpi is what a drawing program writes, never a microscope's resolution.
    return um_per_px if um_per_px <= PLAUSIBLE_UM_PER_PX[1] else None


def write_rescaled(slide: Slide, um_per_px_in: float, um_per_px_out: float, path: Path) -> None:
    """Write `slide` at `um_per_px_out` as a tiled, pyramidal OME-TIFF.

    Output pixel k covers exactly [k, k + 1) * um_per_px_out of the section, so positions in um
    stay valid. The image is streamed through a raw scratch file beside `path`.
    """
    scale = um_per_px_out / um_per_px_in  # input pixels per output pixel
    width = max(1, int(slide.width_px / scale + 1e-6))  # a last part of a pixel is cut
    height = max(1, int(slide.height_px / scale + 1e-6))
    scratch = path.with_suffix(".scratch")
    pixels = np.memmap(scratch, dtype=np.uint8, mode="w+", shape=(height, width, 3))
    try:
        for x, y, w, h in _blocks(width, height, 2048):
            pixels[y : y + h, x : x + w] = _resample(slide, scale, x, y, w, h)
        _write_pyramid(pixels, um_per_px_out, path)
    finally:
        del pixels
        scratch.unlink(missing_ok=True)


def _resample(slide: Slide, scale: float, x: int, y: int, w: int, h: int) -> np.ndarray:
    """One block of the rescaled image; the margin makes blocks meet without a seam."""
    margin = int(np.ceil(4 * max(scale, 1.0)))
    x0 = max(int(np.floor(x * scale)) - margin, 0)
    y0 = max(int(np.floor(y * scale)) - margin, 0)
    x1 = min(int(np.ceil((x + w) * scale)) + margin, slide.width_px)
    y1 = min(int(np.ceil((y + h) * scale)) + margin, slide.height_px)
    region = slide.read_region(x0, y0, x1 - x0, y1 - y0)
    box = (
        x * scale - x0,
        y * scale - y0,
        min((x + w) * scale, slide.width_px) - x0,
        min((y + h) * scale, slide.height_px) - y0,
    )
    return np.asarray(Image.fromarray(region).resize((w, h), Image.Resampling.BICUBIC, box))


def _write_pyramid(pixels: np.ndarray, um_per_px: float, path: Path) -> None:
    levels = [pixels]
    while max(levels[-1].shape[:2]) > 2 * TILE_PX:
        levels.append(_halve(levels[-1]))
    options = {"tile": (TILE_PX, TILE_PX), "photometric": "rgb", "compression": "deflate"}
    with tifffile.TiffWriter(path, ome=True, bigtiff=pixels.nbytes > 2**31) as tiff:
        for number, level in enumerate(levels):
            per_cm = 1e4 / (um_per_px * 2**number)
            extra = (
                {
                    "subifds": len(levels) - 1,
                    "metadata": {
                        "axes": "YXS",
                        "PhysicalSizeX": um_per_px,
                        "PhysicalSizeY": um_per_px,
                        "PhysicalSizeXUnit": "µm",
                        "PhysicalSizeYUnit": "µm",
                    },
                }
                if number == 0
                else {"subfiletype": 1}
            )
            tiff.write(
                _tiles(level),
                shape=level.shape,
                dtype=np.uint8,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                **options,
                **extra,
            )


def _halve(level: np.ndarray) -> np.ndarray:
    """The next pyramid level by 2 x 2 means, block by block; an odd last row or column is cut."""
    height, width = level.shape[0] // 2, level.shape[1] // 2
    half = np.empty((height, width, 3), dtype=np.uint8)
    for x, y, w, h in _blocks(width, height, 2048):
        block = level[2 * y : 2 * (y + h), 2 * x : 2 * (x + w)].astype(np.uint16)
        block = block.reshape(h, 2, w, 2, 3).sum(axis=(1, 3))
        half[y : y + h, x : x + w] = (block + 2) // 4
    return half


def _tiles(level: np.ndarray) -> Iterator[np.ndarray]:
    for y in range(0, level.shape[0], TILE_PX):
        for x in range(0, level.shape[1], TILE_PX):
            yield np.ascontiguousarray(level[y : y + TILE_PX, x : x + TILE_PX])


def _blocks(width: int, height: int, size: int) -> Iterator[tuple[int, int, int, int]]:
    """Rectangles x, y, width, height that cover an image, row by row."""
    for y in range(0, height, size):
        for x in range(0, width, size):
            yield x, y, min(size, width - x), min(size, height - y)
