"""StarDist on sections: units, axis order, blocks, scaling, errors.

The network is a real StarDist of tiny size, whose weights are set so that what it must find is
known exactly: dark spots, each outlined by the same ellipse.
"""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from tiny_segmenter import HALF_HEIGHT_PX, HALF_WIDTH_PX, RAYS, build_segmenter, paint

import stitch_nuclei as entry
from histoscribe.errors import UserError
from histoscribe.image import Slide
from histoscribe.nuclei import (
    SegmentationSettings,
    load_segmenter,
    plan_blocks,
    segment_nuclei,
    share_of_blocks,
    stitch_nuclei,
    value_range,
)
from histoscribe.nuclei.network import _frame

UM_PER_PX = 0.5
LIKE_TRAINED = {"low_percentile": 0.0, "high_percentile": 100.0, "overlap_threshold": 0.1}
SETTINGS = SegmentationSettings(**LIKE_TRAINED)
SETTINGS_1_99 = SegmentationSettings(low_percentile=1.0, high_percentile=99.0)
CENTRES_PX = [(40, 20), (120, 30), (30, 80), (66, 62), (140, 90)]  # column, row


def slide_of(pixels: np.ndarray) -> Slide:
    return Slide(Path("section.tif"), pixels, None)


def segment(pixels, um_per_px, model, settings=SETTINGS, n=1, tissue=None):
    """Nuclei of a slide by way of n shares."""
    shares = [
        segment_nuclei(slide_of(pixels), um_per_px, model, settings, 1, tissue, (k, n))
        for k in range(1, n + 1)
    ]
    return stitch_nuclei(shares, tissue)


def box_um(left, top, right, bottom):
    return gpd.GeoDataFrame(geometry=[shapely.box(left, top, right, bottom)])


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_segmenter(tmp_path_factory.mktemp("models"), pooled_share=0.0)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return paint(CENTRES_PX, 160, 108)


def test_nuclei_lie_where_they_were_painted(segmenter: Path, picture: np.ndarray) -> None:
    nuclei = segment(picture, UM_PER_PX, segmenter)
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
    whole = segment(picture, UM_PER_PX, segmenter)
    blocks = SegmentationSettings(**LIKE_TRAINED, block_px=128, halo_px=64)
    parts = segment(picture, UM_PER_PX, segmenter, blocks, n=3)
    assert len(whole) > 15
    assert list(parts.index) == list(whole.index)
    np.testing.assert_allclose(
        shapely.get_coordinates(parts.geometry.values),
        shapely.get_coordinates(whole.geometry.values),
        atol=1e-3,
    )


def test_a_finer_image_is_scaled_to_the_network(segmenter: Path, picture: np.ndarray) -> None:
    finer = picture.repeat(2, axis=0).repeat(2, axis=1)
    nuclei = segment(finer, UM_PER_PX / 2, segmenter)
    plain = segment(picture, UM_PER_PX, segmenter)
    assert len(nuclei) == len(plain)
    apart_um = nuclei.centroid.values.distance(plain.centroid.values)
    assert apart_um.max() < 0.3


def test_a_real_image_gives_valid_polygons(segmenter: Path) -> None:
    from stardist.data import test_image_he_2d

    pixels = test_image_he_2d()
    nuclei = segment(pixels, UM_PER_PX, segmenter)
    assert len(nuclei) > 5
    assert nuclei.geometry.is_valid.all()
    assert nuclei.index.is_unique
    assert (nuclei["area_um2"] > 0).all()


def test_an_empty_section_gives_an_empty_table(segmenter: Path) -> None:
    pixels = paint([(30, 30)], 64, 64)
    sure = SegmentationSettings(**LIKE_TRAINED, probability_threshold=1.0)
    nuclei = segment(pixels, UM_PER_PX, segmenter, sure)
    assert len(nuclei) == 0
    assert list(nuclei.columns) == ["probability", "area_um2", "geometry"]


def test_an_image_of_one_colour_is_refused() -> None:
    with pytest.raises(UserError, match="one colour"):
        value_range(slide_of(np.full((64, 64, 3), 200, np.uint8)), UM_PER_PX, SETTINGS)


def test_the_range_of_a_large_slide_comes_from_all_of_it() -> None:
    pixels = np.zeros((3000, 3000, 3), dtype=np.uint8)
    pixels[:, 1500:] = 200
    assert value_range(slide_of(pixels), UM_PER_PX, SETTINGS) == (0.0, 200.0)


def test_the_range_is_that_of_the_tissue() -> None:
    pixels = np.full((2048, 2048, 3), 240, dtype=np.uint8)
    pixels[:1024, :1024] = np.random.default_rng(0).integers(50, 150, (1024, 1024, 3))
    low, high = value_range(slide_of(pixels), UM_PER_PX, SETTINGS, box_um(0, 0, 512, 512))
    assert 50 <= low < 55
    assert 145 < high < 150


def test_nuclei_on_seams_are_kept_once_and_whole(segmenter: Path) -> None:
    """Centres on, beside and at the crossing of seams of 256-px blocks."""
    on_seams = [(256 + d, 40 + 40 * i) for i, d in enumerate((-2, -1, 0, 1, 2))]
    on_seams += [(40 + 40 * i, 256 + d) for i, d in enumerate((-2, -1, 0, 1, 2))]
    centres = [*on_seams, (256, 256), (512, 256), (400, 400), (511, 500)]
    picture = paint(centres, 700, 620)
    settings = SegmentationSettings(**LIKE_TRAINED, block_px=256, halo_px=64)
    for n in (1, 4):
        nuclei = segment(picture, UM_PER_PX, segmenter, settings, n)
        assert sorted(nuclei.index) == sorted(f"{y:06d}-{x:06d}" for x, y in centres)
        # Whole: the network's single precision moves a vertex by 1e-5 px or so.
        np.testing.assert_allclose(nuclei["area_um2"], nuclei["area_um2"].iloc[0], rtol=1e-5)


def sighting(x, y, block, is_own, probability, radius=4.0):
    """What a block saw: a disc in um whose centre may differ a little between blocks."""
    outline = shapely.Point(x, y).buffer(radius)
    return gpd.GeoDataFrame(
        {
            "probability": [probability],
            "area_um2": [outline.area],
            "block": [block],
            "is_own": [is_own],
        },
        geometry=[outline],
        index=pd.Index([f"{round(2 * y):06d}-{round(2 * x):06d}"], name="nucleus"),
    )


def test_one_nucleus_seen_by_two_blocks_is_kept_once() -> None:
    # Each block sees the centre on its own side of the seam.
    twice = [sighting(99.5, 50, 0, True, 0.8), sighting(100.5, 50, 1, True, 0.9)]
    assert list(stitch_nuclei(twice)["probability"]) == [0.9]
    # Each sees it on the other's side.
    crossed = [sighting(100.5, 50, 0, False, 0.8), sighting(99.5, 50, 1, False, 0.7)]
    assert list(stitch_nuclei(crossed)["probability"]) == [0.8]
    # The block that holds the centre is believed, though the other is surer.
    own = [sighting(100.5, 50, 0, False, 0.9), sighting(101, 50, 1, True, 0.7)]
    assert list(stitch_nuclei(own)["probability"]) == [0.7]
    assert len(stitch_nuclei(own[::-1])) == 1


def test_neighbours_at_a_seam_are_both_kept() -> None:
    apart = [sighting(97, 50, 0, True, 0.8), sighting(103, 50, 1, True, 0.9)]
    assert len(stitch_nuclei(apart)) == 2


def test_bare_glass_is_not_segmented(segmenter: Path) -> None:
    centres = [(100, 100), (400, 100), (100, 400), (420, 420)]
    picture = paint(centres, 512, 512)
    settings = SegmentationSettings(**LIKE_TRAINED, block_px=256, halo_px=64)
    tissue = box_um(0, 0, 110, 110)
    blocks = plan_blocks(slide_of(picture), UM_PER_PX, settings, tissue)
    assert [block.core[:2] for block in blocks] == [(0, 0)]
    nuclei = segment(picture, UM_PER_PX, segmenter, settings, 2, tissue)
    assert list(nuclei.index) == ["000100-000100"]


def test_shares_hold_every_block_once() -> None:
    blocks = plan_blocks(
        slide_of(np.zeros((1000, 1500, 3), np.uint8)), UM_PER_PX, SegmentationSettings(block_px=256)
    )
    for n in (1, 4, 7, 50):
        shares = [share_of_blocks(blocks, k, n) for k in range(1, n + 1)]
        assert [block for share in shares for block in share] == blocks
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


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


def test_a_folder_without_weights_is_refused(segmenter: Path, tmp_path: Path) -> None:
    for name in ("config.json", "thresholds.json"):
        (tmp_path / name).write_bytes((segmenter / name).read_bytes() if name[0] == "c" else b"{}")
    with pytest.raises(UserError, match="a folder without weights"):
        load_segmenter(tmp_path)


@pytest.mark.parametrize("text", ['{"architectures": ["ViT"]}', "[]", "not json"])
def test_a_folder_of_another_model_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "weights_best.h5").touch()
    with pytest.raises(UserError, match=r"found no StarDist model: config\.json"):
        load_segmenter(tmp_path)


def test_outlines_without_area_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    square = [(0, 0), (6, 0), (6, 6), (0, 6)]
    bow_tie, flat = [(0, 0), (6, 6), (6, 0), (0, 6)], [(0, 0), (6, 0), (3, 0), (1, 0)]
    outlines = shapely.polygons(np.array([square, bow_tie, flat], dtype=float))
    with caplog.at_level("INFO"):
        nuclei = _frame(np.full((3, 2), 3), outlines, np.ones(3), 7, np.ones(3, dtype=bool))
    assert list(nuclei["area_um2"]) == [36]
    assert "block 7: 2 of 3 outlines dropped" in caplog.text


def test_no_nucleus_on_the_tissue_is_a_user_error(tmp_path: Path) -> None:
    sighting(50, 50, 0, True, 0.9).to_parquet(tmp_path / "1-of-1.parquet")
    box_um(1000, 1000, 2000, 3000).to_parquet(tmp_path / "tissue.parquet")
    paths = [tmp_path / "1-of-1.parquet"], tmp_path / "tissue.parquet", tmp_path / "image.tif"
    with pytest.raises(UserError, match=r"no nucleus on 2 mm2 of tissue.*probability_threshold"):
        entry.main(*paths, UM_PER_PX, tmp_path / "nuclei.parquet")


def test_the_range_of_a_speck_of_tissue_is_its_own() -> None:
    """Tissue across the corners of patches, smaller than one, on noisy glass."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(235, 245, (1024, 1024, 3)).astype(np.uint8)
    pixels[412:612, 412:612] = rng.integers(50, 150, (200, 200, 3))
    low, high = value_range(slide_of(pixels), UM_PER_PX, SETTINGS_1_99, box_um(206, 206, 306, 306))
    assert 50 <= low < 55
    assert 145 < high < 150
