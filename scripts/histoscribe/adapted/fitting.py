"""From training sections to an adapted encoder."""

import logging
from dataclasses import dataclass, replace

import anndata as ad
import numpy as np
import torch

from histoscribe.adapted.encoder import AdaptedEncoder, AdaptedSettings, blocks_of
from histoscribe.adapted.genes import choose_genes, leading_directions
from histoscribe.adapted.network import network_of, starting_weights
from histoscribe.adapted.patches import StainedImage
from histoscribe.adapted.places import reading_points
from histoscribe.adapted.tile_network import Base, tile_network_of
from histoscribe.adapted.training import (
    TrainedNetwork,
    TrainingImage,
    hold_out_folds,
    train_network,
)
from histoscribe.image import Slide
from histoscribe.polygons import unit_kind
from histoscribe.provenance import names_digest, recall

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class SectionToLearn:
    """A training section: its slide at `um_per_px`, and its filtered units."""

    name: str
    slide: Slide
    um_per_px: float
    units: ad.AnnData


def adapt(
    sections: list[SectionToLearn],
    settings: AdaptedSettings,
    target_sum: float | str,
    seed: int,
    threads: int,
    base: Base | None = None,
) -> AdaptedEncoder:
    """Train the networks of an encoder; they start from `base`, if it is given.

    Raises UserError where sections share no gene or are too small to hold a part out.
    """
    genes = choose_genes([s.units for s in sections], settings.n_genes, target_sum)
    n_components = min(settings.n_components, len(genes.genes))
    settings = replace(settings, n_components=n_components)
    LOG.info("learning from %d genes, such as %s", len(genes.genes), ", ".join(genes.genes[:5]))
    images = [
        TrainingImage(
            name=s.name,
            image=StainedImage.of(s.slide, s.um_per_px, settings.um_per_px),
            xy_um=np.asarray(s.units.obsm["spatial"], dtype=np.float64),
            offsets_um=reading_points(recall(s.units.uns), settings.um_per_px),
            expression=genes.of(s.units),
        )
        for s in sections
    ]
    folds = hold_out_folds(images, settings, seed)
    if settings.steps:
        trained = [
            train_network(images, folds, number, settings, seed, threads, base)
            for number in range(settings.n_networks)
        ]
        weights = with_common_features(trained, settings.n_components)
    else:
        torch.manual_seed(seed)
        offsets_um = images[0].offsets_um
        weights = [_untrained(settings, base, offsets_um) for _ in range(settings.n_networks)]
    blind = {
        image.name: blocks_of(image.xy_um, fold, settings.block_um)
        for image, fold in zip(images, folds, strict=True)
    }
    unit = unit_kind(recall(sections[0].units.uns))
    learnt_from = {s.name: names_digest(s.units.obs_names) for s in sections}
    digest = base.digest() if base else None
    return AdaptedEncoder(settings, weights, unit, blind, learnt_from, digest)


def with_common_features(
    trained: list[TrainedNetwork], n_components: int
) -> list[dict[str, np.ndarray]]:
    """Weights of the networks, their outputs turned from genes to the components they share."""
    directions = leading_directions(
        [network.weights["decoder.weight"] for network in trained],
        [network.moment for network in trained],
        n_components,
    )
    return [
        {
            **network.weights,
            "decoder.weight": directions.T @ network.weights["decoder.weight"],
            "decoder.bias": directions.T @ network.weights["decoder.bias"],
        }
        for network in trained
    ]


def _untrained(
    settings: AdaptedSettings, base: Base | None, offsets_um: np.ndarray
) -> dict[str, np.ndarray]:
    if base is None:
        network = network_of(settings, backbone=starting_weights(settings))
    else:
        network = tile_network_of(settings, base, offsets_um)
    return {name: weight.detach().cpu().numpy() for name, weight in network.stored().items()}
