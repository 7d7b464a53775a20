"""Which reader opens which file."""

from pathlib import Path

from histoscribe.errors import UserError, problem
from histoscribe.image.slide import Slide
from histoscribe.image.tiff import open_tiff
from histoscribe.image.vendor import is_known_to_openslide, open_vendor
from histoscribe.image.whole import open_whole

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
WHOLE_SUFFIXES = (".jpg", ".jpeg", ".png")
# TIFFs at heart: what openslide does not know of them, tifffile may.
VENDOR_TIFF_SUFFIXES = (".svs", ".ndpi", ".scn", ".bif")
VENDOR_SUFFIXES = (".mrxs", ".svslide", ".vms", ".vmu", ".dcm")
SUFFIXES = TIFF_SUFFIXES + VENDOR_TIFF_SUFFIXES + VENDOR_SUFFIXES + WHOLE_SUFFIXES


def open_slide(path: Path | str) -> Slide:
    """Open an image file for reading by region, as 8-bit RGB.

    Raises UserError for a missing, truncated or unreadable file, for pixels that are no colour
    image, and for pixels that are not square.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(problem(str(path), "no such file", "an image", "Correct the path."))
    suffix = path.suffix.lower()
    if suffix in WHOLE_SUFFIXES:
        return open_whole(path)
    if suffix in TIFF_SUFFIXES:
        return open_tiff(path)
    if suffix in VENDOR_TIFF_SUFFIXES:
        return open_vendor(path) if is_known_to_openslide(path) else open_tiff(path)
    if suffix in VENDOR_SUFFIXES:
        return open_vendor(path)
    raise UserError(
        problem(
            str(path),
            f"the ending '{suffix}'",
            "one of " + " ".join(SUFFIXES),
            "Convert the image to a tiled TIFF.",
        )
    )
