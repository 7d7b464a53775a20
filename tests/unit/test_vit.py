"""Image encoders: tiles, tokens under a footprint, weights loaded strictly, order and batches."""

from pathlib import Path

import numpy as np
import pytest
import shapely
import torch

from histoscribe.errors import UserError
from histoscribe.features.tiles import cut_tiles, tile_origins_px, tile_size_px, token_weights
from histoscribe.features.vit import Encoder, encode_units, timm, wrap_model
from histoscribe.image import Slide

TINY = {"depth": 1, "img_size": 64, "embed_dim": 24, "num_heads": 2}
TINY_NAME = "vit_small_patch16_224"


def slide_of(pixels: np.ndarray) -> Slide:
    return Slide(Path("section.tif"), pixels, None)


def noise_slide(height: int = 300, width: int = 400, seed: int = 0) -> Slide:
    rng = np.random.default_rng(seed)
    return slide_of(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def tiny_model(seed: int = 0, **changes: object) -> torch.nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(TINY_NAME, pretrained=False, num_classes=0, **{**TINY, **changes})


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return wrap_model(tiny_model(), "tiny")


def some_units(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Centres and irregular polygons in um over a slide of 200 x 150 um (0.5 um/px)."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, [200, 150], (n, 2))
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    rays = rng.uniform(1, 7, (n, 12, 1))
    outlines = xy[:, None] + rays * np.column_stack([np.cos(angles), np.sin(angles)])
    return xy, shapely.polygons(outlines)


# --- tiles


@pytest.mark.parametrize("um_per_px", [0.25, 0.2737, 0.5, 2.0])
def test_a_tile_is_centred_on_its_unit_within_half_a_pixel(um_per_px: float) -> None:
    xy, _ = some_units(50)
    side = tile_size_px(128, um_per_px)
    middle_um = (tile_origins_px(xy, um_per_px, side) + side / 2) * um_per_px
    assert np.abs(middle_um - xy).max() <= um_per_px / 2 + 1e-9


def test_tiles_are_the_pixels_around_the_unit_and_white_beyond_the_border() -> None:
    slide = noise_slide()
    origins = np.array([[-10, -20], [380, 290], [100, 50]])
    cut = dict(
        (int(unit), tile)
        for units, tiles in cut_tiles(slide, origins, 32, batch=2)
        for unit, tile in zip(units, tiles, strict=True)
    )
    assert sorted(cut) == [0, 1, 2]
    assert (cut[0][:20] == 255).all()
    assert (cut[0][:, :10] == 255).all()
    np.testing.assert_array_equal(cut[0][20:, 10:], slide.pixels[:12, :22])
    np.testing.assert_array_equal(cut[1][:10, :20], slide.pixels[290:, 380:])
    assert (cut[1][10:] == 255).all()
    np.testing.assert_array_equal(cut[2], slide.pixels[50:82, 100:132])


def test_no_region_is_larger_than_a_block_and_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    regions = []
    read = Slide.read_region

    def spy(self: Slide, x: int, y: int, width: int, height: int) -> np.ndarray:
        regions.append((width, height))
        return read(self, x, y, width, height)

    monkeypatch.setattr(Slide, "read_region", spy)
    slide = slide_of(np.zeros((5000, 5000, 3), dtype=np.uint8))
    rng = np.random.default_rng(0)
    origins = rng.integers(-20, 4990, (3000, 2))
    units = np.concatenate([units for units, _ in cut_tiles(slide, origins, 32, batch=64)])
    assert sorted(units) == list(range(3000))
    assert np.max(regions) <= 2048 + 32
    assert len(regions) <= 16


# --- tokens


def brute_force(
    polygon: shapely.Polygon, origin: np.ndarray, token: float, grid: int
) -> np.ndarray:
    shares = np.zeros((grid, grid))
    for row in range(grid):
        for column in range(grid):
            x, y = origin + np.array([column, row]) * token
            square = shapely.box(x, y, x + token, y + token)
            shares[row, column] = polygon.intersection(square).area > 1e-9
    return (shares / shares.sum()).ravel() if shares.sum() else shares.ravel()


def test_tokens_under_a_polygon_agree_with_brute_force() -> None:
    xy, polygons = some_units(60)
    origins = tile_origins_px(xy, 0.5, 64) * 0.5
    weights = token_weights(polygons, xy, origins, tile_um=32, grid=(16, 16))
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    for polygon, origin, found in zip(polygons, origins, weights, strict=True):
        np.testing.assert_allclose(found, brute_force(polygon, origin, 2.0, 16), atol=1e-6)


def test_a_polygon_larger_than_its_tile_covers_every_token() -> None:
    xy = np.array([[50.0, 50.0]])
    disc = shapely.Point(50, 50).buffer(100)
    weights = token_weights(np.array([disc]), xy, np.array([[34.0, 34.0]]), 32, (4, 4))
    np.testing.assert_allclose(weights, 1 / 16)


def test_a_bin_on_token_edges_takes_no_neighbours() -> None:
    xy = np.array([[0.3 * 3 + 4, 12.0]])  # a corner that binary fractions can't hold
    origin = np.array([[0.3 * 3 - 4, 0.0]])
    square = shapely.box(xy[0, 0] - 4, 8, xy[0, 0] + 4, 16)
    weights = token_weights(np.array([square]), xy, origin, 128, (16, 16)).reshape(16, 16)
    assert weights.sum() == 1
    assert np.count_nonzero(weights) == 2  # half of column 0 and half of column 1, row 1
    assert (weights[1, :2] == 0.5).all()


def test_x_is_the_column_and_y_the_row_of_a_token() -> None:
    xy = np.array([[100.0, 20.0]])
    square = shapely.box(97, 17, 103, 23)
    weights = token_weights(np.array([square]), xy, np.zeros((1, 2)), 128, (16, 16))
    rows, columns = np.nonzero(weights.reshape(16, 16))
    assert set(rows) == {2}
    assert set(columns) == {12}


@pytest.mark.parametrize(
    "footprint",
    [shapely.Polygon(), shapely.Point(20, 12), shapely.box(900, 900, 910, 910), None],
    ids=["empty", "point", "elsewhere", "none"],
)
def test_a_unit_without_tokens_takes_the_one_under_its_centre(footprint: object) -> None:
    footprints = np.array([footprint, shapely.box(0, 0, 1, 1)], dtype=object)
    xy = np.array([[20.0, 12.0], [0.5, 0.5]])
    weights = token_weights(footprints, xy, np.zeros((2, 2)), 32, (4, 4))
    assert np.flatnonzero(weights[0]).tolist() == [1 * 4 + 2]
    assert weights[0].sum() == 1


def test_a_self_crossing_polygon_is_repaired() -> None:
    bow = shapely.Polygon([(0, 0), (16, 16), (16, 0), (0, 16)])
    weights = token_weights(np.array([bow]), np.array([[8.0, 8.0]]), np.zeros((1, 2)), 32, (4, 4))
    assert np.count_nonzero(weights) == 4


# --- encoding


def test_features_of_known_tokens(encoder: Encoder) -> None:
    slide = noise_slide()
    xy = np.array([[80.0, 60.0]])  # tile: 64 px around px (160, 120)
    square = np.array([shapely.box(72.5, 52.5, 79.5, 59.5)])  # px 145-159, 105-119: token 1, 1
    found = encode_units(slide, 0.5, xy, square, encoder, tile_um=32)
    tile = torch.from_numpy(slide.pixels[88:152, 128:192].astype(np.float32))
    pixels = (tile.permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
    with torch.inference_mode():
        tokens = encoder.model.forward_features(pixels)[0].numpy()
    np.testing.assert_allclose(found.context[0], tokens[0], atol=1e-5)
    np.testing.assert_allclose(found.local[0], tokens[1 + 1 * 4 + 1], atol=1e-5)
    assert found.local.dtype == found.context.dtype == np.float32
    assert len(found.local_names) == found.local.shape[1] == 24


def test_order_and_batch_change_nothing(encoder: Encoder) -> None:
    slide = noise_slide()
    xy, polygons = some_units(23)
    plain = encode_units(slide, 0.5, xy, polygons, encoder, tile_um=32, batch=8)
    shuffle = np.random.default_rng(3).permutation(23)
    other = encode_units(slide, 0.5, xy[shuffle], polygons[shuffle], encoder, tile_um=32, batch=5)
    np.testing.assert_allclose(other.local, plain.local[shuffle], atol=1e-5)
    np.testing.assert_allclose(other.context, plain.context[shuffle], atol=1e-5)


def test_units_at_the_border_see_white(encoder: Encoder) -> None:
    slide = noise_slide()
    padded = np.pad(slide.pixels, ((50, 50), (50, 50), (0, 0)), constant_values=255)
    xy = np.array([[0.0, 0.0], [199.0, 149.0], [3.0, 100.0]])
    polygons = shapely.box(xy[:, 0] - 4, xy[:, 1] - 4, xy[:, 0] + 4, xy[:, 1] + 4)
    found = encode_units(slide, 0.5, xy, polygons, encoder, tile_um=32)
    moved = shapely.affinity.translate
    shifted = np.array([moved(polygon, 25, 25) for polygon in polygons])
    inside = encode_units(slide_of(padded), 0.5, xy + 25, shifted, encoder, tile_um=32)
    np.testing.assert_allclose(found.context, inside.context, atol=1e-5)
    np.testing.assert_allclose(found.local, inside.local, atol=1e-5)


def test_a_coarser_image_is_resized_to_the_network(encoder: Encoder) -> None:
    coarse = np.full((100, 120, 3), 255, dtype=np.uint8)
    coarse[40:60, 50:70] = (120, 60, 140)
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1)
    xy = np.array([[60.0, 50.0]])
    polygon = np.array([shapely.box(56, 46, 64, 54)])
    a = encode_units(slide_of(fine), 0.5, xy, polygon, encoder, tile_um=32)
    b = encode_units(slide_of(coarse), 1.0, xy, polygon, encoder, tile_um=32)
    assert np.corrcoef(a.context[0], b.context[0])[0, 1] > 0.98


def test_no_units_give_no_features(encoder: Encoder) -> None:
    found = encode_units(noise_slide(), 0.5, np.empty((0, 2)), np.array([]), encoder, tile_um=32)
    assert found.local.shape == (0, 24)


def test_an_image_smaller_than_a_tile_is_refused(encoder: Encoder) -> None:
    xy, polygons = some_units(2)
    with pytest.raises(UserError, match=r"400 x 300 px.*at least one tile, 400 x 400 px"):
        encode_units(noise_slide(), 0.5, xy, polygons, encoder, tile_um=200)


def test_features_that_are_not_finite_are_refused() -> None:
    model = tiny_model()
    model.norm.bias.data[0] = float("nan")
    xy, polygons = some_units(2)
    with pytest.raises(UserError, match="not finite"):
        encode_units(noise_slide(), 0.5, xy, polygons, wrap_model(model, "broken"), tile_um=32)


@pytest.mark.parametrize(
    ("name", "arguments", "grid", "n_local", "n_context"),
    [
        (TINY_NAME, {**TINY, "reg_tokens": 3}, (4, 4), 24, 24),
        (TINY_NAME, {**TINY, "class_token": False, "global_pool": "avg"}, (4, 4), 24, 24),
        ("resnet10t", {}, (6, 6), 512, 512),
        ("mobilenetv3_small_050", {}, (7, 7), 288, 1024),
        (
            "swin_tiny_patch4_window7_224",
            {"depths": (1, 1, 1, 1), "embed_dim": 24},
            (7, 7),
            192,
            192,
        ),
    ],
    ids=["registers", "no-class-token", "convolutional", "own-head", "channels-last"],
)
def test_other_families(
    name: str, arguments: dict, grid: tuple[int, int], n_local: int, n_context: int
) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=0, **arguments)
    encoder = wrap_model(model, name)
    assert (encoder.grid, encoder.n_local, encoder.n_context) == (grid, n_local, n_context)
    tiles = np.random.default_rng(0).integers(0, 256, (2, *encoder.input_px, 3), dtype=np.uint8)
    even = np.full((2, grid[0] * grid[1]), 1 / (grid[0] * grid[1]), dtype=np.float32)
    local, context, mean = encoder.encode(tiles, even)
    assert local.shape == (2, n_local)
    assert context.shape == (2, n_context)
    np.testing.assert_allclose(mean, local, atol=1e-4)  # which is over all tokens here
    if name == TINY_NAME and "class_token" in arguments:
        np.testing.assert_allclose(local, context, atol=1e-5)
    if name == TINY_NAME and "reg_tokens" in arguments:
        assert encoder.n_prefix == 4


# --- weights
