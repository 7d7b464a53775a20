"""Tiles for networks that start from a pretrained encoder: to learn from, and to describe by."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from histoscribe import torch_setup
from histoscribe.adapted.encoder import AdaptedEncoder, AdaptedSettings
from histoscribe.adapted.patches import COLOUR_JITTER, OFFSET_JITTER, mirrored
from histoscribe.adapted.tile_network import Base, TileNetwork, tile_network_of
from histoscribe.errors import UserError, problem
from histoscribe.features.stain import optical_density
from histoscribe.features.tiles import (
    cut_tiles,
    require_tile_fits,
    tile_origins_px,
    tile_size_px,
)
from histoscribe.image import Slide

if TYPE_CHECKING:
    from histoscribe.adapted.training import TrainingImage

WHITE = np.full(3, 255.0)


def tile_batches(
    sections: list["TrainingImage"],
    learns: list[np.ndarray],
    settings: AdaptedSettings,
    tile_um: float,
    rng: np.random.Generator,
) -> Iterator[tuple[np.ndarray, ...]]:
    """Endless batches: tiles, the expression of the unit in each, and that each counts."""
    usable = [np.flatnonzero(mask) for mask in learns]
    share = np.array([len(rows) for rows in usable]) / sum(len(rows) for rows in usable)
    slides = [section.image.slide for section in sections]
    pixel_um = [section.image.um_per_px / section.image.factor for section in sections]
    side = [tile_size_px(tile_um, size_um) for size_um in pixel_um]
    for slide, side_px in zip(slides, side, strict=True):
        require_tile_fits(slide, side_px)
    origins = [
        tile_origins_px(section.xy_um, size_um, side_px)
        for section, size_um, side_px in zip(sections, pixel_um, side, strict=True)
    ]
    while True:
        # Of one section, as tiles of slides of other resolutions have other sizes.
        number = rng.choice(len(sections), p=share)
        rows = rng.choice(usable[number], settings.tiles_per_step)
        tiles = [
            _augmented(slides[number].read_region(int(x), int(y), side[number], side[number]), rng)
            for x, y in origins[number][rows]
        ]
        expression = sections[number].expression[rows].astype(np.float32)
        yield np.stack(tiles), expression[:, None], np.ones((len(rows), 1), dtype=np.float32)


def _augmented(tile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tile (side, side, 3) uint8 turned or mirrored, each colour absorbed more or less."""
    strength = rng.lognormal(0, COLOUR_JITTER, 3) * rng.lognormal(0, COLOUR_JITTER)
    density = optical_density(tile, WHITE) * strength + rng.normal(0, OFFSET_JITTER, 3)
    stained = np.clip(np.rint(256 * np.exp(-density) - 1), 0, 255).astype(np.uint8)
    turned, _ = mirrored(stained.transpose(2, 0, 1), np.zeros((0, 2)), *(rng.random(3) < 0.5))
    return turned.transpose(1, 2, 0)


def foretell_tiles(
    encoder: AdaptedEncoder,
    base: Base,
    slide: Slide,
    um_per_px: float,
    xy_um: np.ndarray,
    offsets_um: np.ndarray,
) -> np.ndarray:
    """Components of units by each network, (n_networks, n_units, n_components).

    Raises UserError where `base` is not the encoder that the networks started from.
    """
    found = base.digest()
    if found != encoder.base:
        raise UserError(
            problem(
                f"the encoder {base.name} at {base.weights}",
                f"weights with sha256 {found}",
                f"{encoder.base}, from which the adapted encoder started",
                "Give the weights that the model was trained with.",
            )
        )
    settings, device = encoder.settings, torch_setup.device()
    tile_px = tile_size_px(base.tile_um, um_per_px)
    require_tile_fits(slide, tile_px)
    origins_px = tile_origins_px(xy_um, um_per_px, tile_px)
    result = np.zeros((len(encoder.weights), len(xy_um), settings.n_components), np.float32)
    for number, state in enumerate(encoder.weights):
        network = tile_network_of(settings, base, offsets_um)
        with_learnt(network, state).to(device).eval()
        cut = cut_tiles(slide, origins_px, tile_px, settings.tiles_per_step)
        progress = tqdm(total=len(xy_um), desc=f"network {number + 1}", unit="unit", disable=None)
        for units, tiles in cut:
            for view in range(settings.views):
                flips = bool(view & 1), bool(view & 2), bool(view & 4)
                seen = np.stack(
                    [mirrored(t.transpose(2, 0, 1), np.zeros((0, 2)), *flips)[0] for t in tiles]
                )
                pixels = torch.from_numpy(seen).to(device).permute(0, 2, 3, 1)
                with torch.inference_mode():
                    read = network(pixels)[:, 0].float().cpu().numpy()
                result[number, units] += read / settings.views
            progress.update(len(units))
    return result


def with_learnt(network: TileNetwork, state: dict[str, np.ndarray]) -> TileNetwork:
    """The network with what was learnt of it in place."""
    values = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
    strange = network.load_state_dict(values, strict=False).unexpected_keys
    missing = set(network.stored()) - set(values)
    if strange or missing:
        raise ValueError(f"weights of another network: {sorted({*strange, *missing})[:3]}")
    return network
