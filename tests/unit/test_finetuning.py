"""Adapted encoders that start from a pretrained one: what is learnt, kept, and refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_adapted import SMALL, is_dark, section
from tiny_encoder import ARCHITECTURE, SIZES, write_tiny_encoder

from histoscribe.adapted.describe import describe_units
from histoscribe.adapted.encoder import AdaptedEncoder, blind_network, read_encoder, write_encoder
from histoscribe.adapted.fitting import adapt
from histoscribe.adapted.network import timm
from histoscribe.adapted.places import reading_points
from histoscribe.adapted.tile_network import Base, TileNetwork, let_learn, tile_network_of
from histoscribe.errors import UserError
from histoscribe.features.vit import wrap_model

SETTINGS = replace(SMALL, start="tiny", rank=2, steps=60, tiles_per_step=24, learning_rate=0.01)
POINTS = reading_points({"unit_shape": "square", "unit_size_um": 16.0}, 2.0)


def tiny_base(folder, seed: int = 0) -> Base:
    return Base("timm", ARCHITECTURE, None, write_tiny_encoder(folder, seed), tile_um=32.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Base:
    return tiny_base(tmp_path_factory.mktemp("hub") / "tiny")


@pytest.fixture(scope="module")
def tuned(base) -> AdaptedEncoder:
    return adapt([section("a", 1), section("b", 2)], SETTINGS, "median", 0, 1, base)


def described(encoder: AdaptedEncoder, base: Base, what, trained_as: str | None = None):
    place = what.units.obsm["spatial"]
    return describe_units(what.slide, 2.0, place, POINTS, encoder, 64.0, 1, trained_as, None, base)


def test_it_learns_what_the_image_shows_of_expression(tuned, base):
    new = section("c", 3)
    features = described(tuned, base, new)
    assert features.local.shape == features.context.shape == (new.units.n_obs, 3)
    assert np.abs(np.corrcoef(features.local[:, 0], is_dark(new, 3))[0, 1]) > 0.8


def test_training_units_are_described_by_the_network_blind_to_them(tuned, base):
    known = section("a", 1)
    own = described(tuned, base, known, "a").local
    fold = blind_network(known.units.obsm["spatial"], tuned.blind["a"], SETTINGS.block_um)
    for number in (0, 1):
        alone = replace(tuned, weights=[tuned.weights[number]])
        by_one = described(alone, base, known).local
        np.testing.assert_allclose(own[fold == number], by_one[fold == number], atol=1e-5)


def test_only_changes_of_low_rank_are_stored(tuned, tmp_path):
    shapes = {name: value.shape for name, value in tuned.weights[0].items()}
    changed = {name: shape for name, shape in shapes.items() if name.startswith("backbone")}
    assert len(changed) == 2 * 4 * SIZES["depth"]  # up and down of four matrices a block
    assert all(SETTINGS.rank in shape for shape in changed.values())
    assert any(np.abs(tuned.weights[0][name]).max() > 0 for name in changed if "up" in name)
    write_encoder(tuned, tmp_path / "encoder.safetensors")
    read = read_encoder(tmp_path / "encoder.safetensors", "tiny-adapted")
    assert (read.base, read.settings, read.digest()) == (tuned.base, SETTINGS, tuned.digest())


def test_at_first_the_encoder_is_the_pretrained_one(base):
    network = tile_network_of(SETTINGS, base, POINTS).eval()
    tiles = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    pixels = network.encoder.normalised(tiles.permute(0, 3, 1, 2))
    expected = base.load().model.forward_features(pixels)
    torch.testing.assert_close(network.backbone.forward_features(pixels), expected)


def test_the_last_blocks_learn_whole(base):
    settings = replace(SETTINGS, rank=0, last_blocks=1)
    network = tile_network_of(settings, base, POINTS)
    learns = {n for n, w in network.backbone.named_parameters() if w.requires_grad}
    last = {n for n, _ in network.backbone.named_parameters() if n.startswith("blocks.1.")}
    assert learns == last


def test_the_pretrained_part_is_never_trained_as_such(base):
    network = tile_network_of(replace(SETTINGS, dropout=0.5), base, POINTS).train()
    assert not network.backbone.training
    assert network.head.training


def test_a_unit_is_read_in_the_middle_of_its_tile(base):
    """A map whose values are the columns of its tokens reads back the middle."""
    encoder = base.load()
    network = TileNetwork(encoder, SETTINGS, 3, POINTS / 16)
    level = torch.arange(4.0).expand(1, 24, 4, -1)
    grid = network.points.expand(1, 1, -1, -1)
    read = torch.nn.functional.grid_sample(level, grid, align_corners=False)
    np.testing.assert_allclose(read.mean(dim=(2, 3)).numpy(), 1.5, atol=1e-6)


def test_other_weights_are_refused(tuned, tmp_path):
    with pytest.raises(UserError, match="from which the adapted encoder started"):
        described(tuned, tiny_base(tmp_path / "other", seed=1), section("c", 3))


def test_an_encoder_is_not_taken_for_one_of_another_start(tuned, base):
    with pytest.raises(UserError, match="tiny, from which the model's encoder started"):
        described(tuned, None, section("c", 3))
    with pytest.raises(UserError, match="imagenet, from which the model's encoder started"):
        described(replace(tuned, settings=SMALL), base, section("c", 3))


def test_more_last_blocks_than_there_are_train_all(base):
    network = tile_network_of(replace(SETTINGS, rank=0, last_blocks=9), base, POINTS)
    blocks = [w for n, w in network.backbone.named_parameters() if n.startswith("blocks.")]
    assert all(weight.requires_grad for weight in blocks)


def test_nothing_to_learn_is_refused(base):
    with pytest.raises(UserError, match="rank 0 and last_blocks 0"):
        tile_network_of(replace(SETTINGS, rank=0), base, POINTS)
    plain = wrap_model(timm.create_model("resnet10t", pretrained=False, num_classes=0), "resnet10t")
    with pytest.raises(UserError, match="linear layers in its blocks"):
        let_learn(plain.model, 4, 0, "resnet10t")
