"""Maps show each unit where it lies, and look closely where a gene is high and varied."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import shapely
from matplotlib.collections import PolyCollection

from histoscribe.figures.brown import BROWN, hematoxylin_scale, lightness, stained
from histoscribe.figures.maps import (
    MappedUnits,
    coloured,
    draw_units,
    ground,
    nearest_units,
    unit_pixels,
)
from histoscribe.figures.windows import Window, busiest_window, window_of


def grid_units(n, step_um, angle=0.0):
    y, x = np.mgrid[:n, :n]
    xy = (np.column_stack([x.ravel(), y.ravel()]) + 0.5) * step_um
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (xy - n * step_um / 2) @ turn + n * step_um / 2


def test_map_pixels_show_the_unit_above_them():
    xy = np.array([[4.0, 4.0], [12.0, 4.0], [4.0, 12.0]])  # a 2 x 2 grid of 8 um, one missing
    shown = nearest_units(xy, 8.0, (0, 16, 16, 0), (16, 16))
    assert shown.shape == (16, 16)
    assert (shown[:7, :7] == 0).all()
    assert (shown[:7, 9:] == 1).all()  # right of the first: larger x
    assert (shown[9:, :7] == 2).all()  # below the first: larger y
    assert (shown[11:, 11:] == -1).all()


@pytest.mark.parametrize("angle", [0.0, 0.2])
def test_bins_leave_no_gaps_whatever_their_angle(angle):
    xy = grid_units(20, 8.0, angle)
    shown = nearest_units(xy, 8.0, (50, 110, 110, 50), (240, 240))
    assert (shown >= 0).all()
    area = np.bincount(shown.ravel()) * 0.25**2
    inner = np.unique(shown[40:-40, 40:-40])
    assert np.median(area[inner]) == pytest.approx(64, rel=0.05)


def test_spots_are_round():
    xy = np.array([[100.0, 100.0]])
    spots = MappedUnits(xy, 100.0, is_round=True)
    shown = unit_pixels(spots, Window(0, 0, 200, 200), 400)
    assert (shown >= 0).sum() * 0.25 == pytest.approx(np.pi * 50**2, rel=0.01)


def boxes_as_units(corners, size):
    outlines = shapely.box(*corners.T, *(corners + size).T)
    return MappedUnits(corners + size / 2, size, outlines=outlines)


@pytest.mark.parametrize("offset", [0.0, 0.3, 7.7])
def test_a_polygon_is_drawn_within_half_a_pixel_of_its_place(offset):
    units = boxes_as_units(np.array([[20.0, 40.0], [70.0, 10.0]]) + offset, 16.0)
    window = Window(offset, offset, offset + 120.0, offset + 80.0)
    shown = unit_pixels(units, window, 480)
    step = 0.25
    assert shown.shape == (320, 480)
    for number, (left, top) in enumerate([(20.0, 40.0), (70.0, 10.0)]):
        rows, columns = np.nonzero(shown == number)
        for edges, low in ((columns, left), (rows, top)):
            assert edges.min() * step == pytest.approx(low, abs=step / 2 + 1e-9)
            assert (edges.max() + 1) * step == pytest.approx(low + 16, abs=step / 2 + 1e-9)


def saved_pixels(window, draw):
    """What `draw` puts into axes that fill a figure, (400, 400 * width / height, 3) uint8."""
    ratio = window.width_um / window.height_um
    figure = plt.figure(figsize=(4 * ratio, 4), dpi=100)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    draw(axes)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    return pixels


@pytest.mark.parametrize("as_vectors", [True, False])
def test_drawn_polygons_cover_what_the_image_shows_there(as_vectors, monkeypatch):
    """A blue square in the image at a unit's place vanishes under the unit's colour."""
    if not as_vectors:
        monkeypatch.setattr("histoscribe.figures.maps.MAX_VECTORS", 0)
    window = Window(100.0, 300.0, 200.0, 400.0)
    image = np.full((200, 200, 3), 255, dtype=np.uint8)
    image[60:92, 120:152] = (0, 0, 255)  # 0.5 um a pixel: from (160, 330) to (176, 346) um
    units = boxes_as_units(np.array([[160.0, 330.0]]), 16.0)

    def draw(axes):
        axes.imshow(image, extent=window.extent, interpolation="nearest")
        draw_units(axes, units, np.array([1.0]), window, (0, 1), 400, cmap="Reds")
        assert bool(axes.findobj(PolyCollection)) == as_vectors

    pixels = saved_pixels(window, draw).astype(int)
    is_blue = (pixels[..., 2] > pixels[..., 0] + 60) & (pixels[..., 1] < 150)
    assert is_blue.sum() < 0.02 * 64**2  # of 64 x 64 px; the light rim of a vector may blend
    is_red = pixels[..., 0] - pixels[..., 2] > 60
    rows, columns = np.nonzero(is_red)
    assert (rows.min(), columns.min()) == pytest.approx((120, 240), abs=1)
    assert (rows.max(), columns.max()) == pytest.approx((183, 303), abs=1)


def test_colours_are_those_of_the_values():
    shown = np.array([[0, 0, 1, 1, -1, -1, 2, 2]] * 2)
    paint = coloured(shown, np.array([0.0, 9.0, np.nan]), 0.0, 2.0, "Greys_r")
    assert paint.shape == (1, 4, 4)
    assert paint[0, 0].tolist() == [0, 0, 0, 1]
    assert paint[0, 1].tolist() == [1, 1, 1, 1]  # cut at the upper end
    assert paint[0, 2, 3] == 0
    assert np.ptp(paint[0, 3, :3]) < 1e-9 and 0.4 < paint[0, 3, 0] < 0.8  # no value: grey
    half = coloured(np.array([[0, -1], [0, -1]]), np.array([0.0]), 0.0, 1.0, "Greys_r")
    assert half[0, 0].tolist() == pytest.approx([0, 0, 0, 0.5])  # black, on half of the pixel


def test_small_nuclei_are_not_lost_on_a_whole_section():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 4000, (300, 2))
    units = boxes_as_units(corners, 6.0)
    shown = unit_pixels(units, Window(0, 0, 4010, 4010), 400)
    assert len(np.setdiff1d(np.unique(shown), -1)) > 290  # few hide behind another


def test_the_inset_lies_where_a_gene_is_high_and_varied():
    xy = grid_units(100, 8.0)
    rng = np.random.default_rng(0)
    values = rng.random(len(xy)) * 0.1
    values[(xy[:, 0] > 600)] += 2.0  # high, but even
    stripes = (xy[:, 0] < 300) & (xy[:, 1] > 500)
    values[stripes & (np.floor(xy[:, 0] / 40) % 2 == 0)] += 4.0
    window = busiest_window(xy, values, window_of(xy, 8.0), 200.0)
    assert window.width_um == pytest.approx(200)
    assert window.right < 350 and window.top > 400
    assert stripes[window.holds(xy)].mean() > 0.7


@pytest.mark.parametrize("values", [np.zeros(2500), np.full(2500, 3.0)])
def test_a_constant_gene_still_has_an_inset(values):
    xy = grid_units(50, 8.0)
    window = busiest_window(xy, values, window_of(xy, 8.0), 200.0)
    assert window.holds(xy).sum() == pytest.approx(625, rel=0.1)


def test_a_section_smaller_than_the_inset_is_shown_whole():
    xy = grid_units(5, 8.0)
    whole = window_of(xy, 8.0)
    assert busiest_window(xy, np.arange(25.0), whole, 200.0) == whole


def test_brown_darkens_evenly_for_every_eye():
    colours = BROWN(np.arange(0, 256, 5))[:, :3]
    steps = np.diff(lightness(colours))
    assert (steps < 0).all()
    assert np.ptp(steps) < 0.1 * abs(steps.mean())
    # Machado et al. (2009), severe deuteranomaly, on linear light.
    matrix = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
              [-0.01182, 0.04294, 0.968881]]  # fmt: skip
    seen = np.clip(colours**2.2 @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
    assert (np.diff(lightness(seen)) < 0).all()


def test_a_stained_pixel_is_the_darker_the_higher_its_level():
    image = np.full((4, 4, 3), (160, 90, 170), dtype=np.uint8)
    scale = hematoxylin_scale(image)
    shades = [lightness(stained(image, scale, np.full((4, 4), v)) / 255)[0, 0] for v in (0, 0.5, 1)]
    assert shades[0] > shades[1] + 20 > shades[2] + 40
    blank = stained(np.full((4, 4, 3), 255, np.uint8), scale, np.zeros((4, 4)))
    assert (blank == 255).all()


def test_the_ground_has_no_colour_of_its_own():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    pale = ground(image)
    assert (pale[..., 0] == pale[..., 1]).all() and (pale[..., 0] == pale[..., 2]).all()
    assert pale.min() >= 0.75 * 255 - 1
