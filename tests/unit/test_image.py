from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from section_files import tissue_image, write_tiff

import rescale_image as entry
from histoscribe.errors import UserError
from histoscribe.image import open_slide, read_window, resample_region, rescale, write_rescaled
from histoscribe.image.segments import SegmentedSamples
from histoscribe.image.slide import Slide
from histoscribe.readers import open_section
from histoscribe.storage import written_whole


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


@settings(deadline=None, max_examples=40)
@given(
    st.floats(0.3, 4.0),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_rectangles_of_a_rescaled_slide_meet_without_a_seam(scale, cut_x, cut_y):
    # Soft contrast: bicubic overshoot that is cut at 255 depends on which axis comes first.
    slide = Slide(Path("section.tif"), tissue_image(150, 190) // 2 + 60, None)
    width, height = int(190 / scale + 1e-6), int(150 / scale + 1e-6)
    whole = resample_region(slide, scale, 0, 0, width, height).astype(int)
    cut_x, cut_y = min(cut_x, width), min(cut_y, height)
    for x, y, w, h in [
        (0, 0, cut_x, cut_y),
        (cut_x, 0, width - cut_x, cut_y),
        (0, cut_y, cut_x, height - cut_y),
        (cut_x, cut_y, width - cut_x, height - cut_y),
    ]:
        part = resample_region(slide, scale, x, y, w, h)
        assert part.shape == (h, w, 3)
        assert np.abs(part - whole[y : y + h, x : x + w]).max(initial=0) <= 1


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 2.6])
def test_outside_the_slide_a_rectangle_is_white(scale):
    slide = Slide(Path("section.tif"), np.zeros((60, 100, 3), dtype=np.uint8), None)
    region = resample_region(slide, scale, -5, -7, 300, 300)
    columns, rows = int(100 / scale), int(60 / scale)
    expected = np.full((300, 300), 255)
    expected[7 : 7 + rows, 5 : 5 + columns] = 0
    np.testing.assert_array_equal(region, np.repeat(expected[..., None], 3, axis=2))
    assert (resample_region(slide, scale, 400, 0, 3, 3) == 255).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_read_at_a_time_is_bounded_and_changes_nothing(tmp_path, monkeypatch, threads):
    """Much shrunken images: less is read at a time, in rows as in columns."""
    slide = Slide(Path("section.tif"), tissue_image(1500, 2100) // 2 + 60, None)
    largest = []

    def read_region(self, x_px, y_px, width_px, height_px):
        largest.append((width_px, height_px))
        return self.pixels[y_px : y_px + height_px, x_px : x_px + width_px]

    monkeypatch.setattr(Slide, "read_region", read_region)
    monkeypatch.setattr(rescale, "SOURCE_PX", (512, 256))
    write_rescaled(slide, 0.25, 1.7, tmp_path / "b.ome.tif", threads)
    margins = 2 * 15 + 7
    assert (np.array(largest) <= (512 + margins, 256 + margins)).all()
    whole = resample_region(slide, 6.8, 0, 0, 308, 220).astype(int)
    blocks = open_slide(tmp_path / "b.ome.tif")
    assert (blocks.width_px, blocks.height_px) == (308, 220)
    assert np.abs(tifffile.imread(tmp_path / "b.ome.tif") - whole).max() <= 1


@pytest.mark.parametrize(("um_per_px", "is_warned"), [(1.0, True), (0.6, False)])
def test_a_slide_coarser_than_the_working_resolution_is_said(
    tmp_path, caplog, um_per_px, is_warned
):
    image = write_tiff(tmp_path / "a.tif", tissue_image(60, 80), um_per_px)
    entry.main(open_section("a", "image", image, {}, None), 0.5, tmp_path / "b.ome.tif")
    assert ("upsampled to the working resolution of 0.5" in caplog.text) == is_warned


@pytest.mark.parametrize("threads", [1, 2])
def test_every_pyramid_level_is_the_mean_of_the_one_above(tmp_path, threads):
    slide = Slide(Path("section.tif"), tissue_image(1301, 2311), None)
    write_rescaled(slide, 0.5, 0.5, tmp_path / "b.ome.tif", threads)
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as tiff:
        levels = [level.asarray() for level in tiff.series[0].levels]
    assert [level.shape[:2] for level in levels] == [(1301, 2311), (650, 1155), (325, 577)]
    np.testing.assert_array_equal(levels[0], slide.pixels)
    for above, below in pairwise(levels):
        height, width = below.shape[:2]
        squares = above[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
        assert np.abs(squares.mean(axis=(1, 3)) - below).max() <= 0.5


def test_damaged_pixels_stop_the_rescaling_and_leave_no_scratch(tmp_path):
    path = write_tiff(tmp_path / "a.tif", tissue_image(1200, 1300), 0.5)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[200]
    content = bytearray(path.read_bytes())
    content[start : start + 500] = bytes(500)
    path.write_bytes(content)
    slide = open_slide(path)
    with (
        pytest.raises(UserError, match=r"a\.tif: found an unreadable TIFF"),
        written_whole(tmp_path / "out" / "b.ome.tif") as partial,
    ):
        write_rescaled(slide, 0.5, 0.4, partial)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_window_comes_from_the_level_of_its_size(tmp_path):
    pixels = np.repeat(np.repeat(tissue_image(150, 210), 8, axis=0), 8, axis=1)
    write_rescaled(Slide(Path("a"), pixels, None), 0.5, 0.5, tmp_path / "b.ome.tif")
    window = read_window(tmp_path / "b.ome.tif", 0.5, (80, 40, 480, 240), 400)
    np.testing.assert_array_equal(window, pixels[80:480:2, 160:960:2])


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
    ("options", "n_segments"),
    [
        ({}, 0),
        ({"byteorder": ">", "rowsperstrip": 16}, 0),
        ({"compression": "deflate", "rowsperstrip": 160}, 1),
        ({"compression": "lzw", "rowsperstrip": 16}, 10),
        ({"compression": "deflate", "predictor": True, "rowsperstrip": 16}, 10),
        ({"compression": "deflate", "tile": (64, 64)}, 12),
        ({"compression": "deflate", "tile": (64, 64), "planarconfig": "separate"}, 36),
    ],
)
def test_no_segment_of_a_tiff_is_decoded_twice(tmp_path, monkeypatch, options, n_segments):
    pixels = tissue_image(160, 200)
    stored = np.moveaxis(pixels, -1, 0) if "planarconfig" in options else pixels
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **options)
    decoded = []
    decode = SegmentedSamples._decoded
    monkeypatch.setattr(
        SegmentedSamples, "_decoded", lambda self, *at: decoded.append(at) or decode(self, *at)
    )
    slide = open_slide(tmp_path / "a.tif")
    np.testing.assert_array_equal(slide.read_region(30, 50, 100, 70), pixels[50:120, 30:130])
    assert len(decoded) < n_segments or n_segments <= 1
    for y in range(0, 160, 40):
        region = slide.read_region(0, y, 200, 40)
        np.testing.assert_array_equal(region, pixels[y : y + 40])
    assert sorted(set(decoded)) == sorted(decoded)
    assert len(decoded) == n_segments


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


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_truncated_whole_image(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(tissue_image(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="unreadable image"):
        open_slide(path)


@pytest.mark.parametrize("dpi", [72, 96, 300, 600, 1200])
def test_dots_per_inch_of_a_drawing_program_is_no_resolution(tmp_path, dpi):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, tissue_image(50, 50), resolution=(dpi, dpi), resolutionunit="INCH")
    assert open_slide(path).um_per_px is None
