"""The adapted encoder: what it may see, where it reads, and that it learns what was planted."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from skimage import data
from skimage.transform import resize

from histoscribe.adapted.describe import describe_units
from histoscribe.adapted.encoder import (
    AdaptedEncoder,
    AdaptedSettings,
    blind_network,
    blocks_of,
    encoder_of,
    read_encoder,
    write_encoder,
)
from histoscribe.adapted.fitting import SectionToLearn, adapt
from histoscribe.adapted.genes import choose_genes, leading_directions
from histoscribe.adapted.network import (
    ARCHITECTURE,
    ContextNetwork,
    _finer,
    network_of,
    shift_px,
    timm,
)
from histoscribe.adapted.patches import StainedImage, mirrored
from histoscribe.adapted.places import reading_points
from histoscribe.adapted.pretrained import imagenet_weights
from histoscribe.adapted.reach import STRIDES_PX
from histoscribe.adapted.training import TrainingImage, hold_out_folds, train_network
from histoscribe.errors import UserError
from histoscribe.image import Slide
from histoscribe.provenance import RECORD_KEY, names_digest, record

EDGE_PX = 320
SMALL = AdaptedSettings(
    um_per_px=2.0,
    steps=60,
    n_networks=2,
    views=1,
    block_um=160.0,
    buffer_um=8.0,
    n_genes=20,
    n_components=3,
    map_width=16,
    hidden=16,
    dropout=0.0,
    batch_size=2,
    patch_px=64,
    units_per_patch=200,
    learning_rate=0.005,
)


def painted(seed: int) -> tuple[Slide, np.ndarray]:
    """A slide of dark and light squares of 40 px, and how dark each pixel is."""
    rng = np.random.default_rng(seed)
    dark = np.kron(rng.integers(0, 2, (EDGE_PX // 40, EDGE_PX // 40)), np.ones((40, 40)))
    colour = np.where(dark[..., None] > 0, [110, 60, 140], [225, 170, 200])
    pixels = np.clip(colour + rng.normal(0, 6, (EDGE_PX, EDGE_PX, 3)), 0, 255).astype(np.uint8)
    return Slide(Path("painted"), pixels, 2.0), dark


def section(name: str, seed: int) -> SectionToLearn:
    """Bins of 16 um, whose first ten of twenty genes are high where the image is dark."""
    slide, dark = painted(seed)
    rng = np.random.default_rng(seed)
    centre_um = np.arange(8, EDGE_PX * 2, 16)
    xy_um = np.stack(np.meshgrid(centre_um, centre_um), axis=-1).reshape(-1, 2).astype(float)
    column, row = (xy_um / 2).astype(int).T
    rate = np.full((len(xy_um), 20), 4.0)
    rate[:, :10] += 8.0 * dark[row, column][:, None]
    units = ad.AnnData(
        sparse.csr_matrix(rng.poisson(rate), dtype=np.int32),
        obs=pd.DataFrame(index=[f"{name}-{i}" for i in range(len(xy_um))]),
        var=pd.DataFrame(index=[f"G{i}" for i in range(20)]),
    )
    units.obs["umi"] = np.asarray(units.X.sum(axis=1)).ravel()
    units.obsm["spatial"] = xy_um
    units.uns[RECORD_KEY] = record(unit="bin", unit_shape="square", unit_size_um=16.0)
    return SectionToLearn(name, slide, 2.0, units)


@pytest.fixture(scope="module")
def adapted() -> AdaptedEncoder:
    return adapt([section("a", 1), section("b", 2)], SMALL, "median", 0, 1)


def described(adapted: AdaptedEncoder, what: SectionToLearn, trained_as: str | None = None):
    points = reading_points({"unit_shape": "square", "unit_size_um": 16.0}, 2.0)
    return describe_units(
        what.slide, 2.0, what.units.obsm["spatial"], points, adapted, 64.0, 1, trained_as
    )


def is_dark(what: SectionToLearn, seed: int) -> np.ndarray:
    _, dark = painted(seed)
    column, row = (what.units.obsm["spatial"] / 2).astype(int).T
    return dark[row, column]


def test_it_learns_what_the_image_shows_of_expression(adapted):
    new = section("c", 3)
    features = described(adapted, new)
    assert features.local.shape == features.context.shape == (new.units.n_obs, 3)
    assert np.abs(np.corrcoef(features.local[:, 0], is_dark(new, 3))[0, 1]) > 0.8


def test_training_units_are_described_by_the_network_blind_to_them(adapted):
    known = section("a", 1)
    own = described(adapted, known, "a").local
    fold = blind_network(known.units.obsm["spatial"], adapted.blind["a"], SMALL.block_um)
    assert set(fold) == {0, 1}
    for number in (0, 1):
        alone = AdaptedEncoder(adapted.settings, [adapted.weights[number]], adapted.unit, {})
        by_one = described(alone, known).local
        np.testing.assert_allclose(own[fold == number], by_one[fold == number], atol=1e-5)


def test_units_that_no_network_learnt_from_are_described_by_all(adapted):
    """Units of a test block, and of the buffer around it, in a section that is trained on."""
    known = section("a", 1)
    unseen = known.units.obsm["spatial"][:, 0] > 300
    points = reading_points({"unit_shape": "square", "unit_size_um": 16.0}, 2.0)
    place = known.units.obsm["spatial"]
    own = describe_units(known.slide, 2.0, place, points, adapted, 64.0, 1, "a", unseen)
    blind, mean = described(adapted, known, "a"), described(adapted, known)
    for block in ("local", "context"):
        expected = np.where(unseen[:, None], getattr(mean, block), getattr(blind, block))
        np.testing.assert_array_equal(getattr(own, block), expected)


def test_a_network_never_sees_what_it_is_blind_to():
    images = [
        TrainingImage(
            s.name,
            StainedImage.of(s.slide, 2.0, 2.0),
            s.units.obsm["spatial"],
            np.zeros((1, 2)),
            choose_genes([s.units], 20, "median").of(s.units),
        )
        for s in (section("a", 1), section("b", 2))
    ]
    folds = hold_out_folds(images, SMALL, 0)
    few = AdaptedSettings(**{**SMALL.__dict__, "steps": 3})
    honest, reading = (train_network(images, folds, number, few, 0, 1).weights for number in (0, 1))
    for image, fold in zip(images, folds, strict=True):
        image.expression[fold == 0] += 10
    after, reading_after = (
        train_network(images, folds, number, few, 0, 1).weights for number in (0, 1)
    )
    assert all(np.array_equal(honest[name], after[name]) for name in honest)
    assert not all(np.array_equal(reading[name], reading_after[name]) for name in reading)


@pytest.mark.parametrize("block_px", [64, 100, 4096])
def test_the_result_does_not_depend_on_blocks(adapted, monkeypatch, block_px):
    new = section("c", 3)
    whole = described(adapted, new).local
    monkeypatch.setattr("histoscribe.adapted.describe.BLOCK_PX", block_px)
    np.testing.assert_allclose(described(adapted, new).local, whole, atol=2e-5)


def linear(network: torch.nn.Module) -> torch.nn.Module:
    """The network in double precision without what may switch a pixel's influence off."""
    for layer in list(network.double().modules()):
        for name, child in layer.named_children():
            if isinstance(child, torch.nn.ReLU6 | torch.nn.GELU):
                setattr(layer, name, torch.nn.Identity())
    return network


def test_pixels_beyond_the_reach_change_nothing():
    torch.manual_seed(0)
    network = linear(network_of(SMALL).eval())
    image = torch.rand(1, 3, 32, 1024, dtype=torch.float64, requires_grad=True)
    farthest = 0.0
    for x in 512 + np.arange(0.3, 16, 1.75):
        place = torch.tensor([[[[x, 16.0]]]], dtype=torch.float64)
        (change,) = torch.autograd.grad(network(image, place).sum(), image)
        seen = torch.nonzero(change[0].abs().sum(dim=(0, 1)))
        farthest = max(farthest, x - float(seen.min()), float(seen.max()) + 1 - x)
    assert network.reach_px - 8 < farthest <= network.reach_px


def test_places_are_read_where_cells_see_them():
    """Maps whose values are the middles of what cells see read back the x of a place."""
    maps = []
    for stride in STRIDES_PX[:2]:
        middle = (torch.arange(64 // stride) + 0.5) * stride + shift_px(stride)
        maps.append(middle.expand(1, 1, len(middle), -1))
    places = torch.tensor([[[[10.0, 30.0]], [[33.5, 6.0]], [[50.0, 50.0]]]])
    read = ContextNetwork.read(maps, places)[0]
    np.testing.assert_allclose(read[:, 0], places[0, :, 0, 0], atol=1e-4)
    np.testing.assert_allclose(read[:, 1], places[0, :, 0, 0], atol=1e-4)


def test_levels_see_around_the_middles_that_are_assumed():
    """The pixels that change a cell lie evenly around its middle, at every level."""
    backbone = linear(network_of(SMALL)).backbone
    image = torch.zeros(1, 3, 512, 512, dtype=torch.float64, requires_grad=True)
    for level, stride in zip(backbone(image), STRIDES_PX, strict=True):
        cell = 256 // stride
        (change,) = torch.autograd.grad(level[0, :, cell, cell].sum(), image, retain_graph=True)
        seen = torch.nonzero(change[0].abs().sum(dim=0).sum(dim=0))
        middle_px = (float(seen.min()) + float(seen.max()) + 1) / 2
        assert middle_px == (cell + 0.5) * stride + shift_px(stride)


def test_a_coarse_level_is_brought_to_the_place_of_the_finer_one():
    x = (torch.arange(8.0) + 0.5) * 16 + shift_px(16)
    finer = _finer(x.expand(1, 1, 8, 8))[0, 0, 0]
    expected = (torch.arange(16.0) + 0.5) * 8 + shift_px(8)
    np.testing.assert_allclose(finer[1:], expected[1:])


def test_all_of_the_network_is_stored_and_learns_but_for_biases_of_the_backbone():
    network = network_of(SMALL)
    weights = dict(network.named_parameters())
    assert set(network.stored()) == set(weights)
    frozen = {name for name, weight in weights.items() if not weight.requires_grad}
    of_backbone = {name for name in weights if name.startswith("backbone")}
    assert frozen == {name for name in of_backbone if name.endswith("bias")}


def test_imagenet_weights_know_a_cup_of_coffee():
    pixels = resize(data.coffee()[:, 100:500], (224, 224), anti_aliasing=True)
    network = timm.create_model(ARCHITECTURE, pretrained=False).eval()
    network.load_state_dict(imagenet_weights())
    image = torch.from_numpy(2 * pixels - 1).float().permute(2, 0, 1)
    with torch.inference_mode():
        likely = network(image[None]).softmax(dim=1)[0]
    assert int(likely.argmax()) == 967  # espresso


def test_missing_or_changed_imagenet_weights_are_reported(monkeypatch):
    monkeypatch.setattr("histoscribe.adapted.pretrained.SHA256", "0" * 64)
    with pytest.raises(UserError, match="sha256"):
        network_of(SMALL, backbone=imagenet_weights())
    monkeypatch.setattr("histoscribe.adapted.pretrained.PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="start: random"):
        imagenet_weights()


def test_mirrored_places_follow_their_pixels():
    rng = np.random.default_rng(0)
    patch = rng.random((3, 12, 20)).astype(np.float32)
    row, column = 4, 13
    for view in range(8):
        seen, place = mirrored(
            patch, np.array([column + 0.5, row + 0.5]), bool(view & 1), bool(view & 2), view > 3
        )
        x, y = (place - 0.5).astype(int)
        np.testing.assert_array_equal(seen[:, y, x], patch[:, row, column])


def test_the_image_is_averaged_over_whole_pixels():
    slide, _ = painted(1)
    halved = StainedImage.of(slide, 2.0, 4.0)
    assert (halved.factor, halved.um_per_px, halved.size_px) == (2, 4.0, (160.0, 160.0))
    assert halved.read(0, 0, 32, 32).shape == (3, 32, 32)
    assert StainedImage.of(slide, 2.0, 0.5).factor == 1


@pytest.mark.parametrize(
    ("shape", "width_um", "n_points"),
    [("polygon", 7.0, 1), ("square", 8.0, 1), ("square", 16.0, 4), ("circle", 100.0, 52)],
)
def test_points_lie_in_the_unit(shape, width_um, n_points):
    points = reading_points({"unit_shape": shape, "unit_size_um": width_um}, 2.0)
    assert len(points) == n_points
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-9)
    assert np.abs(points).max() <= width_um / 2


def test_genes_that_vary_most_are_learnt_from():
    units = [section("a", 1).units, section("b", 2).units[:, ::-1]]  # other order of genes
    chosen = choose_genes(units, 8, "median")
    assert set(chosen.genes) < {f"G{i}" for i in range(10)}  # those that follow the image
    standard = np.vstack([chosen.of(u) for u in units])
    np.testing.assert_allclose(standard.mean(axis=0, dtype=np.float64), 0, atol=0.01)
    np.testing.assert_allclose(standard.std(axis=0, dtype=np.float64), 1, atol=0.01)


def test_rare_genes_teach_nothing():
    units = section("a", 1).units.copy()
    counts = units.X.toarray()
    counts[:, 3] = 0
    counts[0, 3] = 500  # the largest variance over mean of all
    units.X = sparse.csr_matrix(counts)
    assert "G3" not in choose_genes([units], 10, "median").genes


def test_leading_directions_are_those_of_what_is_foretold():
    rng = np.random.default_rng(0)
    hidden = [rng.normal(size=(400, 6)) * rng.uniform(0.1, 2, 6) for _ in range(2)]
    decoders = [rng.normal(size=(12, 6)) for _ in range(2)]
    moments = [h.T @ h / len(h) for h in hidden]
    found = leading_directions(decoders, moments, 4)
    foretold = np.vstack([h @ w.T for h, w in zip(hidden, decoders, strict=True)])
    _, _, expected = np.linalg.svd(foretold, full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(found * expected[:4].T, axis=0)), 1, atol=1e-4)


def test_blocks_tell_which_network_has_not_seen_a_place():
    rng = np.random.default_rng(0)
    xy_um = rng.uniform(0, 1000, (500, 2))
    fold = (np.floor(xy_um / 100).sum(axis=1) % 3).astype(int)
    table = blocks_of(xy_um, fold, 100.0)
    np.testing.assert_array_equal(blind_network(xy_um, table, 100.0), fold)
    assert blind_network(np.array([[-50.0, 20.0]]), table, 100.0) == [-1]


def test_the_file_gives_back_the_encoder(adapted, tmp_path):
    path = tmp_path / "encoder.safetensors"
    write_encoder(adapted, path)
    read = read_encoder(path, "adapted")
    assert read.learnt_from == {
        name: names_digest(f"{name}-{i}" for i in range(section(name, 1).units.n_obs))
        for name in ("a", "b")
    }
    assert read.digest() == adapted.digest()
    assert (read.settings, read.unit) == (adapted.settings, adapted.unit)
    new = section("c", 3)
    np.testing.assert_array_equal(described(read, new).local, described(adapted, new).local)
    with pytest.raises(UserError, match="train again"):
        encoder_of({}, {"settings": {"widths": [8]}, "unit": "bin"}, "adapted")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="no readable encoder"):
        read_encoder(path, "adapted")


def test_too_few_blocks_to_hold_one_out():
    wide = AdaptedSettings(**{**SMALL.__dict__, "block_um": 5000.0, "n_networks": 2})
    with pytest.raises(UserError, match="nothing to learn from"):
        adapt([section("a", 1)], wide, "median", 0, 1)


def test_the_same_seed_gives_the_same_encoder():
    few = AdaptedSettings(**{**SMALL.__dict__, "steps": 4})
    first, second = (adapt([section("a", 1)], few, "median", 7, 1) for _ in range(2))
    assert first.digest() == second.digest()
