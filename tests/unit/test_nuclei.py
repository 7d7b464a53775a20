"""StarDist on sections: units, axis order, blocks, scaling, errors.

The network is a real StarDist of tiny size, whose weights are set so that what it must find is
known exactly: dark spots, each outlined by the same ellipse.
"""

from pathlib import Path

import numpy as np
import pytest
import shapely
from tiny_segmenter import HALF_HEIGHT_PX, HALF_WIDTH_PX, RAYS, build_segmenter, paint

from histoscribe.errors import UserError
from histoscribe.image import Slide
from histoscribe.nuclei import SegmentationSettings, load_segmenter, segment_nuclei, value_range

UM_PER_PX = 0.5
LIKE_TRAINED = {"low_percentile": 0.0, "high_percentile": 100.0, "overlap_threshold": 0.1}
SETTINGS = SegmentationSettings(**LIKE_TRAINED)
CENTRES_PX = [(40, 20), (120, 30), (30, 80), (66, 62), (140, 90)]  # column, row


def slide_of(pixels: np.ndarray) -> Slide:
    return Slide(Path("section.tif"), pixels, None)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_segmenter(tmp_path_factory.mktemp("models"), pooled_share=0.0)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return paint(CENTRES_PX, 160, 108)


def test_nuclei_lie_where_they_were_painted(segmenter: Path, picture: np.ndarray) -> None:
    nuclei = segment_nuclei(slide_of(picture), UM_PER_PX, segmenter, SETTINGS)
    assert nuclei.index.name == "nucleus"
    assert list(nuclei.index) == sorted(f"{y:06d}-{x:06d}" for x, y in CENTRES_PX)
    assert list(nuclei.columns) == ["probability", "area_um2", "geometry"]
    assert nuclei["probability"].between(0.5, 1).all()
    np.testing.assert_allclose(nuclei["area_um2"], nuclei.geometry.area)
    for x, y in CENTRES_PX:
        polygon = nuclei.geometry[f"{y:06d}-{x:06d}"]
        left, top, right, bottom = polygon.bounds
        # The middle of pixel k lies at (k + 0.5) * um_per_px.
        np.testing.assert_allclose(
            [left, top, right, bottom],
            [
                (x + 0.5 - HALF_WIDTH_PX) * UM_PER_PX,
                (y + 0.5 - HALF_HEIGHT_PX) * UM_PER_PX,
                (x + 0.5 + HALF_WIDTH_PX) * UM_PER_PX,
                (y + 0.5 + HALF_HEIGHT_PX) * UM_PER_PX,
            ],
            atol=1e-4,
        )
        assert len(polygon.exterior.coords) == RAYS + 1


def test_blocks_give_the_same_nuclei_as_the_whole(tmp_path: Path) -> None:
    segmenter = build_segmenter(tmp_path, pooled_share=0.3)
    rng = np.random.default_rng(0)
    picture = paint(rng.integers(0, 230, (60, 2)).tolist(), 230, 210)
    picture -= rng.integers(0, 40, picture.shape, dtype=np.uint8)  # no two places tie
    whole = segment_nuclei(slide_of(picture), UM_PER_PX, segmenter, SETTINGS)
    blocks = SegmentationSettings(**LIKE_TRAINED, block_px=128, halo_px=64)
    parts = segment_nuclei(slide_of(picture), UM_PER_PX, segmenter, blocks)
    assert len(whole) > 15
    assert list(parts.index) == list(whole.index)
    np.testing.assert_allclose(
        shapely.get_coordinates(parts.geometry.values),
        shapely.get_coordinates(whole.geometry.values),
        atol=1e-3,
    )


def test_a_finer_image_is_scaled_to_the_network(segmenter: Path, picture: np.ndarray) -> None:
    finer = picture.repeat(2, axis=0).repeat(2, axis=1)
    nuclei = segment_nuclei(slide_of(finer), UM_PER_PX / 2, segmenter, SETTINGS)
    plain = segment_nuclei(slide_of(picture), UM_PER_PX, segmenter, SETTINGS)
    assert len(nuclei) == len(plain)
    apart_um = nuclei.centroid.values.distance(plain.centroid.values)
    assert apart_um.max() < 0.3


def test_a_real_image_gives_valid_polygons(segmenter: Path) -> None:
    from stardist.data import test_image_he_2d

    pixels = test_image_he_2d()
    nuclei = segment_nuclei(slide_of(pixels), UM_PER_PX, segmenter, SETTINGS)
    assert len(nuclei) > 5
    assert nuclei.geometry.is_valid.all()
    assert nuclei.index.is_unique
    assert (nuclei["area_um2"] > 0).all()


def test_an_empty_section_gives_an_empty_table(segmenter: Path) -> None:
    pixels = paint([(30, 30)], 64, 64)
    sure = SegmentationSettings(**LIKE_TRAINED, probability_threshold=1.0)
    nuclei = segment_nuclei(slide_of(pixels), UM_PER_PX, segmenter, sure)
    assert len(nuclei) == 0
    assert list(nuclei.columns) == ["probability", "area_um2", "geometry"]


def test_an_image_of_one_colour_is_refused() -> None:
    with pytest.raises(UserError, match="one colour"):
        value_range(slide_of(np.full((64, 64, 3), 200, np.uint8)), 5, 95)


def test_the_range_of_a_large_slide_comes_from_all_of_it() -> None:
    pixels = np.zeros((3000, 3000, 3), dtype=np.uint8)
    pixels[:, 1500:] = 200
    assert value_range(slide_of(pixels), 5, 95) == (0.0, 200.0)


def test_an_unknown_model_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"no_such_model.*published model"):
        load_segmenter("no_such_model")


def test_a_folder_without_a_model_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="retrieve_segmenter"):
        load_segmenter(tmp_path)


def test_a_named_model_offline_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from stardist.models import StarDist2D

    def unreachable(name: str) -> None:
        raise Exception("URL fetch failure on https://github.com/... -- unknown host")

    monkeypatch.setattr(StarDist2D, "from_pretrained", unreachable)
    with pytest.raises(UserError, match=r"URL fetch failure.*retrieve_segmenter"):
        load_segmenter("2D_versatile_he")


def test_a_model_of_one_channel_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 channels.*3, for H&E"):
        load_segmenter(build_segmenter(tmp_path, pooled_share=0.0, channels=1))
