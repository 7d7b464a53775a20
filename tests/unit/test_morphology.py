"""Planted facts in synthetic H&E are found again by the morphology features."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from scipy import ndimage

from histoscribe.features import UnitFeatures
from histoscribe.features.morphology import GROUPS, VERSION, describe_units
from histoscribe.features.shape import SHAPE_NAMES, describe_shapes
from histoscribe.features.stain import DEFAULT_SCALE, estimate_stain
from histoscribe.image import Slide
from histoscribe.raster import covered_pixels

UM_PER_PX = 0.5
TILE_UM = 64.0
PINNED = (302.7099, 1855.8745)  # weighted sums of the mean features of version 1
HEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.10, 0.95, 0.30])


def _slide(pixels: np.ndarray) -> Slide:
    return Slide(Path("synthetic"), pixels, None)


def _stained(hematoxylin, eosin, white=245.0, vectors=(HEMATOXYLIN, EOSIN)) -> np.ndarray:
    """RGB of stain amounts by Beer and Lambert."""
    density = hematoxylin[..., None] * vectors[0] + eosin[..., None] * vectors[1]
    return np.clip(white * np.exp(-density) + 0.5, 0, 255).astype(np.uint8)


class _Tissue:
    """Eosin ground of changing strength with elliptic nuclei, and a white lumen on the left."""

    def __init__(self, size_px=480, n=60, seed=0):
        rng = np.random.default_rng(seed)
        size_um = size_px * UM_PER_PX
        grid = (np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1).reshape(-1, 2) + 0.5) / 8
        self.xy_um = (grid[:n] * size_um + rng.uniform(-6, 6, (n, 2))).clip(3, size_um - 3)
        self.radius_um = rng.uniform(2.5, 5.5, n)
        self.depth = rng.uniform(0.8, 1.8, n)
        aspect = rng.uniform(1.0, 2.0, n)
        turn = rng.uniform(0, np.pi, n)
        circle = np.linspace(0, 2 * np.pi, 33)[:-1]
        self.nuclei = []
        for centre, r, a, t in zip(self.xy_um, self.radius_um, aspect, turn, strict=True):
            x, y = r * np.sqrt(a) * np.cos(circle), r / np.sqrt(a) * np.sin(circle)
            ring = np.stack([x * np.cos(t) - y * np.sin(t), x * np.sin(t) + y * np.cos(t)], -1)
            self.nuclei.append(shapely.Polygon(ring + centre))
        self.nuclei = np.array(self.nuclei, dtype=object)
        box = (0, 0, size_px, size_px)
        cover = covered_pixels(self.nuclei, self.xy_um, UM_PER_PX, box)
        self.hematoxylin = np.full((size_px, size_px), 0.05)
        noise = ndimage.gaussian_filter(rng.normal(size=(size_px, size_px)), 4)
        self.eosin = 0.6 + 0.25 * noise / noise.std()
        self.eosin[:, : size_px // 8] = 0
        self.hematoxylin[:, : size_px // 8] = 0
        self.hematoxylin[cover.row, cover.column] = self.depth[cover.owner]
        self.eosin[cover.row, cover.column] = 0.1
        self.eosin = np.clip(self.eosin, 0, None)
        self.pixels = _stained(self.hematoxylin, self.eosin)

    def describe(self, pixels=None, **options) -> UnitFeatures:
        slide = _slide(self.pixels if pixels is None else pixels)
        return describe_units(slide, UM_PER_PX, self.xy_um, self.nuclei, True, TILE_UM, **options)


@pytest.fixture(scope="module")
def tissue() -> _Tissue:
    return _Tissue()


@pytest.fixture(scope="module")
def described(tissue) -> UnitFeatures:
    return tissue.describe()


def _column(features: UnitFeatures, name: str) -> np.ndarray:
    if name in features.local_names:
        return features.local[:, features.local_names.index(name)]
    return features.context[:, features.context_names.index(name)]


def _same(one: UnitFeatures, other: UnitFeatures, units=slice(None)) -> None:
    np.testing.assert_allclose(one.local[units], other.local[units], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(one.context[units], other.context[units], rtol=1e-5, atol=1e-5)


def _squares(xy_um: np.ndarray, side_um: float) -> np.ndarray:
    return shapely.box(*(xy_um - side_um / 2).T, *(xy_um + side_um / 2).T)


def test_names_match_columns_and_are_unique(described, tissue):
    names = described.local_names + described.context_names
    assert len(set(names)) == len(names)
    assert described.local.shape == (len(tissue.xy_um), len(described.local_names))
    assert described.context.shape == (len(tissue.xy_um), len(described.context_names))
    assert described.local.dtype == described.context.dtype == np.float32
    assert np.isfinite(described.local).all() and np.isfinite(described.context).all()


def test_every_group_of_names_is_documented(described):
    import re

    def pattern(group: str) -> re.Pattern:
        choices = {"stain": "hematoxylin|eosin|residual", "place": "footprint|ring|halo"}
        choices |= {"name": "|".join(SHAPE_NAMES), "side": r"\d+um", "W": r"[\d.]+", "R": r"[\d.]+"}
        choices |= {"trait": "[a-z]+", "0-3": "[0-3]"}

        def choose(match: re.Match) -> str:
            return f"(?:{choices.get(match[1], match[1].replace(',', '|'))})"

        return re.compile(re.sub(r"\{([^}]*)\}", choose, group))

    patterns = [pattern(group) for group in GROUPS]
    names = described.local_names + described.context_names
    assert [n for n in names if not any(p.fullmatch(n) for p in patterns)] == []
    assert [p for p in patterns if not any(p.fullmatch(n) for n in names)] == []


def test_darker_and_bigger_nuclei_are_found(tissue, described):
    inner = tissue.xy_um[:, 0] > 40
    found = _column(described, "footprint_hematoxylin_mean")[inner]
    assert np.corrcoef(found, tissue.depth[inner])[0, 1] > 0.99
    area = _column(described, "shape_area")
    assert np.corrcoef(area, tissue.radius_um**2)[0, 1] > 0.999
    contrast = _column(described, "ring_hematoxylin_contrast")
    assert (contrast[inner] > 0.2).all()


def test_shapes_of_an_ellipse_and_a_square():
    turn = np.linspace(0, 2 * np.pi, 400)[:-1]
    ellipse = shapely.Polygon(np.column_stack([6 * np.cos(turn) + 100, 3 * np.sin(turn) + 50]))
    shapes, angle = describe_shapes(
        np.array([ellipse, shapely.affinity.rotate(ellipse, 30), shapely.box(0, 0, 4, 4)])
    )
    found = dict(zip(SHAPE_NAMES, shapes.T, strict=True))
    np.testing.assert_allclose(found["area"], [18 * np.pi, 18 * np.pi, 16], rtol=1e-3)
    np.testing.assert_allclose(found["major_axis"][:2], 12, rtol=1e-3)
    np.testing.assert_allclose(found["minor_axis"][:2], 6, rtol=1e-3)
    np.testing.assert_allclose(found["eccentricity"], [0.866, 0.866, 0], atol=2e-3)
    np.testing.assert_allclose(found["solidity"], 1, rtol=1e-6)
    np.testing.assert_allclose(np.degrees(angle[:2]), [0, 30], atol=0.1)


def test_covered_pixels_equal_pixel_centres_within(tissue):
    box = (0, 0, 480, 480)
    pixels = covered_pixels(tissue.nuclei, tissue.xy_um, UM_PER_PX, box)
    for unit in (0, 7, 33):
        own = pixels.where(pixels.owner == unit)
        centre_um = (np.arange(480) + 0.5) * UM_PER_PX
        x, y = np.meshgrid(centre_um, centre_um)
        truth = shapely.contains_xy(tissue.nuclei[unit], x.ravel(), y.ravel()).reshape(480, 480)
        drawn = np.zeros((480, 480), dtype=bool)
        drawn[own.row, own.column] = True
        np.testing.assert_array_equal(drawn, truth)


def test_neighbouring_squares_share_no_pixel_and_leave_none():
    grid = np.stack(np.meshgrid(np.arange(10), np.arange(10)), -1).reshape(-1, 2) * 8.0 + 5.0
    pixels = covered_pixels(_squares(grid, 8.0), grid, 2.0, (0, 0, 60, 60))
    assert (pixels.count() == 16).all()
    assert len(np.unique(pixels.row * 60 + pixels.column)) == len(pixels.row)


def test_a_footprint_smaller_than_a_pixel_gets_the_pixel_of_its_centre():
    centre = np.array([[10.2, 6.3]])
    pixels = covered_pixels(
        shapely.buffer(shapely.points(centre), 0.01), centre, 1.0, (0, 0, 20, 20)
    )
    assert (pixels.row.tolist(), pixels.column.tolist()) == ([6], [10])


def test_x_is_to_the_right_and_y_down():
    hematoxylin = np.full((200, 400), 0.1)
    hematoxylin[40:60, 300:330] = 1.5  # rows are y
    slide = _slide(_stained(hematoxylin, np.full((200, 400), 0.5)))
    xy_um = np.array([[315, 50], [50, 315], [50, 160], [315, 150]]) * UM_PER_PX
    xy_um[1] = [25, 80]
    features = describe_units(slide, UM_PER_PX, xy_um, _squares(xy_um, 8), False, TILE_UM)
    for name in ("footprint_hematoxylin_mean", "tile_8um_hematoxylin_mean"):
        assert np.argmax(_column(features, name)) == 0
        assert np.ptp(_column(features, name)[1:]) < 1e-3


@pytest.mark.parametrize("block_px", [64, 130, 4096])
def test_block_size_does_not_matter(tissue, described, block_px):
    other = tissue.describe(block_px=block_px)
    np.testing.assert_array_equal(described.local, other.local)
    np.testing.assert_array_equal(described.context, other.context)


def test_shifting_image_and_units_changes_nothing(tissue, described):
    stain = estimate_stain(_slide(tissue.pixels), UM_PER_PX)
    shift_px = np.array([24, 60])  # whole coarse pixels
    canvas = np.full((600, 560, 3), 255, dtype=np.uint8)
    canvas[shift_px[1] : shift_px[1] + 480, shift_px[0] : shift_px[0] + 480] = tissue.pixels
    shift_um = shift_px * UM_PER_PX
    nuclei = shapely.transform(tissue.nuclei, lambda xy: xy + shift_um)
    moved = describe_units(
        _slide(canvas), UM_PER_PX, tissue.xy_um + shift_um, nuclei, True, TILE_UM, stain=stain
    )
    _same(described, moved)  # the canvas is white, as is what lies beyond the image


def test_turning_the_image_keeps_what_has_no_direction(tissue, described):
    turned = np.ascontiguousarray(np.rot90(tissue.pixels, k=-1))  # clockwise: x' = size - y
    size_um = 480 * UM_PER_PX

    def turn(xy):
        return np.column_stack([size_um - xy[:, 1], xy[:, 0]])

    stain = estimate_stain(_slide(tissue.pixels), UM_PER_PX)
    nuclei = shapely.transform(tissue.nuclei, turn)
    other = describe_units(
        _slide(turned), UM_PER_PX, turn(tissue.xy_um), nuclei, True, TILE_UM, stain=stain
    )
    for name in described.local_names + described.context_names:
        one, two = _column(described, name), _column(other, name)
        np.testing.assert_allclose(one, two, rtol=2e-3, atol=2e-3 * (np.abs(one).max() + 1e-3))


@pytest.mark.parametrize("has_nuclei", [True, False])
def test_no_unit_sees_beyond_its_tile(tissue, has_nuclei):
    stain = estimate_stain(_slide(tissue.pixels), UM_PER_PX)
    unit = int(np.argmin(np.linalg.norm(tissue.xy_um - 120.0, axis=1)))
    centre_px = tissue.xy_um[unit] / UM_PER_PX
    half_px = TILE_UM / 2 / UM_PER_PX
    spoilt = np.random.default_rng(1).integers(0, 255, tissue.pixels.shape).astype(np.uint8)
    x0, y0 = np.floor(centre_px - half_px).astype(int)
    x1, y1 = np.ceil(centre_px + half_px).astype(int)
    spoilt[y0:y1, x0:x1] = tissue.pixels[y0:y1, x0:x1]
    footprints = tissue.nuclei if has_nuclei else _squares(tissue.xy_um, 8.0)
    one, two = (
        describe_units(
            _slide(pixels), UM_PER_PX, tissue.xy_um, footprints, has_nuclei, TILE_UM, stain=stain
        )
        for pixels in (tissue.pixels, spoilt)
    )
    _same(one, two, [unit])
    assert not np.allclose(one.context, two.context)


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (180, 90, 160), (128, 128, 128)])
def test_one_colour_gives_finite_features(tissue, colour):
    blank = np.full_like(tissue.pixels, 0) + np.array(colour, dtype=np.uint8)
    features = tissue.describe(blank)
    assert np.isfinite(features.local).all() and np.isfinite(features.context).all()
    assert np.abs(features.local).max() < 1e4


def test_units_at_and_beyond_the_border_are_finite(tissue):
    xy_um = np.array([[0.1, 0.1], [239.9, 239.9], [-300.0, 50.0], [1e3, 1e3]])
    features = describe_units(
        _slide(tissue.pixels), UM_PER_PX, xy_um, _squares(xy_um, 8.0), False, TILE_UM
    )
    assert np.isfinite(features.local).all() and np.isfinite(features.context).all()
    assert _column(features, "tile_64um_clear_fraction")[2:].tolist() == [1, 1]


@pytest.mark.parametrize("n", [0, 1])
def test_few_nuclei(tissue, n):
    features = describe_units(
        _slide(tissue.pixels), UM_PER_PX, tissue.xy_um[:n], tissue.nuclei[:n], True, TILE_UM
    )
    assert len(features.local) == len(features.context) == n
    assert np.isfinite(features.context).all()


def test_crossing_and_empty_outlines_are_survived(tissue):
    nuclei = tissue.nuclei.copy()
    bow_tie = [(0, 0), (6, 6), (6, 0), (0, 6)]
    nuclei[20] = shapely.Polygon(np.array(bow_tie) + tissue.xy_um[20])
    nuclei[21] = shapely.Polygon()
    nuclei[22] = shapely.box(*(tissue.xy_um[22] - 500), *(tissue.xy_um[22] + 500))
    features = describe_units(_slide(tissue.pixels), UM_PER_PX, tissue.xy_um, nuclei, True, TILE_UM)
    assert np.isfinite(features.local).all() and np.isfinite(features.context).all()


def test_features_outlive_a_change_of_stain(tissue, described):
    """Other vectors, amounts and white: the same tissue keeps its features."""
    vectors = (1.4 * np.array([0.55, 0.78, 0.30]), 0.75 * np.array([0.15, 0.90, 0.42]))
    other = tissue.describe(_stained(tissue.hematoxylin, tissue.eosin, 235.0, vectors))
    for name in (
        "footprint_hematoxylin_mean",
        "ring_eosin_mean",
        "tile_64um_nuclear_fraction",
        "tile_32um_eosin_mean",
        "tile_64um_clear_fraction",
    ):
        one, two = _column(described, name), _column(other, name)
        assert np.corrcoef(one, two)[0, 1] > 0.98, name
        assert np.abs(one - two).mean() < 0.3 * one.std() + 0.02, name


def test_stain_vectors_are_recovered(tissue):
    stain = estimate_stain(_slide(tissue.pixels), UM_PER_PX)
    for found, truth in zip(stain.vectors, (HEMATOXYLIN, EOSIN), strict=False):
        assert found @ truth / np.linalg.norm(truth) > 0.98
    np.testing.assert_allclose(stain.white, 245, atol=1)


def test_no_tissue_falls_back_to_the_textbook():
    stain = estimate_stain(_slide(np.full((100, 100, 3), 250, dtype=np.uint8)), UM_PER_PX)
    np.testing.assert_array_equal(stain.scale[:2], DEFAULT_SCALE)


def test_company_counts_and_measures(tissue, described):
    apart = np.linalg.norm(tissue.xy_um[:, None] - tissue.xy_um[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    nearest = np.minimum(apart.min(axis=1), TILE_UM / 2)
    np.testing.assert_allclose(_column(described, "neighbour_1_distance"), nearest, rtol=1e-5)
    per_mm2 = (apart <= 32).sum(axis=1) * 1e6 / (np.pi * 32**2)
    np.testing.assert_allclose(_column(described, "nuclei_32um_density"), per_mm2, rtol=1e-5)


def test_a_tile_of_too_few_pixels_is_refused(tissue):
    with pytest.raises(ValueError, match="morphology features need"):
        describe_units(
            _slide(tissue.pixels), 8.0, tissue.xy_um, _squares(tissue.xy_um, 8), False, 64.0
        )


def test_values_belong_to_the_version(described):
    """Features that change in value need a new VERSION: models of the old ones must refuse them."""
    weight = [np.linspace(1, 2, block.shape[1]) for block in (described.local, described.context)]
    local, context = described.local.mean(axis=0), described.context.mean(axis=0)
    assert VERSION == 1
    assert (local @ weight[0], context @ weight[1]) == pytest.approx(PINNED, rel=1e-4)
