"""PNG and JPEG, which know no regions: whole in memory, as stored, converted region by region."""

import logging
from pathlib import Path

import numpy as np
from PIL import Image

from histoscribe.errors import UserError
from histoscribe.image.pixels import (
    RgbView,
    blend,
    cmyk_to_rgb8,
    greyscale,
    refused,
    through_palette,
)
from histoscribe.image.slide import Slide, unreadable

log = logging.getLogger(__name__)

EXIF_ORIENTATION = 274
# The guard is meant for web servers; slides are large by nature.
Image.MAX_IMAGE_PIXELS = None


def open_whole(path: Path) -> Slide:
    """Read a PNG or JPEG. Raises UserError where it is damaged, or grey."""
    try:
        with Image.open(path) as image:
            if image.mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")
            mode, palette = image.mode, image.getpalette()
            if mode in ("RGB", "RGBA") and _png_bits(path) == 16:
                # Pillow would keep the upper 8 bits, and of a 12-bit camera's image hardly any.
                raise refused(path, "a PNG of 16 bits a colour")
            warn_if_turned(image.getexif().get(EXIF_ORIENTATION, 1), path)
            samples = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(unreadable(path, error, "image")) from error
    return Slide(path, _as_rgb(samples, mode, palette, path), None)


def _png_bits(path: Path) -> int | None:
    """Bits a sample of a PNG, from its header; None for other files."""
    with path.open("rb") as file:
        header = file.read(25)
    return header[24] if header.startswith(b"\x89PNG") else None


def _as_rgb(samples: np.ndarray, mode: str, palette: list[int] | None, path: Path) -> object:
    match mode:
        case "RGB":
            return samples
        case "RGBA":
            return RgbView(samples, blend)
        case "CMYK":  # Pillow has turned the inverted inks of Adobe's JPEGs already
            return RgbView(samples, cmyk_to_rgb8)
        case "P":
            colours = np.array(palette, dtype=np.uint8).reshape(-1, 3)
            if (colours == colours[:, :1]).all():
                raise greyscale(path)
            return RgbView(samples[..., None], through_palette(colours))
        case "1" | "L" | "LA" | "La" | "I" | "F":
            raise greyscale(path)
        case _ if mode.startswith("I;"):
            raise greyscale(path)
    raise refused(path, f"{mode} pixels")


def warn_if_turned(orientation: int, path: Path) -> None:
    """Say that a viewer shows the image turned or mirrored, which no platform's file expects."""
    if orientation != 1:
        log.warning(
            "%s: its Orientation tag (%s) makes viewers turn or mirror the image; HistoScribe "
            "takes the pixels as they are stored",
            path,
            orientation,
        )
