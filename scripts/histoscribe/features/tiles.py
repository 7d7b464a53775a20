"""Tiles around units, cut from a streamed image, and the tokens that each unit covers.

A tile starts on a whole pixel; the tokens are then placed from that start, so that rounding the
tile never shifts a footprint against its tokens.
"""

from collections.abc import Iterator

import numpy as np
import shapely

from histoscribe.errors import UserError, problem
from histoscribe.image import Slide

BLOCK_PX = 2048
# Overlaps thinner than this share of a token are rounding, not tissue.
EDGE_TOLERANCE = 1e-6


def tile_size_px(tile_um: float, um_per_px: float) -> int:
    """Side of a tile in whole pixels of the image."""
    return max(1, round(tile_um / um_per_px))


def tile_origins_px(xy_um: np.ndarray, um_per_px: float, tile_px: int) -> np.ndarray:
    """Top-left pixel (x, y) of the tile around each centre, (n, 2) int64.

    The tile's middle lies within half a pixel of the centre.
    """
    centres_px = np.asarray(xy_um, dtype=np.float64).reshape(-1, 2) / um_per_px
    return np.floor(centres_px - tile_px / 2 + 0.5).astype(np.int64)


def require_tile_fits(slide: Slide, tile_px: int) -> None:
    """Raise UserError for an image that is smaller than one tile."""
    if min(slide.width_px, slide.height_px) < tile_px:
        raise UserError(
            problem(
                str(slide.path),
                f"an image of {slide.width_px} x {slide.height_px} px",
                f"at least one tile, {tile_px} x {tile_px} px",
                "Use the full-resolution image, check um_per_px, or lower the tile's size.",
            )
        )


def cut_tiles(
    slide: Slide, origins_px: np.ndarray, tile_px: int, batch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of tiles, neighbours together: the unit indices (b,) and pixels (b, t, t, 3) uint8.

    Each unit comes once. One region is read for all tiles that start in the same block, so
    that no pixel is decompressed once a tile. Pixels outside the image are white.
    """
    waiting_units: list[int] = []
    waiting_tiles: list[np.ndarray] = []
    for units in _blocks_of_units(origins_px):
        left, top = origins_px[units].min(axis=0)
        right, bottom = origins_px[units].max(axis=0) + tile_px
        region = slide.read_region(int(left), int(top), int(right - left), int(bottom - top))
        for unit in units:
            x, y = origins_px[unit] - (left, top)
            waiting_units.append(int(unit))
            waiting_tiles.append(region[y : y + tile_px, x : x + tile_px])
            if len(waiting_units) == batch:
                yield np.array(waiting_units), np.stack(waiting_tiles)
                waiting_units, waiting_tiles = [], []
    if waiting_units:
        yield np.array(waiting_units), np.stack(waiting_tiles)


def _blocks_of_units(origins_px: np.ndarray) -> Iterator[np.ndarray]:
    if not len(origins_px):
        return
    blocks = origins_px // BLOCK_PX
    order = np.lexsort((origins_px[:, 0], origins_px[:, 1], blocks[:, 0], blocks[:, 1]))
    changes = np.any(np.diff(blocks[order], axis=0) != 0, axis=1)
    yield from np.split(order, np.flatnonzero(changes) + 1)


def token_weights(
    footprints: np.ndarray,
    xy_um: np.ndarray,
    origins_um: np.ndarray,
    tile_um: float,
    grid: tuple[int, int],
) -> np.ndarray:
    """Share of each token in the mean over a unit's footprint, (n, rows * columns) float32.

    `footprints` (n,) are polygons in um, `xy_um` (n, 2) the unit centres, `origins_um` (n, 2)
    the top-left corners of their tiles, whose side is `tile_um`; `grid` is (rows, columns) of
    tokens, numbered row by row. Every token whose square shares an area with the polygon
    counts the same (PRTS: "tokens overlapping the nucleus"). A unit that covers no token, for
    want of an area or of a place in the tile, takes the token under its centre. Rows sum to 1.
    """
    rows, columns = grid
    token_um = np.array([tile_um / columns, tile_um / rows])  # x, y
    units, row, column = _covered_tokens(_repaired(footprints), origins_um, token_um, grid)
    weights = np.zeros((len(footprints), rows * columns), dtype=np.float32)
    weights[units, row * columns + column] = 1
    bare = np.flatnonzero(weights.sum(axis=1) == 0)
    centre = np.floor((xy_um[bare] - origins_um[bare]) / token_um).astype(np.int64)
    centre = np.clip(centre, 0, [columns - 1, rows - 1])
    weights[bare, centre[:, 1] * columns + centre[:, 0]] = 1
    return weights / weights.sum(axis=1, keepdims=True)


def _repaired(footprints: np.ndarray) -> np.ndarray:
    footprints = np.asarray(footprints, dtype=object)
    invalid = ~shapely.is_valid(footprints) & ~shapely.is_missing(footprints)
    if invalid.any():
        footprints = footprints.copy()
        footprints[invalid] = shapely.make_valid(footprints[invalid])
    return footprints


def _covered_tokens(
    footprints: np.ndarray, origins_um: np.ndarray, token_um: np.ndarray, grid: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of unit and token that share an area: unit, row, column, each (k,)."""
    bounds_um = shapely.bounds(footprints)  # (n, 4): left, top, right, bottom; NaN where empty
    first = np.floor((bounds_um[:, :2] - origins_um) / token_um + EDGE_TOLERANCE)
    last = np.ceil((bounds_um[:, 2:] - origins_um) / token_um - EDGE_TOLERANCE) - 1
    limit = np.array([grid[1], grid[0]]) - 1
    with np.errstate(invalid="ignore"):
        usable = np.all((first <= limit) & (last >= 0), axis=1) & (shapely.area(footprints) > 0)
    alone = usable & np.all(first == last, axis=1)
    first = np.clip(np.where(usable[:, None], first, 0), 0, limit).astype(np.int64)
    last = np.clip(np.where(usable[:, None], last, -1), -1, limit).astype(np.int64)
    extent = np.maximum(last - first + 1, 0)
    counts = extent.prod(axis=1)

    units = np.repeat(np.arange(len(footprints)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    column = first[units, 0] + within % np.maximum(extent[units, 0], 1)
    row = first[units, 1] + within // np.maximum(extent[units, 0], 1)

    # The bounding box of a rectangle, and of whatever lies in one token, settles the matter.
    box_area = shapely.area(shapely.box(*np.nan_to_num(bounds_um).T))
    settled = alone | np.isclose(shapely.area(footprints), box_area, rtol=1e-9, atol=0)
    open_pairs = np.flatnonzero(~settled[units])
    shares = np.ones(len(units), dtype=bool)
    shares[open_pairs] = _share_an_area(
        footprints,
        units[open_pairs],
        origins_um[units[open_pairs]]
        + np.column_stack([column[open_pairs], row[open_pairs]]) * token_um,
        token_um,
    )
    return units[shares], row[shares], column[shares]


def _share_an_area(
    footprints: np.ndarray, units: np.ndarray, corners_um: np.ndarray, token_um: np.ndarray
) -> np.ndarray:
    """Whether footprint `units[k]` and the token at `corners_um[k]` share more than an edge."""
    if not len(units):
        return np.zeros(0, dtype=bool)
    far_um = corners_um + token_um
    tokens = shapely.box(corners_um[:, 0], corners_um[:, 1], far_um[:, 0], far_um[:, 1])
    shapely.prepare(footprints[np.unique(units)])
    polygons = footprints[units]
    return shapely.intersects(polygons, tokens) & ~shapely.touches(polygons, tokens)
