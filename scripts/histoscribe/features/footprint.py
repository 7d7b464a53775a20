"""Local features: the unit's own pixels, and for nuclei a ring of cytoplasm around them."""

import numpy as np
import shapely

from histoscribe.features.pixel_maps import STAINS, TEXTURED
from histoscribe.features.texture import Map
from histoscribe.raster import PixelSets, covered_pixels

QUANTILES = (0.1, 0.5, 0.9)
CORE_UM = 1.5  # the nuclear envelope is left out of the core
RINGS_UM = {"ring": (0.0, 3.0), "halo": (3.0, 8.0)}
MIN_RING_PX = 8
Box = tuple[int, int, int, int]


def describe_footprints(
    fine: dict[str, Map],
    footprints: np.ndarray,
    centre_um: np.ndarray,
    um_per_px: float,
    box_px: Box,
) -> dict[str, np.ndarray]:
    """Features of the pixels within footprints, by name; maps cover `box_px` of the slide."""
    inside = covered_pixels(footprints, centre_um, um_per_px, box_px)
    return _summary("footprint", fine, inside, TEXTURED)


def describe_nuclei(
    fine: dict[str, Map],
    nuclei: np.ndarray,
    centre_um: np.ndarray,
    others: np.ndarray,
    um_per_px: float,
    box_px: Box,
) -> dict[str, np.ndarray]:
    """Features of nuclei and of the cytoplasm next to them, by name.

    `others` are all nuclei that touch the box, these among them; their pixels are no cytoplasm,
    except where a nucleus is walled in.
    """
    features = describe_footprints(fine, nuclei, centre_um, um_per_px, box_px)
    hematoxylin = fine["hematoxylin"].values
    core = covered_pixels(shapely.buffer(nuclei, -CORE_UM), centre_um, um_per_px, box_px)
    features["footprint_hematoxylin_core_excess"] = (
        core.mean(hematoxylin[core.row, core.column]) - features["footprint_hematoxylin_mean"]
    )
    taken = covered_pixels(others, np.zeros((len(others), 2)), um_per_px, box_px)
    free = np.ones(hematoxylin.shape, dtype=bool)
    free[taken.row, taken.column] = False
    for name, (inner_um, outer_um) in RINGS_UM.items():
        around = _ring(nuclei, centre_um, inner_um, outer_um, um_per_px, box_px)
        open_px = free[around.row, around.column]
        features[f"{name}_free_fraction"] = around.mean(open_px)
        walled_in = around.where(open_px).count() < MIN_RING_PX
        cytoplasm = around.where(open_px | walled_in[around.owner])
        features.update(_summary(name, fine, cytoplasm, ()))
        for stain in STAINS:
            features[f"{name}_{stain}_contrast"] = (
                features[f"footprint_{stain}_mean"] - features[f"{name}_{stain}_mean"]
            )
    return features


def _ring(
    nuclei: np.ndarray,
    centre_um: np.ndarray,
    inner_um: float,
    outer_um: float,
    um_per_px: float,
    box_px: Box,
) -> PixelSets:
    """Pixels between two distances from the outlines of nuclei."""
    outer = shapely.buffer(nuclei, outer_um, quad_segs=4)
    inner = shapely.buffer(nuclei, inner_um, quad_segs=4) if inner_um else nuclei
    both = shapely.geometrycollections(np.stack([outer, inner], axis=1))
    return covered_pixels(both, centre_um, um_per_px, box_px)


def _summary(
    prefix: str, fine: dict[str, Map], pixels: PixelSets, with_quantiles: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Means of all maps over sets of pixels; spread of the stains, quantiles of some."""
    count = pixels.count()
    first = np.cumsum(count) - count
    summary = {}
    for name, plane in fine.items():
        values = plane.values[pixels.row, pixels.column].astype(np.float64)
        mean = pixels.mean(values)
        ending = "fraction" if name in ("clear", "nuclear") else "mean"
        summary[f"{prefix}_{name}_{ending}"] = mean
        if name in STAINS:
            spread = pixels.mean((values - mean[pixels.owner]) ** 2)
            summary[f"{prefix}_{name}_std"] = np.sqrt(spread)
        if name in with_quantiles:
            ordered = values[np.lexsort((values, pixels.owner))]
            for quantile in QUANTILES:
                rank = first + np.floor(quantile * (count - 1) + 0.5).astype(np.int64)
                summary[f"{prefix}_{name}_p{quantile * 100:.0f}"] = ordered[rank]
    return summary
