"""TIFF, BigTIFF and OME-TIFF through tifffile: which image, which pixels, which resolution.

The largest image of a file is the section; labels, macros and pyramid levels are smaller.
"""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile
from tifffile import PHOTOMETRIC

from histoscribe.errors import UserError, problem
from histoscribe.image.pixels import (
    Converter,
    RgbView,
    blend,
    blend_premultiplied,
    cmyk_to_rgb8,
    drop_extra,
    greyscale,
    in_8_bits,
    refused,
    require_used_range,
    through_palette,
)
from histoscribe.image.segments import JPEG_COMPRESSIONS, level_samples
from histoscribe.image.slide import Slide, unreadable
from histoscribe.image.whole import warn_if_turned
from histoscribe.units import PLAUSIBLE_UM_PER_PX, square_um_per_px

UM_PER_RESOLUTION_UNIT = {2: 25_400.0, 3: 10_000.0}  # TIFF ResolutionUnit: inch, centimetre
UM_PER_UNIT = {
    "nm": 1e-3,
    "µm": 1.0,
    "μm": 1.0,  # the Greek letter
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "\\u00B5m": 1.0,  # ImageJ
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}
FLUORESCENCE = ("dapi", "hoechst", "fitc", "cy3", "cy5", "alexa")
DEVICE_INDEPENDENT = (PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB, PHOTOMETRIC.ITULAB)
RIVAL_SHARE = 0.5  # of the section's area, above which a second image leaves a doubt
# What damaged tags lead to, beside tifffile's own error.
DAMAGED = (
    tifffile.TiffFileError, OSError, LookupError, ValueError, ArithmeticError, TypeError,
    AttributeError,
)  # fmt: skip
N_PROBES = 6  # a side
PROBE_PX = 64


def open_tiff(path: Path) -> Slide:
    """Open a TIFF for reading by region.

    Raises UserError for a truncated or unreadable file, for pixels that are no colour image (see
    `histoscribe.image.pixels`), for several images that could be the section, and for pixels
    that are not square.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            level = _section(tiff, path)
            _require_complete(path, level)
            ome = _ome_pixels(tiff, level)
            pixels = _rgb_pixels(path, level, ome)
            um_per_px = square_um_per_px(*_um_per_px(tiff, level, ome), str(path))
            tag = level.keyframe.tags.get("Orientation")
            warn_if_turned(int(tag.value) if tag else 1, path)
    except DAMAGED as error:
        raise UserError(unreadable(path, error)) from error
    return Slide(path, pixels, um_per_px)


def _section(tiff: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """The full-resolution level of the largest image, in colour where two are equal."""

    def area(level: tifffile.TiffPageSeries) -> int:
        return level.keyframe.imagelength * level.keyframe.imagewidth

    def is_colour(level: tifffile.TiffPageSeries) -> bool:
        return len(level.shape) == 3

    firsts = [series.levels[0] for series in tiff.series]
    section = max(firsts, key=lambda level: (area(level), is_colour(level)))
    rivals = [
        level
        for level in firsts
        if level is not section and is_colour(level) and area(level) > RIVAL_SHARE * area(section)
    ]
    if rivals:
        sizes = [f"{e.keyframe.imagewidth} x {e.keyframe.imagelength}" for e in [section, *rivals]]
        raise UserError(
            problem(
                str(path),
                f"{len(sizes)} images of like size ({', '.join(sizes)} px)",
                "one image of the section, and others only as small as a label or an overview",
                "Write the section's image to a file of its own.",
            )
        )
    if any(page is None or page.parent.root is not tiff for page in section.pages):
        raise refused(path, "an OME-TIFF of which a part lies in other files")
    return section


def _require_complete(path: Path, level: tifffile.TiffPageSeries) -> None:
    ends = [
        int(np.max(np.add(page.dataoffsets, page.databytecounts, dtype=np.int64), initial=0))
        for page in level.pages
    ]
    size = path.stat().st_size
    if not 0 < max(ends) <= size:
        raise UserError(
            problem(
                str(path),
                f"a file that ends at byte {size}, before its last pixels",
                f"at least {max(ends)} bytes",
                "The file is truncated; copy it again.",
            )
        )


def _rgb_pixels(path: Path, level: tifffile.TiffPageSeries, ome: ElementTree.Element) -> object:
    """The level as 8-bit RGB, read and converted by region; UserError for other kinds."""
    page = level.keyframe
    if level.axes not in ("YX", "YXS", "SYX", "CYX"):
        raise refused(path, f"pixels of shape {level.shape} and axes {level.axes}")
    if level.dtype not in (np.uint8, np.uint16):
        raise refused(path, f"pixels of type {level.dtype}")
    if level.axes == "YX":
        if page.photometric != PHOTOMETRIC.PALETTE or page.colormap is None:
            raise greyscale(path)
        # 16 bits a colour, but that old writers leave the upper 8 empty.
        palette = (page.colormap.T >> 8 * (page.colormap.max() > 255)).astype(np.uint8)
        return RgbView(level_samples(path, level), through_palette(palette))
    n_channels = level.shape[-1] if level.axes == "YXS" else level.shape[0]
    to_rgb8 = _converter(path, level, n_channels, ome)
    samples = level_samples(path, level)
    maximum = 255 if level.dtype == np.uint8 else _stated_maximum(page, ome)
    if maximum is None:
        maximum = np.iinfo(level.dtype).max
        require_used_range(_probes(samples), maximum, path)
    if maximum != 255:
        to_rgb8 = in_8_bits(maximum, to_rgb8)
    return RgbView(samples, to_rgb8) if to_rgb8 else samples


def _converter(
    path: Path, level: tifffile.TiffPageSeries, n_channels: int, ome: ElementTree.Element
) -> Converter | None:
    """How 8-bit samples become RGB; None where they are."""
    page = level.keyframe
    if level.axes == "CYX":
        names = " ".join(
            value for channel in _children(ome, "Channel") for value in channel.attrib.values()
        )
        if any(dye in names.lower() for dye in FLUORESCENCE) or "EmissionWavelength" in " ".join(
            key for channel in _children(ome, "Channel") for key in channel.attrib
        ):
            raise refused(path, f"{n_channels} channels of fluorescence")
    if n_channels == 2:
        raise greyscale(path)
    if page.photometric in DEVICE_INDEPENDENT:
        raise refused(path, f"{page.photometric.name} pixels")
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in JPEG_COMPRESSIONS:
        raise refused(path, "YCbCr pixels that are not JPEG")
    if page.photometric == PHOTOMETRIC.SEPARATED:
        inks = page.tags.valueof("InkSet", 1)
        if n_channels != 4 or inks != 1 or page.compression in JPEG_COMPRESSIONS:
            raise refused(path, f"{n_channels} inks in a layout other than plain CMYK")
        return cmyk_to_rgb8
    if n_channels == 3:
        return None
    if n_channels == 4 and level.axes != "CYX":
        extra = page.extrasamples[0] if page.extrasamples else tifffile.EXTRASAMPLE.UNSPECIFIED
        return {
            tifffile.EXTRASAMPLE.ASSOCALPHA: blend_premultiplied,
            tifffile.EXTRASAMPLE.UNASSALPHA: blend,
        }.get(extra, drop_extra)
    raise refused(path, f"{n_channels} channels")


def _stated_maximum(page: tifffile.TiffPage, ome: ElementTree.Element) -> int | None:
    """The largest value that 16-bit samples can take, 2^n - 1, or None where nothing says."""
    bits = page.bitspersample
    if ome is not None and ome.get("SignificantBits"):
        bits = int(ome.get("SignificantBits"))
    for name in ("SMaxSampleValue", "MaxSampleValue"):
        stated = page.tags.valueof(name)
        if stated is not None and 255 < np.max(stated) < 65535:
            bits = min(bits, int(np.max(stated)).bit_length())
    return 2**bits - 1 if 8 <= bits < 16 else None


def _probes(samples: object) -> list[np.ndarray]:
    """Small regions all over the image."""
    height, width, _ = samples.shape
    rows = np.linspace(0, max(height - PROBE_PX, 0), N_PROBES).astype(int)
    columns = np.linspace(0, max(width - PROBE_PX, 0), N_PROBES).astype(int)
    return [
        samples[y : min(y + PROBE_PX, height), x : min(x + PROBE_PX, width)]
        for y in rows
        for x in columns
    ]


def _ome_pixels(
    tiff: tifffile.TiffFile, level: tifffile.TiffPageSeries
) -> ElementTree.Element | None:
    """The OME element `Pixels` that describes the level: the first one of its size."""
    if not tiff.is_ome or not tiff.ome_metadata:
        return None
    size = str(level.keyframe.imagewidth), str(level.keyframe.imagelength)
    try:
        described = ElementTree.fromstring(tiff.ome_metadata).findall(".//{*}Pixels")
        return next((e for e in described if (e.get("SizeX"), e.get("SizeY")) == size), None)
    except ElementTree.ParseError:
        return None


def _children(element: ElementTree.Element | None, name: str) -> list[ElementTree.Element]:
    return [] if element is None else element.findall("{*}" + name)


def _um_per_px(
    tiff: tifffile.TiffFile, level: tifffile.TiffPageSeries, ome: ElementTree.Element | None
) -> tuple[float | None, float | None]:
    """Resolution along x and y: OME, Aperio's MPP, ImageJ or the TIFF tags, the first to speak."""
    if ome is not None and ome.get("PhysicalSizeX"):
        return tuple(_ome_um_per_px(ome, axis) for axis in "XY")
    if tiff.pages[0].is_svs:
        try:
            metadata = tifffile.tifffile.svs_description_metadata(tiff.pages[0].description)
        except ValueError:
            metadata = {}
        return (float(metadata["MPP"]),) * 2 if metadata.get("MPP") else (None, None)
    tags = level.keyframe.tags
    resolutions = [tags.valueof(name) for name in ("XResolution", "YResolution")]
    if tiff.is_imagej:
        unit_um = UM_PER_UNIT.get(str((tiff.imagej_metadata or {}).get("unit")))
    else:
        unit_um = UM_PER_RESOLUTION_UNIT.get(int(tags.valueof("ResolutionUnit", 0)))
    return tuple(_tag_um_per_px(resolution, unit_um) for resolution in resolutions)


def _ome_um_per_px(ome: ElementTree.Element, axis: str) -> float | None:
    size, unit = ome.get(f"PhysicalSize{axis}"), ome.get(f"PhysicalSize{axis}Unit", "µm")
    return float(size) * UM_PER_UNIT[unit] if size and unit in UM_PER_UNIT else None


def _tag_um_per_px(resolution: tuple[int, int] | None, unit_um: float | None) -> float | None:
    if unit_um is None or resolution is None or not all(resolution):
        return None
    um_per_px = unit_um * resolution[1] / resolution[0]
    # 72 to 1200 dpi is what a drawing program writes, never a microscope's resolution.
    return um_per_px if um_per_px <= PLAUSIBLE_UM_PER_PX[1] else None
