"""Context features: the tile around a unit, in square windows of several sizes."""

import numpy as np
from scipy import ndimage

from histoscribe.features.pixel_maps import (
    COARSE_BANDS,
    FINE_BANDS,
    STAINS,
    TEXTURED,
    Lengths,
    coarse_maps,
)
from histoscribe.features.texture import EPSILON_PX, Map, smooth, window_means

TILE_PARTS = (8, 4, 2, 1)  # windows are these parts of the tile's side
LUMEN_SMOOTHING_UM = 2.0
LUMEN_DECAY_UM = 10.0
LITTLE = 1e-3


def describe_tiles(
    fine: dict[str, Map], centre_px: np.ndarray, lengths: Lengths
) -> dict[str, np.ndarray]:
    """Features of the tiles around centres (n, 2) in working px of the block, by name."""
    maps = coarse_maps(fine, lengths)
    centre_px = centre_px / lengths.factor
    widths_um = [lengths.tile_um / part for part in TILE_PARTS]
    halves_px = [lengths.coarse_px(width / 2) for width in widths_um]
    reach_px = lengths.coarse_px(lengths.reach_um)
    means = {
        name: window_means(plane, centre_px, halves_px, reach_px) for name, plane in maps.items()
    }
    features = {}
    for column, width in enumerate(widths_um):
        mean = {name: values[:, column] for name, values in means.items()}
        for name, values in _window_features(mean).items():
            features[f"tile_{width:g}um_{name}"] = values
    features.update(_lumen_distances(maps["clear"], centre_px, lengths))
    return features


def _window_features(mean: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Features of one window size from the maps' means."""
    features = {}
    for name in STAINS:
        features[f"{name}_mean"] = mean[name]
        features[f"{name}_std"] = _root(mean[f"{name}_square"] - mean[name] ** 2)
    product_of_means = mean["hematoxylin"] * mean["eosin"]
    features["stain_covariance"] = mean["stain_product"] - product_of_means
    features["clear_fraction"] = mean["clear"]
    features["nuclear_fraction"] = mean["nuclear"]
    features["nuclear_hematoxylin"] = _share(
        mean["nuclear_hematoxylin"], mean["nuclear"], mean["hematoxylin"]
    )
    for name in ("eosin", "residual"):
        features[f"cytoplasm_{name}"] = _share(
            mean[f"cytoplasm_{name}"], mean["cytoplasm"], mean[name]
        )
    features["blob_density"] = mean["blobs"]
    features["hematoxylin_edge"] = mean["hematoxylin_edge"]
    for name in TEXTURED:
        for label in FINE_BANDS:
            features[f"{name}_{label}"] = mean[f"{name}_{label}"]
        for label in COARSE_BANDS:
            features[f"{name}_{label}"] = _root(mean[f"{name}_{label}"])
        power = mean[f"{name}_power"]
        directed = np.hypot(mean[f"{name}_upright"], mean[f"{name}_diagonal"])
        features[f"{name}_coherence"] = _share(directed, power, np.zeros_like(power))
    for name, values in mean.items():
        if name.startswith("joint"):  # the root of a share keeps rare cells from shouting
            features[name] = _root(values)
    return features


def _root(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(values, 0.0))


def _share(part: np.ndarray, whole: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """part / whole, and `otherwise` where the whole is next to nothing."""
    return np.where(whole > LITTLE, part / np.maximum(whole, LITTLE), otherwise)


def _lumen_distances(clear: Map, centre_px: np.ndarray, lengths: Lengths) -> dict[str, np.ndarray]:
    """Distances from centres to clear and to solid ground, cut where the tile ends."""
    clear = smooth(clear, max(lengths.coarse_px(LUMEN_SMOOTHING_UM), 0.5))
    reach_px = lengths.coarse_px(lengths.reach_um) - clear.support_px - 1
    x, y = np.floor(centre_px + EPSILON_PX).astype(np.int64).T
    distances = {}
    for name, mask in (("clear", clear.values > 0.5), ("tissue", clear.values <= 0.5)):
        away = np.full(mask.shape, reach_px)
        if mask.any():
            away = np.minimum(ndimage.distance_transform_edt(~mask), reach_px)
        distance_um = away[y, x] * lengths.um_per_px * lengths.factor
        distances[f"{name}_distance"] = distance_um
        distances[f"{name}_proximity"] = np.exp(-distance_um / LUMEN_DECAY_UM)
    return distances
