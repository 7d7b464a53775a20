"""Section images: read by region, rescaled to the working resolution, written as a pyramid.

`open_slide` gives a `Slide` for any supported file; its pixels are 8-bit RGB whatever the file
stores, converted region by region (`pixels`), or refused by name. TIFFs are read through tifffile
(`tiff`), scanners' formats through openslide (`vendor`), PNG and JPEG whole (`whole`).
`resample_region` gives a rectangle at any scale and `write_rescaled` streams a slide into a
tiled, pyramidal OME-TIFF (`rescale`), of which `read_window` shows a part (`window`).
"""

from histoscribe.image.formats import SUFFIXES, open_slide
from histoscribe.image.rescale import resample_region, write_rescaled
from histoscribe.image.slide import Slide
from histoscribe.image.window import read_window

__all__ = ["SUFFIXES", "Slide", "open_slide", "read_window", "resample_region", "write_rescaled"]
