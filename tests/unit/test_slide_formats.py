"""Every kind of file and of pixels: read as 8-bit RGB by region, or refused by name."""

import contextlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from section_files import tissue_image

from histoscribe.errors import UserError
from histoscribe.image import open_slide
from histoscribe.image.tiff import open_tiff
from histoscribe.image.vendor import open_vendor

TILED = {"tile": (64, 64), "compression": "deflate"}
ROWS, COLUMNS = slice(30, 170), slice(55, 210)
UM = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}


@pytest.fixture(scope="module")
def pixels():
    return tissue_image(180, 230)


def region(slide):
    return slide.read_region(55, 30, 155, 140)


def assert_reads(path, expected, within=0):
    slide = open_slide(path)
    assert (slide.height_px, slide.width_px) == expected.shape[:2]
    found = region(slide)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected[ROWS, COLUMNS]).max() <= within


def over_white(colour, alpha):
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


def alpha_of(pixels):
    return np.linspace(0, 255, pixels[..., 0].size).astype(np.uint8).reshape(pixels.shape[:2])


@pytest.mark.parametrize("options", [TILED, {}, {"compression": "lzw", "rowsperstrip": 20}])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_layouts_of_a_tiff(tmp_path, pixels, options, planarconfig, bigtiff):
    stored = pixels if planarconfig == "contig" else np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="rgb",
        planarconfig=planarconfig,
        bigtiff=bigtiff,
        **options,
    )
    assert_reads(tmp_path / "a.tif", pixels)


@pytest.mark.parametrize("options", [TILED, {}])
@pytest.mark.parametrize("axes", ["YXS", "CYX"])
def test_ome_tiff_with_a_pyramid_and_a_label(tmp_path, pixels, options, axes):
    section = pixels if axes == "YXS" else np.moveaxis(pixels, -1, 0)
    half = section[::2, ::2] if axes == "YXS" else section[:, ::2, ::2]
    colour = {"photometric": "rgb"} if axes == "YXS" else {"photometric": "minisblack"}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        tiff.write(pixels[:50, :60], photometric="rgb", metadata={"axes": "YXS", "Name": "label"})
        tiff.write(
            section, subifds=1, metadata={"axes": axes, "Name": "he", **UM}, **colour, **options
        )
        tiff.write(half, subfiletype=1, **colour, **options)
    assert_reads(tmp_path / "a.ome.tif", pixels)
    assert open_slide(tmp_path / "a.ome.tif").um_per_px == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("size", "unit", "um_per_px"),
    [(250, "nm", 0.25), (0.25, "µm", 0.25), (2.5e-4, "mm", 0.25), (1, "pixel", None)],
)
def test_units_of_ome(tmp_path, pixels, size, unit, um_per_px):
    metadata = {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    metadata |= {"PhysicalSizeY": size, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, photometric="rgb", metadata=metadata)
    found = open_slide(tmp_path / "a.ome.tif").um_per_px
    assert found == (um_per_px and pytest.approx(um_per_px))


def test_resolution_that_imagej_wrote(tmp_path, pixels):
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, imagej=True, resolution=(4, 4), metadata={"unit": "um"}
    )
    assert open_slide(tmp_path / "a.tif").um_per_px == pytest.approx(0.25)


def test_pixels_that_are_not_square(tmp_path, pixels):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, resolution=(40_000, 20_000), resolutionunit="CENTIMETER")
    with pytest.raises(UserError, match=r"a\.tif: found pixels of 0\.25 x 0\.5 um"):
        open_slide(path)
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.27}
    tifffile.imwrite(tmp_path / "b.ome.tif", pixels, photometric="rgb", metadata=metadata)
    with pytest.raises(UserError, match=r"pixels of 0\.25 x 0\.27 um"):
        open_slide(tmp_path / "b.ome.tif")


def test_the_largest_image_is_the_section(tmp_path, pixels):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(pixels[:60, :80], photometric="rgb", metadata=None)
        tiff.write(pixels, photometric="rgb", metadata=None)
    assert_reads(tmp_path / "a.tif", pixels)


def test_two_images_of_like_size_are_refused(tmp_path, pixels):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        for image in (pixels, pixels[:170]):
            tiff.write(image, photometric="rgb", metadata={"axes": "YXS"})
    with pytest.raises(UserError, match=r"2 images of like size \(230 x 180, 230 x 170 px\)"):
        open_slide(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("extrasamples", ["unassalpha", "assocalpha", "unspecified"])
def test_rgba_tiff(tmp_path, pixels, extrasamples):
    alpha = alpha_of(pixels)
    colour, expected = pixels, over_white(pixels, alpha)
    if extrasamples == "assocalpha":
        colour = np.round(pixels * (alpha[..., None] / 255)).astype(np.uint8)
    if extrasamples == "unspecified":
        expected = pixels
    stored = np.dstack([colour, alpha])
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", extrasamples=[extrasamples], **TILED
    )
    assert_reads(tmp_path / "a.tif", expected, within=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_tiff(tmp_path, pixels, dtype):
    black = 255 - pixels.max(axis=-1, keepdims=True).astype(float)
    ink = (255 - black - pixels) / (255 - black) * 255
    stored = np.concatenate([ink, black], axis=-1)
    stored = np.round(stored * (np.iinfo(dtype).max / 255)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="separated", **TILED)
    assert_reads(tmp_path / "a.tif", pixels, within=1)


def test_16_bit_tiff(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels.astype(np.uint16) * 257, photometric="rgb", **TILED)
    assert_reads(tmp_path / "a.tif", pixels)


@pytest.mark.parametrize("said_by", ["tag", "bits", "ome"])
def test_12_bits_in_16(tmp_path, pixels, said_by):
    stored = np.round(pixels * (4095 / 255)).astype(np.uint16)
    path, options = tmp_path / "a.tif", {"photometric": "rgb", "metadata": None, **TILED}
    if said_by == "tag":
        options["extratags"] = [(341, "H", 3, (4000, 4000, 4000), True)]
    elif said_by == "bits":
        write_12_bits(path, stored)
        assert_reads(path, pixels)
        return
    else:
        path = tmp_path / "a.ome.tif"
        options["metadata"] = {"axes": "YXS", "SignificantBits": 12}
    tifffile.imwrite(path, stored, **options)
    assert_reads(path, pixels)


def write_12_bits(path, values):
    """A TIFF with 12 bits a sample, two samples in three bytes, (height, even width, 3)."""
    bits = np.unpackbits(values.astype(">u2").view(np.uint8)[..., None], axis=-1)
    rows = bits.reshape(len(values), -1, 16)[..., 4:].reshape(len(values), -1)
    packed = np.packbits(rows, axis=1).reshape(len(values), -1, 3)  # as if of 8 bits, and wider
    tifffile.imwrite(path, packed, photometric="rgb", metadata=None, rowsperstrip=32)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ImageWidth"].overwrite(values.shape[1])
        file.pages[0].tags["BitsPerSample"].overwrite((12, 12, 12))


def test_a_16_bit_range_that_nothing_states_is_refused(tmp_path, pixels):
    stored = pixels.astype(np.uint16) * 16
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **TILED)
    with pytest.raises(UserError, match=r"16-bit pixels that reach only \d{4},.*8-bit RGB"):
        open_slide(tmp_path / "a.tif")


def test_what_was_not_scanned_says_nothing_of_the_range(tmp_path, pixels):
    stored = pixels.astype(np.uint16) * 16
    stored[:64] = 65535
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **TILED)
    with pytest.raises(UserError, match=r"16-bit pixels that reach only \d{4},"):
        open_slide(tmp_path / "a.tif")


def test_a_png_of_16_bits_is_refused(tmp_path, pixels):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels.astype(np.uint16) * 16))
    with pytest.raises(UserError, match="a PNG of 16 bits a colour"):
        open_slide(tmp_path / "a.png")


@pytest.mark.parametrize("photometric", ["ycbcr", "rgb"])
def test_jpeg_in_tiff(tmp_path, photometric):
    smooth = np.add.outer(np.arange(180), np.arange(230)) // 2
    pixels = np.stack([smooth, 255 - smooth, smooth // 2 + 60], axis=-1).astype(np.uint8)
    path = tmp_path / "a.tif"
    if photometric == "rgb":
        Image.fromarray(pixels).save(path, compression="jpeg", quality=95)
    else:
        # tifffile turns RGB into YCbCr by itself.
        tifffile.imwrite(path, pixels, photometric="rgb", compression="jpeg", tile=(64, 64))
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[0].photometric.name == photometric.upper()
    assert_reads(path, pixels, within=12)


def test_palettes(tmp_path, pixels):
    image = Image.fromarray(pixels).quantize(64)
    expected = np.asarray(image.convert("RGB"))
    image.save(tmp_path / "a.png")
    assert_reads(tmp_path / "a.png", expected)
    colours = np.zeros((256, 3), dtype=np.uint16)
    own = np.array(image.getpalette(), dtype=np.uint16).reshape(-1, 3)
    colours[: len(own)] = own * 257
    tifffile.imwrite(
        tmp_path / "a.tif", np.asarray(image), photometric="palette", colormap=colours.T, **TILED
    )
    assert_reads(tmp_path / "a.tif", expected)
    # Some writers give the colours 8 bits only.
    colours //= 257
    tifffile.imwrite(
        tmp_path / "b.tif", np.asarray(image), photometric="palette", colormap=colours.T, **TILED
    )
    assert_reads(tmp_path / "b.tif", expected)


@pytest.mark.parametrize(("photometric", "n_channels"), [("separated", 4), ("rgb", 3)])
def test_tiles_that_were_not_scanned_are_white(tmp_path, photometric, n_channels):
    """The file leaves the first tile out: of inks, as of light, nothing is white."""
    inks = np.full((128, 128, n_channels), 90, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", inks, photometric=photometric, tile=(64, 64))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = tiff.pages[0].tags[name]
            tag.overwrite([0, *tag.value[1:]])
    slide = open_slide(tmp_path / "a.tif")
    assert slide.read_region(0, 0, 64, 64).min() == 255
    assert slide.read_region(64, 0, 64, 64).max() < 200


def test_damaged_headers_are_said(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", **TILED)
    whole = (tmp_path / "a.tif").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for at in rng.integers(4, 400, 3):
            damaged[at] = rng.integers(256)
        (tmp_path / "a.tif").write_bytes(damaged)
        with contextlib.suppress(UserError):
            open_slide(tmp_path / "a.tif")


def test_whole_images(tmp_path, pixels):
    alpha = alpha_of(pixels)
    Image.fromarray(pixels).save(tmp_path / "rgb.png")
    assert_reads(tmp_path / "rgb.png", pixels)
    Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "rgba.png")
    assert_reads(tmp_path / "rgba.png", over_white(pixels, alpha), within=1)
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    assert (
        np.abs(region(open_slide(tmp_path / "cmyk.jpg")) - pixels[ROWS, COLUMNS].astype(int)).mean()
        < 3
    )
    see_through = Image.fromarray(pixels).quantize(16)
    see_through.save(tmp_path / "p.png", transparency=0)
    clear = np.asarray(see_through) == 0
    expected = np.where(clear[..., None], 255, np.asarray(see_through.convert("RGB")))
    assert_reads(tmp_path / "p.png", expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16"])
def test_grey_png_is_refused(tmp_path, mode):
    image = Image.new("L", (30, 30), 9)
    image = Image.new("I;16", (30, 30)) if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png: found a greyscale image.*DAPI or the CytAssist"):
        open_slide(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("stored", "options", "match"),
    [
        (np.zeros((50, 60), np.uint16), {}, "a greyscale image.*DAPI or the CytAssist"),
        (np.zeros((50, 60, 2), np.uint8), {"planarconfig": "contig"}, "a greyscale image"),
        (np.zeros((50, 60, 3), np.float32), {"photometric": "rgb"}, "pixels of type float32"),
        (np.zeros((50, 60, 5), np.uint8), {"planarconfig": "contig"}, "5 channels"),
        (np.zeros((50, 60, 3), np.uint8), {"photometric": "cielab"}, "CIELAB pixels"),
        (np.zeros((2, 50, 60, 3), np.uint8), {"photometric": "rgb"}, r"shape \(2, 50, 60, 3\)"),
    ],
)
def test_other_pixels_are_refused_by_name(tmp_path, stored, options, match):
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    with pytest.raises(UserError, match=r"a\.tif: found .*" + match):
        open_slide(tmp_path / "a.tif")


def test_fluorescence_is_refused_by_name(tmp_path, pixels):
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "Cy3", "Cy5"]}}
    stored = np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(tmp_path / "a.ome.tif", stored, photometric="minisblack", metadata=metadata)
    with pytest.raises(UserError, match="3 channels of fluorescence"):
        open_slide(tmp_path / "a.ome.tif")


def test_an_image_that_viewers_turn_is_named_in_a_warning(tmp_path, pixels, caplog):
    extratags = [(274, "H", 1, 6, True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=extratags)
    assert_reads(tmp_path / "a.tif", pixels)
    assert "Orientation tag (6)" in caplog.text


def write_aperio(path, pixels, mpp=0.25):
    """What openslide takes for a slide of Aperio: tiles and the words of its description."""
    description = f"Aperio Image Library v11.2.1 \r\n230x180 (64x64) |AppMag = 40|MPP = {mpp}"
    tifffile.imwrite(
        path, pixels, photometric="rgb", description=description, metadata=None, **TILED
    )
    return path


def test_openslide_and_tifffile_agree(tmp_path, pixels):
    path = write_aperio(tmp_path / "a.svs", pixels)
    one, other = open_vendor(path), open_tiff(path)
    assert one.um_per_px == other.um_per_px == 0.25
    assert one.pixels.shape == other.pixels.shape == pixels.shape
    np.testing.assert_array_equal(region(one), pixels[ROWS, COLUMNS])
    np.testing.assert_array_equal(region(other), pixels[ROWS, COLUMNS])
    assert type(open_slide(path).pixels) is type(one.pixels)


def test_a_tiff_that_is_only_called_svs(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.svs", pixels, photometric="rgb", compression="lzw")
    assert_reads(tmp_path / "a.svs", pixels)


def test_an_mrxs_without_its_folder(tmp_path):
    path = tmp_path / "a.mrxs"
    path.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UserError, match=r"no Slidedat\.ini in the folder 'a' beside it"):
        open_slide(path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Slidedat.ini").write_text("[GENERAL]\nSLIDE_ID = x\n")
    with pytest.raises(UserError, match=r"a\.mrxs: found an unreadable slide"):
        open_slide(path)


@pytest.mark.parametrize("ending", ["ndpi", "scn", "bif", "vms", "dcm", "svslide", "svs"])
def test_a_scanners_file_that_is_damaged(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"II*\x00 no slide at all")
    with pytest.raises(UserError, match=rf"a\.{ending}: found an unreadable"):
        open_slide(path)


def test_damaged_pixels_in_a_scanners_file(tmp_path, pixels):
    path = write_aperio(tmp_path / "a.svs", pixels)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[5]
    content = bytearray(path.read_bytes())
    content[start : start + 500] = bytes(500)
    path.write_bytes(content)
    slide = open_slide(path)
    with pytest.raises(UserError, match=r"a\.svs: found an unreadable slide"):
        region(slide)


def test_unknown_ending_and_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        open_slide(tmp_path / "a.tif")
    (tmp_path / "a.bmp").write_bytes(b"BM")
    with pytest.raises(UserError, match=r"the ending '\.bmp'.*\.ndpi.*\.mrxs"):
        open_slide(tmp_path / "a.bmp")
