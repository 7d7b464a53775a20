"""The `imagenet` encoder: levels of a network, each token over its own place."""

from pathlib import Path

import numpy as np
import torch
from skimage import data

from histoscribe.features.encoders import EncoderSettings, encode
from histoscribe.features.imagenet import Levels, load_imagenet
from histoscribe.image import Slide


def test_units_are_described_by_pictures_of_them():
    """Features of the same picture agree wherever it lies, and differ from those of another."""
    picture = data.coffee()[:128, 100:228]
    pixels = np.full((300, 700, 3), 255, dtype=np.uint8)
    pixels[50:178, 20:148] = pixels[60:188, 420:548] = picture
    pixels[50:178, 220:348] = data.astronaut()[:128, 100:228]
    xy_um = np.array([[84.0, 114.0], [484.0, 124.0], [284.0, 114.0]]) * 0.5
    slide, outlines = Slide(Path("a"), pixels, 0.5), np.full(3, None)
    settings = EncoderSettings("imagenet", tile_um=64, batch_size=2)
    features, identity = encode(slide, 0.5, xy_um, outlines, False, settings, "spot", 1)
    assert identity["input_px"] == [224, 224]
    assert features.mean is None  # the global features are a mean
    for values in (features.local, features.context):
        same, other = np.abs(values[:2] - values[0]).sum(axis=1)[1], np.abs(values[2] - values[0])
        assert same < 1e-3 < other.sum()


def test_a_token_is_where_its_pixels_are():
    """What changes a token lies around its own middle, half a pixel aside at most."""
    levels = load_imagenet().model
    for module in levels.modules():  # linear, so that every pixel counts
        if isinstance(module, torch.nn.ReLU6):
            module.forward = torch.nn.Identity().forward
        if isinstance(module, torch.nn.Conv2d):
            module.requires_grad_(False)
            module.weight.fill_(1 / module.weight[0].numel())
    image = torch.zeros(1, 3, 448, 448, dtype=torch.float64, requires_grad=True)
    levels.double()
    tokens = levels.forward_features(image)
    assert isinstance(levels, Levels)
    assert tokens.shape == (1, levels.num_features, 28, 28)
    token = 14
    first = 0
    for width in levels.backbone.widths:
        value = tokens[0, first : first + width, token, token].sum()
        (change,) = torch.autograd.grad(value, image, retain_graph=True)
        weight = change[0].abs().sum(dim=0)
        columns = torch.arange(448.0, dtype=torch.float64) + 0.5
        for across in (weight.sum(dim=0), weight.sum(dim=1)):
            middle_px = float((across * columns).sum() / across.sum())
            assert abs(middle_px - (token + 0.5) * 16) <= 0.5 + 1e-6
        first += width
