"""Scanners' formats through openslide: NDPI, SVS, MRXS, SCN, BIF, VMS, DICOM and their kin.

Positions are those of level 0, which for MRXS is the whole frame of the scanner; ICC profiles are
not applied.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.image.pixels import blend
from histoscribe.image.slide import WHITE, Slide, unreadable
from histoscribe.units import square_um_per_px

CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class VendorPixels:
    """Level 0 of an `openslide.OpenSlide`; what was not scanned shows the slide's background."""

    path: Path
    scan: object
    background: np.ndarray  # (3,)

    @property
    def shape(self) -> tuple[int, int, int]:
        width, height = self.scan.dimensions
        return height, width, 3

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray:
        from openslide import OpenSlideError

        (top, bottom, _), (left, right, _) = (
            part.indices(n) for part, n in zip(region, self.shape[:2], strict=True)
        )
        try:
            image = self.scan.read_region((left, top), 0, (right - left, bottom - top))
        except OpenSlideError as error:
            raise UserError(unreadable(self.path, error, "slide")) from error
        return blend(np.asarray(image), self.background)


def is_known_to_openslide(path: Path) -> bool:
    """Whether openslide has a reader for the file."""
    import openslide

    return openslide.OpenSlide.detect_format(path) is not None


def open_vendor(path: Path) -> Slide:
    """Open a scanner's file through openslide.

    Raises UserError for a file that openslide does not know or can't read, an MRXS without its
    folder, and pixels that are not square.
    """
    import openslide

    if path.suffix.lower() == ".mrxs":
        _require_companion(path)
    try:
        scan = openslide.OpenSlide(path)
        properties = dict(scan.properties)
        if "openslide.level[0].width" not in properties:
            raise openslide.OpenSlideError("no image in it")
        scan.set_cache(openslide.OpenSlideCache(CACHE_BYTES))
    except openslide.OpenSlideError as error:
        raise UserError(unreadable(path, error, "slide")) from error
    mpp = [properties.get(f"openslide.mpp-{axis}") for axis in "xy"]
    um_per_px = square_um_per_px(*(float(each) if each else None for each in mpp), str(path))
    return Slide(path, VendorPixels(path, scan, _background(properties)), um_per_px)


def bounds_origin_px(path: Path) -> tuple[int, int]:
    """Where the scanned part begins in level 0, (x, y), for slides that say: MRXS and its kin.

    Viewers such as QuPath show that part alone and count from its corner; others start at (0, 0).
    """
    import openslide

    if not is_known_to_openslide(path):
        return 0, 0
    with openslide.OpenSlide(path) as scan:
        return scanned_corner(dict(scan.properties), scan.dimensions)


def scanned_corner(properties: dict[str, str], size: tuple[int, int]) -> tuple[int, int]:
    """The corner of the bounds in OpenSlide's `properties`; (0, 0) where both sides are not less
    than those of level 0, `size`."""
    x, y, width, height = (
        properties.get(f"openslide.bounds-{name}") for name in ("x", "y", "width", "height")
    )
    if None in (x, y, width, height) or int(width) == size[0] or int(height) == size[1]:
        return 0, 0
    return int(x), int(y)


def _background(properties: dict[str, str]) -> np.ndarray:
    colour = properties.get("openslide.background-color")
    return np.frombuffer(bytes.fromhex(colour), np.uint8) if colour else np.full(3, WHITE)


def _require_companion(path: Path) -> None:
    folder = path.with_suffix("")
    if not (folder / "Slidedat.ini").is_file():
        raise UserError(
            problem(
                str(path),
                "no Slidedat.ini in the folder '" + folder.name + "' beside it",
                "the folder of the same name, which holds the pixels of an MRXS slide",
                "Copy the folder together with the .mrxs file.",
            )
        )
