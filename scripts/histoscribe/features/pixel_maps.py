"""The maps that morphology features are made of, at working and at coarse resolution."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from histoscribe.features.stain import (
    CLEAR_OD,
    StainSeparation,
    concentrations,
    optical_density,
)
from histoscribe.features.texture import Map, bands, gradient, peaks, pool

STAINS = ("hematoxylin", "eosin", "residual")
TEXTURED = ("hematoxylin", "eosin")
COARSE_UM_PER_PX = 2.0  # windows are summed at about this resolution
FINE_SIGMAS_UM = (0.5, 1.0, 2.0)
COARSE_SIGMAS_UM = (2.0, 4.0, 8.0, 16.0)
FINE_BANDS = tuple(f"band_{sigma:g}um" for sigma in FINE_SIGMAS_UM[:-1])
COARSE_BANDS = tuple(f"band_{sigma:g}um" for sigma in COARSE_SIGMAS_UM[:-1])
MIN_SIGMA_PX = 0.5
MIN_REACH_PX = 8
BLOB_RADIUS_UM = 3.0
BLOB_CONTRAST = 0.03
LEVELS = (0.15, 0.35, 0.6)  # of scaled stain: the borders of the joint histogram


@dataclass(frozen=True)
class Lengths:
    """Resolution and tile of a section; a coarse pixel is `factor` working pixels wide.

    Raises ValueError for a tile of too few pixels to describe.
    """

    um_per_px: float
    tile_um: float

    def __post_init__(self) -> None:
        if self.coarse_px(self.reach_um) < MIN_REACH_PX:
            raise ValueError(
                f"a tile of {self.tile_um:g} um is {self.tile_um / self.um_per_px:.3g} px wide at "
                f"{self.um_per_px:g} um/px; morphology features need "
                f"{2 * MIN_REACH_PX * self.factor} px"
            )

    @property
    def factor(self) -> int:
        return max(1, round(COARSE_UM_PER_PX / self.um_per_px))

    @property
    def reach_um(self) -> float:
        """How far from its centre, along x or y, a unit sees."""
        return self.tile_um / 2

    @property
    def fine_support_um(self) -> float:
        """How far, at most, a value of a working-resolution map looks."""
        return (3 * self.fine_sigmas_px()[-1] + 1) * self.um_per_px

    def coarse_px(self, length_um: float) -> float:
        return length_um / (self.um_per_px * self.factor)

    def fine_sigmas_px(self) -> list[float]:
        return [
            max(sigma / self.um_per_px, MIN_SIGMA_PX * 2**i)
            for i, sigma in enumerate(FINE_SIGMAS_UM)
        ]

    def coarse_sigmas_px(self) -> list[float]:
        """Cut to a quarter of the reach: three of them must fit into the tile."""
        most = self.coarse_px(self.reach_um) / 4
        return [
            min(max(self.coarse_px(sigma), MIN_SIGMA_PX * 2**i), most)
            for i, sigma in enumerate(COARSE_SIGMAS_UM)
        ]


def fine_maps(rgb: np.ndarray, stain: StainSeparation, lengths: Lengths) -> dict[str, Map]:
    """Maps at the working resolution: stains, masks, edges and fine texture."""
    density = optical_density(rgb, stain.white)
    maps = {
        name: Map(plane) for name, plane in zip(STAINS, concentrations(density, stain), strict=True)
    }
    brightness = (density[..., 0] + density[..., 1] + density[..., 2]) / np.float32(3)
    maps["clear"] = Map((brightness < CLEAR_OD).astype(np.float32))
    for name in TEXTURED:
        smoothed, differences = bands(maps[name], lengths.fine_sigmas_px())
        for label, difference in zip(FINE_BANDS, differences, strict=True):
            maps[f"{name}_{label}"] = Map(np.abs(difference.values), difference.support_px)
        if name == "hematoxylin":
            middle = smoothed[1]
            nuclear = (middle.values > stain.nuclear_level).astype(np.float32)
            maps["nuclear"] = Map(nuclear, middle.support_px)
            along_x, along_y = gradient(middle)
            slope = np.sqrt(along_x.values**2 + along_y.values**2)
            maps["hematoxylin_edge"] = Map(
                slope / np.float32(lengths.um_per_px), along_x.support_px
            )
    return maps


def coarse_maps(fine: dict[str, Map], lengths: Lengths) -> dict[str, Map]:
    """Maps at the coarse resolution: means of the fine ones, their products, coarse texture."""
    factor = lengths.factor
    maps = {name: pool(plane, factor) for name, plane in fine.items()}
    for name, plane in _products(fine):
        maps[name] = pool(plane, factor)
    for name in TEXTURED:
        smoothed, differences = bands(maps[name], lengths.coarse_sigmas_px())
        for label, difference in zip(COARSE_BANDS, differences, strict=True):
            maps[f"{name}_{label}"] = Map(difference.values**2, difference.support_px)
        if name == "hematoxylin":
            radius = max(1, round(lengths.coarse_px(BLOB_RADIUS_UM)))
            maps["blobs"] = peaks(differences[0], radius, BLOB_CONTRAST)
        # The structure tensor: total power of the gradient, and its two directed parts.
        along_x, along_y = gradient(smoothed[0])
        x, y, support = along_x.values, along_y.values, along_x.support_px
        maps[f"{name}_power"] = Map(x**2 + y**2, support)
        maps[f"{name}_upright"] = Map(x**2 - y**2, support)
        maps[f"{name}_diagonal"] = Map(2 * x * y, support)
    return maps


def _products(fine: dict[str, Map]) -> Iterator[tuple[str, Map]]:
    """Products of working-resolution maps, one at a time, to be pooled."""
    hematoxylin, eosin = fine["hematoxylin"].values, fine["eosin"].values
    nuclear, support = fine["nuclear"].values, fine["nuclear"].support_px
    for name in STAINS:
        yield f"{name}_square", Map(fine[name].values ** 2)
    yield "stain_product", Map(hematoxylin * eosin)
    yield "nuclear_hematoxylin", Map(nuclear * hematoxylin, support)
    cytoplasm = (1 - fine["clear"].values) * (1 - nuclear)
    yield "cytoplasm", Map(cytoplasm, support)
    yield "cytoplasm_eosin", Map(cytoplasm * eosin, support)
    yield "cytoplasm_residual", Map(cytoplasm * fine["residual"].values, support)
    side = len(LEVELS) + 1
    cell = np.digitize(hematoxylin, LEVELS) * side + np.digitize(eosin, LEVELS)
    for h in range(side):
        for e in range(side):
            yield f"joint_h{h}_e{e}", Map((cell == h * side + e).astype(np.float32))
