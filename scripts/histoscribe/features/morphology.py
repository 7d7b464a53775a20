"""The `morphology` encoder: named, hand-made features of units from the H&E.

The slide is read in blocks. In a block, RGB becomes hematoxylin, eosin and residual of the
section's own stain; from these come maps (texture bands, edges, nuclear and clear masks), which
are summarised over each unit's footprint and over square windows around it. No unit sees pixels
beyond its tile: those farther than tile_um / 2 from its centre along x or y.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from scipy import ndimage
from skimage.draw import polygon
from tqdm import tqdm

from histoscribe.features import UnitFeatures
from histoscribe.features.shape import SHAPE_NAMES, describe_company, describe_shapes
from histoscribe.features.stain import (
    CLEAR_OD,
    StainReference,
    concentrations,
    estimate_stain,
    optical_density,
)
from histoscribe.features.texture import Map, band, gradient, peaks, pool, smooth, window_means
from histoscribe.image import Slide

BLOCK_PX = 1024
COARSE_UM_PER_PX = 2.0  # windows are summed at about this resolution
TILE_PARTS = (8, 4, 2, 1)  # windows are these parts of the tile's side
FINE_SIGMAS_UM = (0.5, 1.0, 2.0)
COARSE_SIGMAS_UM = (2.0, 4.0, 8.0, 16.0)
MIN_SIGMA_PX = 0.5
RING_UM = 3.0
CORE_UM = 1.5
MIN_RING_PX = 8
QUANTILES = (0.1, 0.5, 0.9)
LEVELS = (0.15, 0.35, 0.6)  # of scaled stain: the borders of the joint histogram
TRAITS = ("area", "eccentricity", "solidity", "hematoxylin_mean", "hematoxylin_std")

GROUPS = {
    "footprint_{stain}_{mean,std,p10,p50,p90}": "hematoxylin, eosin and residual within the unit",
}


@dataclass(frozen=True)
class Block:
    """A part of the slide and the units whose centres lie in it."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int
    units: np.ndarray


@dataclass(frozen=True)
class Plan:
    """Lengths, in working pixels unless named otherwise, shared by all blocks of a section."""

    um_per_px: float
    factor: int
    reach_um: float
    tile_um: float

    def coarse(self, length_um: float) -> float:
        return length_um / (self.um_per_px * self.factor)


def describe_units(
    slide: Slide,
    um_per_px: float,
    xy_um: np.ndarray,
    footprints: np.ndarray,
    has_nuclei: bool,
    tile_um: float = 128.0,
    block_px: int = BLOCK_PX,
    stain: StainReference | None = None,
) -> UnitFeatures:
    """Morphology features of units; GROUPS says what each group of names holds.

    `xy_um` (n_units, 2) are centres, `footprints` (n_units,) polygons in um. `has_nuclei` adds
    the shape of nuclei, the ring around them and their neighbours. `stain` defaults to the
    slide's own; `block_px` changes memory and speed, never the result.
    """
    xy_um = np.asarray(xy_um, dtype=np.float64).reshape(-1, 2)
    footprints = np.asarray(footprints, dtype=object)
    stain = stain or estimate_stain(slide, um_per_px)
    factor = max(1, round(COARSE_UM_PER_PX / um_per_px))
    plan = Plan(um_per_px, factor, tile_um / 2, tile_um)
    extent_um = _extent(xy_um, footprints)
    local: dict[str, np.ndarray] = {}
    context: dict[str, np.ndarray] = {}
    bounds_um = np.nan_to_num(shapely.bounds(footprints)).reshape(-1, 4)
    halo_um = max(plan.reach_um, extent_um.max(initial=0.0) + 8 * FINE_SIGMAS_UM[-1])
    blocks = list(_blocks(xy_um, plan, halo_um, block_px))
    for block in tqdm(blocks, desc="morphology", unit="block", disable=None):
        rgb = slide.read_region(block.x_px, block.y_px, block.width_px, block.height_px)
        density = optical_density(rgb, stain.white)
        planes = _fine_maps(density, stain, plan)
        values = _local(planes, block, xy_um, footprints, bounds_um, plan, has_nuclei)
        _collect(local, block.units, len(xy_um), values)
        centre_px = (xy_um[block.units] / um_per_px - [block.x_px, block.y_px]) / factor
        _collect(context, block.units, len(xy_um), _context(planes, centre_px, stain, plan))
    if has_nuclei:
        shapes, angle = describe_shapes(footprints)
        local.update({f"shape_{name}": shapes[:, i] for i, name in enumerate(SHAPE_NAMES)})
        local["footprint_hematoxylin_total"] = shapes[:, 0] * local["footprint_hematoxylin_mean"]
        traits = {
            name: local[f"footprint_{name}" if "_" in name else f"shape_{name}"] for name in TRAITS
        }
        radii = tuple(tile_um / part for part in TILE_PARTS if part > 1)
        margin = extent_um + RING_UM + 8 * FINE_SIGMAS_UM[-1]
        context.update(describe_company(xy_um, margin, angle, traits, radii, plan.reach_um))
    return UnitFeatures(
        _table(local, len(xy_um)), _table(context, len(xy_um)), tuple(local), tuple(context)
    )


def _extent(xy_um: np.ndarray, footprints: np.ndarray) -> np.ndarray:
    """How far each footprint reaches from its unit's centre along x or y, in um."""
    bounds = shapely.bounds(footprints).reshape(-1, 4)
    sides = np.abs(bounds - np.concatenate([xy_um, xy_um], axis=1))
    return np.nan_to_num(sides).max(axis=1, initial=0.0)


def _blocks(xy_um: np.ndarray, plan: Plan, halo_um: float, block_px: int) -> Iterator[Block]:
    """Blocks with units, cut to their units and a halo, on whole coarse pixels."""
    factor = plan.factor
    side = max(block_px // factor, 1) * factor
    position_px = np.floor(xy_um / plan.um_per_px).astype(np.int64)
    cell = position_px // side
    _, cell = np.unique(cell[:, ::-1], axis=0, return_inverse=True)
    order = np.argsort(cell, kind="stable")
    halo_px = int(np.ceil(halo_um / plan.um_per_px)) + factor
    for units in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
        if len(units) == 0:
            continue
        low = (position_px[units].min(axis=0) - halo_px) // factor * factor
        high = -(-(position_px[units].max(axis=0) + 1 + halo_px) // factor) * factor
        yield Block(*low.tolist(), *(high - low).tolist(), units)


def _fine_maps(density: np.ndarray, stain: StainReference, plan: Plan) -> dict[str, Map]:
    """Maps at the working resolution."""
    hematoxylin, eosin, residual = concentrations(density, stain)
    planes = {
        "hematoxylin": Map(hematoxylin, 0),
        "eosin": Map(eosin, 0),
        "residual": Map(residual, 0),
        "clear": Map((density.mean(axis=-1) < CLEAR_OD).astype(np.float32), 0),
    }
    for name in ("hematoxylin", "eosin"):
        sigmas = [
            max(sigma / plan.um_per_px, MIN_SIGMA_PX * 2**i)
            for i, sigma in enumerate(FINE_SIGMAS_UM)
        ]
        smoothed = [smooth(planes[name], sigma) for sigma in sigmas]
        for i in range(len(sigmas) - 1):
            difference = band(smoothed[i], smoothed[i + 1])
            planes[f"{name}_band{i}"] = Map(np.abs(difference.values), difference.support_px)
        if name == "hematoxylin":
            middle = smoothed[1]
            planes["nuclear"] = Map(
                (middle.values > stain.nuclear_level).astype(np.float32), middle.support_px
            )
            along_x, along_y = gradient(smoothed[1])
            planes["hematoxylin_edge"] = Map(
                np.hypot(along_x.values, along_y.values) / np.float32(plan.um_per_px),
                along_x.support_px,
            )
    return planes


def _local(
    planes: dict[str, Map],
    block: Block,
    xy_um: np.ndarray,
    footprints: np.ndarray,
    bounds_um: np.ndarray,
    plan: Plan,
    has_nuclei: bool,
) -> dict[str, np.ndarray]:
    own, centres, n = footprints[block.units], xy_um[block.units], len(block.units)
    inside = _rasterise(own, centres, block, plan)
    values = _summary("footprint", planes, inside, n, ("hematoxylin", "eosin"))
    if not has_nuclei:
        return values
    core = _rasterise(shapely.buffer(own, -CORE_UM), centres, block, plan)
    core_mean = _means(planes["hematoxylin"].values, core, n)
    values["footprint_hematoxylin_core_excess"] = core_mean - values["footprint_hematoxylin_mean"]
    free = np.ones((block.height_px, block.width_px), dtype=bool)
    low = np.array([block.x_px, block.y_px]) * plan.um_per_px
    high = low + np.array([block.width_px, block.height_px]) * plan.um_per_px
    present = ((bounds_um[:, 2:] >= low) & (bounds_um[:, :2] <= high)).all(axis=1)
    rows, columns, _ = _rasterise(footprints[present], xy_um[present], block, plan)
    free[rows, columns] = False
    around = _rasterise(shapely.buffer(own, RING_UM), centres, block, plan)
    rows, columns, unit = around
    open_px = free[rows, columns]
    crowded = np.bincount(unit[open_px], minlength=n) < MIN_RING_PX
    keep = open_px | crowded[unit]
    ring = rows[keep], columns[keep], unit[keep]
    values.update(_summary("ring", planes, ring, n, ()))
    values["ring_free_fraction"] = _means(free, around, n)
    for stain_name in ("hematoxylin", "eosin", "residual"):
        values[f"ring_{stain_name}_contrast"] = (
            values[f"footprint_{stain_name}_mean"] - values[f"ring_{stain_name}_mean"]
        )
    return values


def _rasterise(
    footprints: np.ndarray, centres_um: np.ndarray, block: Block, plan: Plan
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels whose centres lie in footprints: rows, columns in the block, and unit, by unit.

    Each polygon is drawn relative to its own corner, so that pixels on its edge don't depend on
    the block. One that covers no pixel centre takes the pixel of its unit's centre.
    """
    rows, columns, sizes = [], [], np.zeros(len(footprints), dtype=np.int64)
    rings = shapely.get_exterior_ring(_largest_parts(footprints))
    points, owner = shapely.get_coordinates(rings, return_index=True)
    points = points / plan.um_per_px - 0.5
    starts = np.searchsorted(owner, np.arange(len(footprints) + 1))
    middles = np.floor(centres_um / plan.um_per_px).astype(np.int64)
    for unit in range(len(footprints)):
        ring = points[starts[unit] : starts[unit + 1]]
        if len(ring) > 2:
            corner = np.floor(ring.min(axis=0))
            row, column = polygon(ring[:, 1] - corner[1], ring[:, 0] - corner[0])
            row = row + int(corner[1]) - block.y_px
            column = column + int(corner[0]) - block.x_px
            fits = (row >= 0) & (row < block.height_px) & (column >= 0) & (column < block.width_px)
            if not fits.all():
                row, column = row[fits], column[fits]
        if len(ring) <= 2 or len(row) == 0:
            row = np.clip(middles[unit, 1:] - block.y_px, 0, block.height_px - 1)
            column = np.clip(middles[unit, :1] - block.x_px, 0, block.width_px - 1)
        rows.append(row)
        columns.append(column)
        sizes[unit] = len(row)
    if not rows:
        return (np.zeros(0, dtype=np.int64),) * 3
    return np.concatenate(rows), np.concatenate(columns), np.repeat(np.arange(len(sizes)), sizes)


def _largest_parts(footprints: np.ndarray) -> np.ndarray:
    """Polygons as they are; of several parts the largest; None for what has no area."""
    kinds = shapely.get_type_id(footprints)
    parts = np.array(footprints, dtype=object)
    for index in np.flatnonzero(kinds != shapely.GeometryType.POLYGON):
        pieces = shapely.get_parts(footprints[index]) if footprints[index] is not None else []
        pieces = [piece for piece in pieces if piece.geom_type == "Polygon"]
        parts[index] = max(pieces, key=shapely.area) if pieces else None
    return parts


def _means(values: np.ndarray, pixels: tuple[np.ndarray, ...], n: int) -> np.ndarray:
    rows, columns, unit = pixels
    return np.bincount(unit, values[rows, columns], minlength=n) / np.bincount(unit, minlength=n)


def _summary(
    prefix: str,
    planes: dict[str, Map],
    pixels: tuple[np.ndarray, ...],
    n: int,
    with_quantiles: tuple[str, ...],
) -> dict[str, np.ndarray]:
    """Means of all maps over sets of pixels; spread of stains, and quantiles of some."""
    rows, columns, unit = pixels
    count = np.bincount(unit, minlength=n)
    starts = np.cumsum(count) - count
    summary = {}
    for name, plane in planes.items():
        values = plane.values[rows, columns].astype(np.float64)
        mean = np.bincount(unit, values, minlength=n) / count
        summary[f"{prefix}_{name}_mean"] = mean
        if name in ("hematoxylin", "eosin", "residual"):
            variance = np.bincount(unit, (values - mean[unit]) ** 2, minlength=n) / count
            summary[f"{prefix}_{name}_std"] = np.sqrt(variance)
        if name in with_quantiles:
            ordered = values[np.lexsort((values, unit))]
            for quantile in QUANTILES:
                rank = starts + np.floor(quantile * (count - 1) + 0.5).astype(np.int64)
                summary[f"{prefix}_{name}_p{quantile * 100:.0f}"] = ordered[rank]
    return summary


def _context(
    planes: dict[str, Map], centre_px: np.ndarray, stain: StainReference, plan: Plan
) -> dict[str, np.ndarray]:
    """Means and spreads over square windows around units, and distances to lumen."""
    maps = _coarse_maps(planes, plan)
    widths_um = [plan.tile_um / part for part in TILE_PARTS]
    halves = [plan.coarse(width / 2) for width in widths_um]
    reach = plan.coarse(plan.reach_um)
    means = {name: window_means(plane, centre_px, halves, reach) for name, plane in maps.items()}
    context = {}
    for column, width in enumerate(widths_um):
        mean = {name: values[:, column] for name, values in means.items()}
        for name, values in _window_features(mean).items():
            context[f"tile_{width:g}um_{name}"] = values
    context.update(_lumen_distance(maps, centre_px, plan))
    return context


def _coarse_maps(planes: dict[str, Map], plan: Plan) -> dict[str, Map]:
    maps = {name: pool(plane, plan.factor) for name, plane in planes.items()}
    values = {name: plane.values for name, plane in planes.items()}
    hematoxylin, eosin = values["hematoxylin"], values["eosin"]
    nuclear, tissue = values["nuclear"], 1.0 - values["clear"]
    support = planes["nuclear"].support_px
    extra = {
        "hematoxylin_square": Map(hematoxylin**2, 0),
        "eosin_square": Map(eosin**2, 0),
        "residual_square": Map(values["residual"] ** 2, 0),
        "stain_product": Map(hematoxylin * eosin, 0),
        "nuclear_hematoxylin": Map(nuclear * hematoxylin, support),
        "cytoplasm": Map(tissue * (1 - nuclear), support),
        "cytoplasm_eosin": Map(tissue * (1 - nuclear) * eosin, support),
        "cytoplasm_residual": Map(tissue * (1 - nuclear) * values["residual"], support),
    }
    level = np.digitize(hematoxylin, LEVELS) * 4 + np.digitize(eosin, LEVELS)
    for h in range(4):
        for e in range(4):
            extra[f"joint_h{h}_e{e}"] = Map((level == h * 4 + e).astype(np.float32), 0)
    maps.update({name: pool(plane, plan.factor) for name, plane in extra.items()})
    for name in ("hematoxylin", "eosin"):
        sigmas = [max(plan.coarse(s), MIN_SIGMA_PX * 2**i) for i, s in enumerate(COARSE_SIGMAS_UM)]
        smoothed = [smooth(maps[name], sigma) for sigma in sigmas]
        for i in range(len(sigmas) - 1):
            difference = band(smoothed[i], smoothed[i + 1])
            maps[f"{name}_coarse{i}"] = Map(difference.values**2, difference.support_px)
        if name == "hematoxylin":
            maps["blobs"] = peaks(
                band(smoothed[0], smoothed[1]), max(1, round(plan.coarse(3.0))), 0.03
            )
        along_x, along_y = gradient(smoothed[0])
        gx, gy = along_x.values, along_y.values
        maps[f"{name}_tensor_sum"] = Map(gx**2 + gy**2, along_x.support_px)
        maps[f"{name}_tensor_difference"] = Map(gx**2 - gy**2, along_x.support_px)
        maps[f"{name}_tensor_product"] = Map(2 * gx * gy, along_x.support_px)
    return maps


def _window_features(mean: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    features = {}
    for name in ("hematoxylin", "eosin", "residual"):
        features[f"{name}_mean"] = mean[name]
        features[f"{name}_std"] = np.sqrt(np.maximum(mean[f"{name}_square"] - mean[name] ** 2, 0))
    features["stain_covariance"] = mean["stain_product"] - mean["hematoxylin"] * mean["eosin"]
    features["clear_fraction"] = mean["clear"]
    features["nuclear_fraction"] = mean["nuclear"]
    features["nuclear_hematoxylin"] = _ratio(
        mean["nuclear_hematoxylin"], mean["nuclear"], mean["hematoxylin"]
    )
    features["cytoplasm_eosin"] = _ratio(mean["cytoplasm_eosin"], mean["cytoplasm"], mean["eosin"])
    features["cytoplasm_residual"] = _ratio(
        mean["cytoplasm_residual"], mean["cytoplasm"], mean["residual"]
    )
    features["blob_density"] = mean["blobs"]
    features["edge"] = mean["hematoxylin_edge"]
    for name in ("hematoxylin", "eosin"):
        for i in range(len(FINE_SIGMAS_UM) - 1):
            features[f"{name}_band{i}"] = mean[f"{name}_band{i}"]
        for i in range(len(COARSE_SIGMAS_UM) - 1):
            features[f"{name}_coarse{i}"] = np.sqrt(np.maximum(mean[f"{name}_coarse{i}"], 0))
        power = mean[f"{name}_tensor_sum"]
        directed = np.hypot(mean[f"{name}_tensor_difference"], mean[f"{name}_tensor_product"])
        features[f"{name}_coherence"] = _ratio(directed, power, np.zeros_like(power))
    for name in mean:
        if name.startswith("joint"):
            features[name] = mean[name]
    return features


def _ratio(part: np.ndarray, whole: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """part / whole, and `otherwise` where the whole is next to nothing."""
    return np.where(whole > 1e-3, part / np.maximum(whole, 1e-3), otherwise)


def _lumen_distance(
    maps: dict[str, Map], centre_px: np.ndarray, plan: Plan
) -> dict[str, np.ndarray]:
    """Distance from the unit's centre to clear and to solid ground, cut at the tile's edge."""
    clear = smooth(maps["clear"], max(plan.coarse(2.0), MIN_SIGMA_PX))
    reach = plan.coarse(plan.reach_um) - clear.support_px
    x, y = np.floor(centre_px).astype(np.int64).T
    distances = {}
    for name, mask in (("clear", clear.values > 0.5), ("tissue", clear.values <= 0.5)):
        away = np.full(mask.shape, reach)
        if mask.any():
            away = np.minimum(ndimage.distance_transform_edt(~mask), reach)
        distance_um = away[y, x] * plan.um_per_px * plan.factor
        distances[f"{name}_distance"] = distance_um
        distances[f"{name}_proximity"] = np.exp(-distance_um / 10.0)
    return distances


def _collect(store: dict, units: np.ndarray, n_units: int, values: dict[str, np.ndarray]) -> None:
    for name, column in values.items():
        if name not in store:
            store[name] = np.zeros(n_units, dtype=np.float32)
        store[name][units] = column


def _table(columns: dict[str, np.ndarray], n_units: int) -> np.ndarray:
    if not columns:
        return np.zeros((n_units, 0), dtype=np.float32)
    table = np.column_stack(list(columns.values())).astype(np.float32)
    return np.nan_to_num(table, posinf=0.0, neginf=0.0)
