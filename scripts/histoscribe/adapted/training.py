"""Cross-fitted training: several networks, each blind to one part of every training section."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import nn
from tqdm import tqdm

from histoscribe import torch_setup
from histoscribe.adapted.encoder import AdaptedSettings
from histoscribe.adapted.network import network_of, starting_weights
from histoscribe.adapted.patches import EDGE_PX, StainedImage, augment
from histoscribe.adapted.tile_network import Base, tile_network_of
from histoscribe.adapted.tiles import tile_batches
from histoscribe.errors import UserError, problem
from histoscribe.splits import block_folds, outside_buffer

LOG = logging.getLogger(__name__)
WARM_UP = 0.1  # share of the steps in which the learning rate rises
MAX_GRADIENT = 1.0
MEMORY_STEPS = 50  # of the running mean of the weights


@dataclass(frozen=True)
class TrainingImage:
    """A training section: its image, its units' places and what their expression shows.

    `xy_um` (n_units, 2) are centres, `offsets_um` (n_points, 2) where around them a unit is read,
    `expression` (n_units, n_genes) float16 the standardised targets.
    """

    name: str
    image: StainedImage
    xy_um: np.ndarray
    offsets_um: np.ndarray
    expression: np.ndarray


@dataclass(frozen=True)
class TrainedNetwork:
    """Weights of a network as a running mean, and the second moments of its hidden layer."""

    weights: dict[str, np.ndarray]
    moment: np.ndarray


def hold_out_folds(
    sections: list[TrainingImage], settings: AdaptedSettings, seed: int
) -> list[np.ndarray]:
    """For each section the network, (n_units,), that does not learn from a unit."""
    xy_um = np.vstack([s.xy_um for s in sections])
    number = np.repeat(np.arange(len(sections)), [len(s.xy_um) for s in sections])
    fold = block_folds(xy_um, number, settings.block_um, settings.n_networks, seed)
    return np.split(fold, np.cumsum([len(s.xy_um) for s in sections])[:-1])


def train_network(
    sections: list[TrainingImage],
    folds: list[np.ndarray],
    held_out: int,
    settings: AdaptedSettings,
    seed: int,
    threads: int,
    base: Base | None = None,
) -> TrainedNetwork:
    """The network that is blind to the units of fold `held_out`; it starts from `base`, if given.

    Raises UserError where that leaves nothing to learn from.
    """
    torch.manual_seed(seed)
    torch_setup.set_threads(threads)
    device = torch_setup.device()
    rng = np.random.default_rng([seed, held_out])
    learns = [
        outside_buffer(s.xy_um, np.zeros(len(s.xy_um)), fold == held_out, settings.buffer_um)
        for s, fold in zip(sections, folds, strict=True)
    ]
    if not any(usable.any() for usable in learns):
        raise UserError(
            problem(
                "features.encoders, block_um of the adapted encoder",
                f"blocks of {settings.block_um:g} um, of which {settings.n_networks} networks "
                "leave one nothing to learn from",
                "several blocks in the training sections",
                "Make the blocks smaller, or add training sections.",
            )
        )
    n_genes = sections[0].expression.shape[1]
    if base is None:
        network = network_of(settings, n_genes, starting_weights(settings))
        batches = _batches(sections, learns, settings, rng)
    else:
        network = tile_network_of(settings, base, sections[0].offsets_um, n_genes)
        batches = tile_batches(sections, learns, settings, base.tile_um, rng)
    network = network.to(device, memory_format=torch.channels_last).train()
    optimisers, schedules = _optimisers(network, settings)
    stored = network.stored()
    mean = {name: weight.detach().clone() for name, weight in stored.items()}
    moment, losses = torch.zeros(settings.hidden, settings.hidden), []
    for step in tqdm(range(settings.steps), desc=f"network {held_out + 1}", disable=None):
        *seen, expression, counted = (torch.from_numpy(a).to(device) for a in next(batches))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            hidden = network.hidden(*seen)
            foretold = network.decoder(hidden)
        error = ((foretold.float() - expression) ** 2).mean(dim=2)
        loss = (error * counted).sum() / counted.sum().clamp(min=1)
        network.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT)
        for stepped in (*optimisers, *schedules):
            stepped.step()
        share = 1 / min(step + 1, MEMORY_STEPS)
        with torch.no_grad():
            for name, weight in stored.items():
                mean[name].lerp_(weight, share)
            rows = hidden.detach().float()[counted > 0]
            moment.lerp_((rows.T @ rows / max(len(rows), 1)).cpu(), share)
        losses.append(float(loss.detach()))
        if (step + 1) % max(settings.steps // 10, 1) == 0:
            recent = np.mean(losses[-max(settings.steps // 10, 1) :])
            LOG.info("network %d, step %d: loss %.4f", held_out + 1, step + 1, recent)
    if not np.isfinite(losses[-1]):
        raise ArithmeticError("the loss was not finite; lower the encoder's learning_rate")
    weights = {name: value.cpu().numpy() for name, value in mean.items()}
    return TrainedNetwork(weights, moment.numpy())


def _optimisers(
    network: nn.Module, settings: AdaptedSettings
) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LRScheduler]]:
    """Muon (Jordan et al., 2024) for hidden matrices, which saves steps; AdamW for the rest."""
    hidden, backbone, rest = [], [], []
    for name, weight in network.named_parameters():
        if not weight.requires_grad:
            continue
        if name.startswith("backbone"):
            backbone.append(weight)
        elif weight.ndim == 2 and not name.startswith("decoder"):
            hidden.append(weight)
        else:
            rest.append(weight)
    groups = [
        {"params": backbone, "lr": settings.backbone_learning_rate},
        {"params": rest, "lr": settings.learning_rate},
    ]
    decay = settings.weight_decay
    optimisers = [
        torch.optim.Muon(hidden, settings.matrix_learning_rate, weight_decay=decay),
        torch.optim.AdamW(groups, weight_decay=decay),
    ]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            [group["lr"] for group in optimiser.param_groups],
            total_steps=settings.steps,
            pct_start=WARM_UP,
            cycle_momentum=False,
        )
        for optimiser in optimisers
    ]
    return optimisers, schedules


def _batches(
    sections: list[TrainingImage],
    learns: list[np.ndarray],
    settings: AdaptedSettings,
    rng: np.random.Generator,
) -> Iterator[tuple[np.ndarray, ...]]:
    """Endless batches: patches, places, expression, and which of the places are units."""
    size = settings.patch_px
    n_points, n_genes = len(sections[0].offsets_um), sections[0].expression.shape[1]
    usable = [np.flatnonzero(mask) for mask in learns]
    trees = [cKDTree(s.xy_um[rows]) for s, rows in zip(sections, usable, strict=True)]
    share = np.array([len(rows) for rows in usable], dtype=float)
    share /= share.sum()
    while True:
        image = np.empty((settings.batch_size, 3, size, size), dtype=np.float32)
        n_read = settings.units_per_patch
        places = np.zeros((settings.batch_size, n_read, n_points, 2), dtype=np.float32)
        expression = np.zeros((settings.batch_size, n_read, n_genes), dtype=np.float32)
        counted = np.zeros((settings.batch_size, n_read), dtype=np.float32)
        for i in range(settings.batch_size):
            number = rng.choice(len(sections), p=share)
            section, rows = sections[number], usable[number]
            pixel_um = section.image.um_per_px
            anchor = section.xy_um[rng.choice(rows)] / pixel_um
            corner = np.floor(anchor - rng.uniform(EDGE_PX, size - EDGE_PX, 2))
            farthest = np.maximum(np.array(section.image.size_px) - size, 0)
            corner = np.clip(corner, 0, farthest).astype(int)
            middle_um = (corner + size / 2) * pixel_um
            within_um = (size / 2 - EDGE_PX) * pixel_um
            near = trees[number].query_ball_point(middle_um, within_um, p=np.inf)
            near = np.asarray(near, dtype=np.int64)
            chosen = rows[rng.permutation(near)[:n_read]]
            at = (section.xy_um[chosen, None] + section.offsets_um) / pixel_um - corner
            patch = section.image.read(int(corner[0]), int(corner[1]), size, size)
            image[i], places[i, : len(chosen)] = augment(patch, at, rng)
            expression[i, : len(chosen)] = section.expression[chosen]
            counted[i, : len(chosen)] = 1
        filled = max(int(counted.sum(axis=1).max()), 1)
        yield image, places[:, :filled], expression[:, :filled], counted[:, :filled]
