"""The `morphology` encoder: named, hand-made features of units from the H&E.

The slide is read in blocks. In a block, RGB becomes hematoxylin, eosin and residual of the
section's own stain (`stain`); from these come maps of texture, edges, nuclei and clear ground
(`pixel_maps`), which are summarised over each unit's footprint (`footprint`) and over square
windows around it (`tile_context`); nuclei add their shape and their neighbours (`shape`).

No unit sees pixels beyond its tile, those farther than tile_um / 2 from its centre along x or y;
only a footprint larger than the tile is still seen whole. The one thing that a section's units
share is its stain reference. `GROUPS` says what the names mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from tqdm import tqdm

from histoscribe.features import UnitFeatures
from histoscribe.features.footprint import RINGS_UM, describe_footprints, describe_nuclei
from histoscribe.features.pixel_maps import Lengths, fine_maps
from histoscribe.features.shape import SHAPE_NAMES, describe_company, describe_shapes
from histoscribe.features.stain import StainSeparation, estimate_stain
from histoscribe.features.tile_context import TILE_PARTS, describe_tiles
from histoscribe.image import Slide

BLOCK_PX = 1024
MIN_NUCLEAR_REACH_UM = 4.0
TRAITS = {  # what is averaged over the nuclei nearby
    "area": "shape_area",
    "eccentricity": "shape_eccentricity",
    "solidity": "shape_solidity",
    "hematoxylin": "footprint_hematoxylin_mean",
    "chromatin": "footprint_hematoxylin_std",
}

# Pattern of names -> meaning. {stain}: hematoxylin, eosin, residual (the OD that neither
# explains), scaled so that the section's 99th percentile is 1. {side}: {W}um, the window's side.
GROUPS = {
    "{place}_{stain}_{mean,std}": "stain within a place: the footprint; the ring 0-3 um around a "
    "nucleus; the halo 3-8 um around it, both without other nuclei",
    "footprint_{stain}_{p10,p50,p90}": "quantiles of hematoxylin and eosin over the footprint",
    "{place}_{clear,nuclear}_fraction": "share of unstained and of nuclear pixels",
    "{place}_{stain}_band_{W}um_mean": "fine texture: mean |difference of Gaussians|, sigma W, 2W",
    "{place}_hematoxylin_edge_mean": "steepness of hematoxylin per um",
    "footprint_hematoxylin_core_excess": "nucleus without its outer 1.5 um against the whole: "
    "negative where chromatin lines the envelope",
    "footprint_hematoxylin_total": "hematoxylin integrated over the nucleus (DNA content)",
    "{ring,halo}_free_fraction": "share of the ring that no other nucleus covers",
    "{ring,halo}_{stain}_contrast": "nucleus minus ring",
    "shape_{name}": "area (um2), perimeter and axes (um), eccentricity, elongation, solidity, "
    "circularity of the outline",
    "tile_{side}_{stain}_{mean,std}": "stain in the window",
    "tile_{side}_stain_covariance": "of hematoxylin and eosin",
    "tile_{side}_{clear,nuclear}_fraction": "lumen or glass, and nuclei",
    "tile_{side}_nuclear_hematoxylin": "mean hematoxylin of nuclear pixels",
    "tile_{side}_cytoplasm_{eosin,residual}": "mean over stained pixels that are not nuclear",
    "tile_{side}_blob_density": "nucleus-sized maxima of hematoxylin, share of coarse pixels",
    "tile_{side}_hematoxylin_edge": "mean steepness of hematoxylin",
    "tile_{side}_{stain}_band_{W}um": "texture energy, difference of Gaussians of sigma W and 2W",
    "tile_{side}_{stain}_coherence": "0 no, 1 one direction of the structure tensor",
    "tile_{side}_joint_h{0-3}_e{0-3}": "square root of the share of pixels at these levels of "
    "hematoxylin and eosin (borders 0.15, 0.35, 0.6)",
    "{clear,tissue}_{distance,proximity}": "um to the nearest lumen, to the nearest tissue, and "
    "exp(-distance / 10 um)",
    "neighbour_{1,3,5}_distance": "um to the k-th nearest nucleus, at most tile_um / 2",
    "nuclei_{R}um_density": "nuclei per mm2 within R um",
    "nuclei_{R}um_{trait}_{mean,std}": "traits of the nuclei within R um",
    "nuclei_{R}um_alignment": "0 no, 1 one common direction of long axes within R um",
}


# Raised with every change of what a feature means or measures, so that models trained on older
# features refuse newer ones; a test pins the values.
VERSION = 1


@dataclass(frozen=True)
class Block:
    """A box of the slide (x, y, width, height in px), and the units that are described in it."""

    box_px: tuple[int, int, int, int]
    units: np.ndarray


def describe_units(
    slide: Slide,
    um_per_px: float,
    xy_um: np.ndarray,
    footprints: np.ndarray,
    has_nuclei: bool,
    tile_um: float = 128.0,
    *,
    stain: StainSeparation | None = None,
    block_px: int = BLOCK_PX,
    with_context: bool = True,
) -> UnitFeatures:
    """Morphology features of units.

    `xy_um` (n_units, 2) are centres, `footprints` (n_units,) polygons in um; `has_nuclei` adds
    what only nuclei have. `stain` defaults to the slide's own; `block_px` changes memory and
    speed, never the result. Without `with_context` units alone are described, not what is around
    them. Raises ValueError where a tile has too few pixels.
    """
    lengths = Lengths(um_per_px, tile_um)
    xy_um = np.asarray(xy_um, dtype=np.float64).reshape(-1, 2)
    footprints = np.asarray(footprints, dtype=object)
    stain = stain or estimate_stain(slide, um_per_px)
    if has_nuclei:
        footprints = _cut_to_tiles(footprints, xy_um, _nuclear_reach(lengths))
    bounds_um = np.nan_to_num(shapely.bounds(footprints).reshape(-1, 4))
    extent_um = np.abs(bounds_um - np.tile(xy_um, 2)).max(axis=1, initial=0.0)
    halo_um = max(lengths.reach_um, extent_um.max(initial=0.0) + lengths.fine_support_um)
    local = _Columns(len(xy_um))
    context = _Columns(len(xy_um))
    blocks = list(_blocks(xy_um, lengths, halo_um, block_px))
    for block in tqdm(blocks, desc="morphology", unit="block", disable=None):
        fine = fine_maps(slide.read_region(*block.box_px), stain, lengths)
        own, centre_um = footprints[block.units], xy_um[block.units]
        if has_nuclei:
            others = footprints[_touching(bounds_um, block.box_px, um_per_px)]
            values = describe_nuclei(fine, own, centre_um, others, um_per_px, block.box_px)
        else:
            values = describe_footprints(fine, own, centre_um, um_per_px, block.box_px)
        local.put(block.units, values)
        if with_context:
            centre_px = centre_um / um_per_px - block.box_px[:2]
            context.put(block.units, describe_tiles(fine, centre_px, lengths))
    if has_nuclei and len(xy_um):
        angle = _add_shapes(local, footprints)
        if with_context:
            _add_company(local, context, xy_um, extent_um, angle, lengths)
    return UnitFeatures(local.table(), context.table(), local.names(), context.names())


class _Columns:
    """Named columns that are filled in block by block."""

    def __init__(self, n_units: int) -> None:
        self.n_units = n_units
        self.values: dict[str, np.ndarray] = {}

    def put(self, units: np.ndarray | slice, values: dict[str, np.ndarray]) -> None:
        for name, column in values.items():
            if name not in self.values:
                self.values[name] = np.zeros(self.n_units, dtype=np.float32)
            self.values[name][units] = column

    def names(self) -> tuple[str, ...]:
        return tuple(self.values)

    def table(self) -> np.ndarray:
        if not self.values:
            return np.zeros((self.n_units, 0), dtype=np.float32)
        return np.nan_to_num(np.column_stack(list(self.values.values())), posinf=0.0, neginf=0.0)


def _nuclear_reach(lengths: Lengths) -> float:
    """How far a nucleus may extend so that what is measured around it still lies in the tile."""
    around_um = max(outer for _, outer in RINGS_UM.values()) + lengths.fine_support_um
    if lengths.reach_um < around_um + MIN_NUCLEAR_REACH_UM:
        raise ValueError(
            f"a tile of {lengths.tile_um:g} um is too small for nuclei and what lies around them; "
            f"it takes {2 * (around_um + MIN_NUCLEAR_REACH_UM):.3g} um at "
            f"{lengths.um_per_px:g} um/px"
        )
    return lengths.reach_um - around_um


def _cut_to_tiles(footprints: np.ndarray, xy_um: np.ndarray, reach_um: float) -> np.ndarray:
    low, high = xy_um - reach_um, xy_um + reach_um
    bounds = shapely.bounds(footprints).reshape(-1, 4)
    beyond = (bounds[:, :2] < low).any(axis=1) | (bounds[:, 2:] > high).any(axis=1)
    if beyond.any():
        footprints = footprints.copy()
        tiles = shapely.box(*low[beyond].T, *high[beyond].T)
        footprints[beyond] = shapely.intersection(footprints[beyond], tiles)
    return footprints


def _blocks(xy_um: np.ndarray, lengths: Lengths, halo_um: float, block_px: int) -> Iterator[Block]:
    """Boxes around the units of each cell of a grid, with a halo, on whole coarse pixels."""
    factor = lengths.factor
    position_px = np.floor(xy_um / lengths.um_per_px).astype(np.int64)
    _, cell = np.unique(position_px[:, ::-1] // block_px, axis=0, return_inverse=True)
    order = np.argsort(cell, kind="stable")
    halo_px = int(np.ceil(halo_um / lengths.um_per_px)) + factor
    for units in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
        if len(units) == 0:
            continue
        low = (position_px[units].min(axis=0) - halo_px) // factor * factor
        high = -(-(position_px[units].max(axis=0) + 1 + halo_px) // factor) * factor
        yield Block((*low.tolist(), *(high - low).tolist()), units)


def _touching(
    bounds_um: np.ndarray, box_px: tuple[int, int, int, int], um_per_px: float
) -> np.ndarray:
    """Which bounds touch a box of the slide."""
    x, y, width, height = (length * um_per_px for length in box_px)
    in_x = (bounds_um[:, 2] >= x) & (bounds_um[:, 0] <= x + width)
    return in_x & (bounds_um[:, 3] >= y) & (bounds_um[:, 1] <= y + height)


def _add_shapes(local: _Columns, nuclei: np.ndarray) -> np.ndarray:
    """Add the shapes of nuclei; returns the angles of their long axes."""
    shapes, angle = describe_shapes(nuclei)
    everyone = slice(None)
    local.put(everyone, {f"shape_{name}": shapes[:, i] for i, name in enumerate(SHAPE_NAMES)})
    content = shapes[:, 0] * local.values["footprint_hematoxylin_mean"]
    local.put(everyone, {"footprint_hematoxylin_total": content})
    return angle


def _add_company(
    local: _Columns,
    context: _Columns,
    xy_um: np.ndarray,
    extent_um: np.ndarray,
    angle: np.ndarray,
    lengths: Lengths,
) -> None:
    """Add what the shapes and stain of the nuclei nearby are."""
    traits = {name: local.values[column].astype(float) for name, column in TRAITS.items()}
    radii_um = tuple(lengths.tile_um / part for part in TILE_PARTS if part > 1)
    seen_um = extent_um + lengths.fine_support_um
    company = describe_company(xy_um, seen_um, angle, traits, radii_um, lengths.reach_um)
    context.put(slice(None), company)
