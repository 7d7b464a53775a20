"""The encoders by kind: image and units in, features and the encoder's identity out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from histoscribe.features import UnitFeatures
from histoscribe.features.files import columns_digest
from histoscribe.features.tiles import require_tile_fits, tile_size_px
from histoscribe.image import Slide
from histoscribe.provenance import file_digest


@dataclass(frozen=True)
class EncoderSettings:
    """One encoder of the config.

    `kind` is morphology, nuclei (within `radius_um`), imagenet, timm or checkpoint; `name` a timm
    model or hub id; `architecture` that of a checkpoint; `weights` the retrieved folder or
    checkpoint file.
    """

    kind: str
    tile_um: float
    batch_size: int
    name: str | None = None
    architecture: str | None = None
    file: str | None = None
    weights: str | None = None
    radius_um: float | None = None


def encode(
    slide: Slide,
    um_per_px: float,
    xy_um: np.ndarray,
    footprints: np.ndarray,
    has_nuclei: bool,
    settings: EncoderSettings,
    unit: str,
    threads: int,
    stain: dict | None = None,
    nuclei: np.ndarray | None = None,
) -> tuple[UnitFeatures, dict]:
    """Features of units at `xy_um` (n, 2) with polygons `footprints` (n,), and the identity.

    `unit` says what the footprints are ("nucleus", "bin of 8 um"), `stain` the reference that the
    slide's colours were brought to, None for its own colours; `nuclei` are the section's outlines,
    for the encoder of that name. The identity tells whether a
    model fits these features: two sets of features are exchangeable when their identities are
    equal.
    """
    require_tile_fits(slide, tile_size_px(settings.tile_um, um_per_px))
    identity = {
        "kind": settings.kind,
        "unit": unit,
        "tile_um": settings.tile_um,
        "um_per_px": um_per_px,
        "stain": stain,
    }
    if settings.kind == "morphology":
        from histoscribe.features.morphology import VERSION, describe_units

        identity["version"] = VERSION
        features = describe_units(slide, um_per_px, xy_um, footprints, has_nuclei, settings.tile_um)
    elif settings.kind == "nuclei":
        from histoscribe.features.nuclear_neighbourhood import VERSION, describe_neighbourhoods

        identity |= {"version": VERSION, "radius_um": settings.radius_um}
        features = describe_neighbourhoods(
            slide, um_per_px, xy_um, nuclei, settings.tile_um, settings.radius_um
        )
    else:  # torch is imported only where a network is used
        from histoscribe.features.vit import encode_units

        encoder, weights_digest = _network(settings)
        features = encode_units(
            slide,
            um_per_px,
            xy_um,
            footprints,
            encoder,
            settings.tile_um,
            settings.batch_size,
            threads,
        )
        identity |= {
            "name": encoder.name,
            "architecture": settings.architecture,
            "input_px": list(encoder.input_px),
            "mean": list(encoder.mean),
            "std": list(encoder.std),
            "weights_sha256": weights_digest,
        }
    identity["columns_sha256"] = columns_digest(features)
    return features, identity


def _network(settings: EncoderSettings):
    """The network of an encoder that is one, and the digest of its weights."""
    if settings.kind == "imagenet":
        from histoscribe.features.imagenet import SHA256, load_imagenet

        return load_imagenet(), SHA256
    from histoscribe.features.checkpoints import find_weights
    from histoscribe.features.vit import load_encoder

    weights = Path(settings.weights)
    name = settings.name or weights.name
    encoder = load_encoder(settings.kind, name, settings.architecture, weights)
    return encoder, file_digest(find_weights(weights) if weights.is_dir() else weights)
