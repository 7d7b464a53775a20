"""Tissue is found on painted slides and simulated sections; pen, frames and bare glass are not."""

import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from PIL import Image
from scipy import ndimage
from section_files import write_tiff

import detect_tissue as entry
from histoscribe.errors import UserError
from histoscribe.simulation import SimulationSettings, simulate_section
from histoscribe.simulation.cell_types import Domain
from histoscribe.tissue import TissueSettings, find_tissue

UM_PER_PX = 6.0
SIDE = 400
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.10, 0.95, 0.35])
INKS = {
    "blue": (20, 40, 150),
    "green": (25, 140, 70),
    "red": (205, 35, 40),
    "black": (35, 33, 38),
}


class Slide:
    """Glass with textured tissue, to which pen strokes and a dark frame can be added."""

    def __init__(self, seed=0, glass=(243, 241, 240), cover=0.35, strength=1.0, side=SIDE):
        self.rng = np.random.default_rng(seed)
        self.side = side
        field = self._noise(50)
        self.tissue = field > np.quantile(field, 1 - cover)
        haematoxylin = np.clip(0.45 + 0.2 * self._noise(1) + 0.15 * self._noise(8), 0.03, None)
        eosin = np.clip(0.5 + 0.2 * self._noise(2) + 0.1 * self._noise(12), 0.03, None)
        density = haematoxylin[..., None] * HAEMATOXYLIN + eosin[..., None] * EOSIN
        density *= strength * self.tissue[..., None]
        self.rgb = np.array(glass) * np.exp(-density)
        self.marked = np.zeros((side, side), dtype=bool)

    def _noise(self, sigma):
        field = self.rng.normal(size=(self.side, self.side))
        field = ndimage.gaussian_filter(field, sigma, mode="wrap")
        return field / field.std()

    def draw(self, ink, at, upright):
        """A streaky, slightly curved stroke of 240 um across the slide."""
        along = np.linspace(0.06, 0.94, 800)
        bent = at + 0.03 * np.sin(4 * along)
        x, y = (bent, along) if upright else (along, bent)
        clear = np.ones((self.side, self.side), dtype=bool)
        clear[(y * self.side).astype(int), (x * self.side).astype(int)] = False
        distance = ndimage.distance_transform_edt(clear)
        cover = np.clip((20 - distance) / 2 + 0.5, 0, 1)
        cover = cover * np.clip(0.93 + 0.05 * self._noise(3), 0.7, 1)
        self.rgb += cover[..., None] * (np.array(ink) - self.rgb)
        self.marked |= distance < 20
        return self

    def frame(self):
        """The edge of the slide, dark and blurred."""
        y, x = np.mgrid[: self.side, : self.side]
        edge = np.minimum.reduce([y, x, self.side - 1 - y, self.side - 1 - x])
        self.rgb *= np.clip((edge - 14) / 6, 0.05, 1)[..., None]
        self.marked |= edge < 20
        return self

    def pixels(self):
        noise = self.rng.normal(0, 1.5, self.rgb.shape)
        return np.clip(ndimage.gaussian_filter(self.rgb, (0.5, 0.5, 0)) + noise, 0, 255).astype(
            np.uint8
        )


def _drawn(tissue: gpd.GeoDataFrame, shape, um_per_px=UM_PER_PX) -> np.ndarray:
    """The pixels whose centres lie in the polygons."""
    y, x = (np.indices(shape).reshape(2, -1) + 0.5) * um_per_px
    area = shapely.union_all(np.asarray(tissue.geometry))
    shapely.prepare(area)
    return shapely.contains_xy(area, x, y).reshape(shape)


def _iou(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 1},
        {"seed": 2, "strength": 0.2},
        {"seed": 3, "strength": 1.7},
        {"seed": 4, "glass": (231, 214, 229)},
        {"seed": 5, "cover": 0.04},
        {"seed": 6, "cover": 0.97},
    ],
    ids=["plain", "faint", "strong", "pink glass", "little tissue", "next to no glass"],
)
def test_painted_tissue_is_found(options):
    slide = Slide(**options)
    tissue = find_tissue(slide.pixels(), UM_PER_PX)
    found = _drawn(tissue, slide.tissue.shape)
    # Of little tissue, the margin is a larger part.
    assert _iou(found, slide.tissue) > (0.86 if slide.tissue.mean() < 0.05 else 0.9)
    assert (found & slide.tissue).sum() > 0.97 * slide.tissue.sum()
    assert tissue.geometry.is_valid.all() and (tissue.geom_type == "Polygon").all()
    np.testing.assert_allclose(tissue["area_um2"], tissue.area)
    assert tissue["area_um2"].is_monotonic_decreasing and tissue.index[0] == 1


def test_pen_and_frame_are_not_tissue():
    slide = Slide(seed=1, side=600)
    for number, ink in enumerate(INKS.values()):
        slide.draw(ink, 0.12 + 0.25 * number, upright=number % 2 == 0)
    slide.frame()
    found = _drawn(find_tissue(slide.pixels(), UM_PER_PX), slide.tissue.shape)
    assert _iou(found, slide.tissue & ~slide.marked) >= 0.9
    assert (found & slide.marked).sum() < 0.02 * found.sum()


@pytest.mark.parametrize("ink", INKS.values(), ids=INKS)
def test_pen_alone_is_no_tissue(ink):
    slide = Slide(cover=0.0).draw(ink, 0.5, upright=True)
    assert find_tissue(slide.pixels(), UM_PER_PX).empty


def test_tissue_without_any_glass_stays_whole():
    slide = Slide(cover=1.0)
    tissue = find_tissue(slide.pixels(), UM_PER_PX)
    assert len(tissue) == 1
    assert tissue["area_um2"].sum() > 0.999 * (SIDE * UM_PER_PX) ** 2


def test_eosin_bled_onto_glass_is_no_tissue():
    slide = Slide(cover=0.2)
    y, x = np.mgrid[:SIDE, :SIDE]
    wash = np.exp(-((x - 200) ** 2 + (y - 200) ** 2) / 120**2)[..., None]
    slide.rgb *= np.exp(-0.18 * wash * EOSIN)
    found = _drawn(find_tissue(slide.pixels(), UM_PER_PX), slide.tissue.shape)
    assert _iou(found, slide.tissue) > 0.9


def test_dust_and_shadow_are_no_tissue():
    slide = Slide(cover=0.0)
    slide.rgb[100:180, 100:180] *= 0.6  # grey shadow, sharp edges
    slide.rgb[250:256, 250:256] *= (0.7, 0.4, 0.6)  # a stained speck of 36 um
    assert find_tissue(slide.pixels(), UM_PER_PX).empty


@pytest.mark.parametrize("level", [0, 128, 255])
def test_one_grey_is_no_tissue(level):
    assert find_tissue(np.full((50, 60, 3), level, dtype=np.uint8), UM_PER_PX).empty


def test_holes_are_filled_and_kept_by_their_size():
    slide = Slide(cover=1.0)
    slide.rgb[50:75, 50:75] = 243  # 150 um
    slide.rgb[150:300, 150:300] = 243  # 900 um
    (piece,) = find_tissue(slide.pixels(), UM_PER_PX).geometry
    (hole,) = piece.interiors
    assert shapely.Polygon(hole).area == pytest.approx(900**2, rel=0.1)


@pytest.mark.parametrize(("seed", "donor_seed"), [(1, 1), (2, 3)])
def test_simulated_sections(seed, donor_seed):
    section = simulate_section(SimulationSettings("x", seed, donor_seed, 0, 500, 500))
    size = round(500 / UM_PER_PX)
    overview = np.asarray(Image.fromarray(section.image).resize((size, size), Image.BICUBIC))
    tissue = find_tissue(overview, 500 / size)
    truth = section.domain_map != Domain.GLASS
    found = _drawn(tissue, truth.shape, 0.5)
    assert _iou(found, truth) > 0.96
    assert (found & truth).sum() > 0.99 * truth.sum()
    far_glass = ndimage.distance_transform_edt(~truth) * 0.5 > 17  # margin and a pixel
    assert not (found & far_glass).any()
    centres = section.truth.obsm["spatial"]
    inside = shapely.contains_xy(shapely.union_all(np.asarray(tissue.geometry)), *centres.T)
    assert inside.mean() > 0.99


def test_entry_reads_a_pyramid_and_writes_um(tmp_path):
    slide = Slide(seed=1)
    fine = np.kron(slide.pixels(), np.ones((2, 2, 1), dtype=np.uint8))
    image = write_tiff(tmp_path / "image.tif", fine, UM_PER_PX / 2)
    output = tmp_path / "tissue.parquet"
    entry.main(image, UM_PER_PX / 2, TissueSettings(), output)
    tissue = gpd.read_parquet(output)
    assert _iou(_drawn(tissue, slide.tissue.shape), slide.tissue) > 0.9
    assert tissue.index.name == "piece"
    assert list(Path(tmp_path).glob(".*")) == []


def test_an_image_without_tissue_is_a_user_error(tmp_path):
    image = write_tiff(tmp_path / "white.tif", np.full((80, 80, 3), 255, dtype=np.uint8), 6.0)
    with pytest.raises(UserError, match=r"white\.tif: found no tissue"):
        entry.main(image, 6.0, TissueSettings(), tmp_path / "tissue.parquet")


def test_pieces_that_are_too_small_are_measured(tmp_path):
    glass = np.full((200, 200, 3), 243, dtype=np.uint8)
    glass[40:60, 50:65] = (190, 90, 150)
    image = write_tiff(tmp_path / "speck.tif", glass, 6.0)
    settings = TissueSettings(min_area_um2=50_000.0)
    with pytest.raises(UserError, match=r"50000 um2 \(tissue.min_area_um2\)") as caught:
        entry.main(image, 6.0, settings, tmp_path / "tissue.parquet")
    largest_um2 = float(re.search(r"like H&E measures (\S+) um2", str(caught.value))[1])
    assert 20 * 15 * 36 <= largest_um2 < 22 * 17 * 36 * 1.1
    small = TissueSettings(min_area_um2=0.9 * largest_um2)
    entry.main(image, 6.0, small, tmp_path / "tissue.parquet")
