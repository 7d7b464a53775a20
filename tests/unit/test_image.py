import numpy as np
import pytest
import tifffile
from PIL import Image
from section_files import tissue_image, write_tiff

from histoscribe.errors import UserError
from histoscribe.image import open_slide, read_window, write_rescaled


def test_regions_are_x_then_y_and_white_outside(tmp_path):
    pixels = np.zeros((60, 100, 3), dtype=np.uint8)
    pixels[10:20, 70:90] = (255, 0, 0)
    slide = open_slide(write_tiff(tmp_path / "a.tif", pixels, 0.5))
    assert (slide.width_px, slide.height_px) == (100, 60)
    assert slide.um_per_px == pytest.approx(0.5)
    np.testing.assert_array_equal(slide.read_region(70, 10, 20, 10), pixels[10:20, 70:90])
    region = slide.read_region(-3, -2, 10, 10)
    assert (region[:2] == 255).all()
    assert (region[:, :3] == 255).all()
    assert (region[2:, 3:] == 0).all()
    assert (slide.read_region(95, 55, 10, 10)[5:] == 255).all()


@pytest.mark.parametrize("factor", [0.5, 2.0, 2.006 / 2, 1.37])
def test_rescaling_keeps_positions_in_um(tmp_path, factor):
    """A bright disc keeps its centre in um, to a fraction of a pixel, at any scale."""
    y, x = np.mgrid[:400, :600] + 0.5
    disc = (x - 451.3) ** 2 + (y - 123.7) ** 2 < 20**2
    centre_px = np.array([x[disc].mean(), y[disc].mean()])
    pixels = np.repeat(disc[..., None], 3, axis=2).astype(np.uint8) * 255
    slide = open_slide(write_tiff(tmp_path / "a.tif", pixels, 0.5))
    write_rescaled(slide, 0.5, 0.5 * factor, tmp_path / "b.ome.tif")
    rescaled = open_slide(tmp_path / "b.ome.tif")
    assert rescaled.um_per_px == pytest.approx(0.5 * factor)
    weight = rescaled.read_region(0, 0, rescaled.width_px, rescaled.height_px)[..., 0].astype(float)
    y, x = np.indices(weight.shape) + 0.5
    found_um = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum() * 0.5 * factor
    np.testing.assert_allclose(found_um, centre_px * 0.5, atol=0.05 * 0.5 * factor)


def test_rescaling_in_blocks_has_no_seam(tmp_path):
    pixels = tissue_image(300, 5000)
    slide = open_slide(write_tiff(tmp_path / "a.tif", pixels, 0.5))
    write_rescaled(slide, 0.5, 1.0, tmp_path / "b.ome.tif")
    blocks = open_slide(tmp_path / "b.ome.tif").read_region(0, 0, 2500, 150)
    whole = np.asarray(Image.fromarray(pixels).resize((2500, 150), Image.Resampling.BICUBIC))
    assert np.abs(blocks.astype(int) - whole).max() <= 1


def test_pyramid_levels_halve(tmp_path):
    slide = open_slide(write_tiff(tmp_path / "a.tif", tissue_image(1500, 2100), 0.5))
    write_rescaled(slide, 0.5, 0.5, tmp_path / "b.ome.tif")
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as tiff:
        shapes = [level.shape for level in tiff.series[0].levels]
    assert shapes == [(1500, 2100, 3), (750, 1050, 3), (375, 525, 3)]
    window = read_window(tmp_path / "b.ome.tif", 0.5, (100, 200, 500, 400), 100)
    assert window.shape == (50, 100, 3)


def test_truncated_tiff(tmp_path):
    path = write_tiff(tmp_path / "a.tif", tissue_image(200, 200), 0.5)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(UserError, match=r"a\.tif.*(truncated|unreadable)"):
        open_slide(path)


@pytest.mark.parametrize(
    ("options", "decoded"),
    [
        ({}, "mapped"),
        ({"byteorder": ">", "rowsperstrip": 16}, "mapped"),
        ({"compression": "deflate", "rowsperstrip": 160}, "whole"),
        ({"compression": "lzw", "rowsperstrip": 16}, "by strip"),
        ({"compression": "deflate", "predictor": True, "rowsperstrip": 16}, "by strip"),
        ({"compression": "deflate", "tile": (64, 64)}, "by tile"),
    ],
)
def test_no_region_decodes_a_whole_tiff_again(tmp_path, options, decoded):
    pixels = tissue_image(160, 200)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", **options)
    slide = open_slide(tmp_path / "a.tif")
    np.testing.assert_array_equal(slide.read_region(30, 50, 100, 70), pixels[50:120, 30:130])
    if decoded in ("mapped", "whole"):
        assert isinstance(slide.pixels, np.ndarray)
        assert isinstance(slide.pixels, np.memmap) == (decoded == "mapped")
    else:
        assert slide.pixels.chunks == ((16, 200, 3) if decoded == "by strip" else (64, 64, 3))


def test_damaged_pixels_of_a_tiff_in_one_piece(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, tissue_image(60, 80), photometric="rgb", compression="deflate", rowsperstrip=60
    )
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[start : start + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(UserError, match="unreadable TIFF"):
        open_slide(path)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_stack_of_rgb_pages_is_refused(tmp_path, compression):
    stack = np.stack([tissue_image(60, 80)] * 2)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb", compression=compression)
    with pytest.raises(UserError, match=r"a\.tif: found pixels of shape \(2, 60, 80, 3\)"):
        open_slide(tmp_path / "a.tif")


def test_a_preview_before_the_image_is_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for shape in ((60, 80), (240, 320)):
            tiff.write(tissue_image(*shape), photometric="rgb", metadata=None)
    with pytest.raises(UserError, match="a first image of 80 x 60 px and a later one"):
        open_slide(tmp_path / "a.tif")


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_truncated_whole_image(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(tissue_image(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="unreadable image"):
        open_slide(path)


def test_other_than_rgb8_is_refused_by_name(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((50, 50), dtype=np.uint16))
    with pytest.raises(UserError, match="uint16"):
        open_slide(tmp_path / "a.tif")
    Image.new("RGBA", (20, 20)).save(tmp_path / "b.png")
    with pytest.raises(UserError, match="RGBA"):
        open_slide(tmp_path / "b.png")


@pytest.mark.parametrize("dpi", [72, 96, 300, 600, 1200])
def test_dots_per_inch_of_a_drawing_program_is_no_resolution(tmp_path, dpi):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, tissue_image(50, 50), resolution=(dpi, dpi), resolutionunit="INCH")
    assert open_slide(path).um_per_px is None
