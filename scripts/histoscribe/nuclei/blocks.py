"""Blocks of a slide: what one reading holds, which of them touch tissue, and who segments them."""

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely

from histoscribe.errors import UserError, problem
from histoscribe.image import Slide, resample_region
from histoscribe.nuclei.settings import SegmentationSettings

SAMPLED_PATCHES = 64
SAMPLED_PATCH_PX = 256
# Any StarDist network's grid and poolings divide this, so that blocks share one pixel lattice.
LATTICE_PX = 64

Box = tuple[int, int, int, int]  # x, y, width, height


@dataclass(frozen=True)
class Block:
    """A block of a slide in pixels of the network: its core, and the core with its halo.

    Cores tile the slide; `number` counts them row by row, glass included.
    """

    number: int
    core: Box
    outer: Box


def plan_blocks(
    slide: Slide,
    um_per_px: float,
    settings: SegmentationSettings,
    tissue: gpd.GeoDataFrame | None = None,
) -> list[Block]:
    """The blocks of a slide of `um_per_px` whose cores touch `tissue` (um; None: all of it)."""
    scale = settings.um_per_px / um_per_px  # slide pixels per network pixel
    width, height = (max(int(side / scale + 1e-6), 1) for side in (slide.width_px, slide.height_px))
    block_px = max(LATTICE_PX, settings.block_px // LATTICE_PX * LATTICE_PX)
    halo_px = -(-settings.halo_px // LATTICE_PX) * LATTICE_PX
    blocks = []
    for y in range(0, height, block_px):
        for x in range(0, width, block_px):
            core = (x, y, min(block_px, width - x), min(block_px, height - y))
            left, top = max(x - halo_px, 0), max(y - halo_px, 0)
            right = min(x + core[2] + halo_px, width)
            bottom = min(y + core[3] + halo_px, height)
            blocks.append(Block(len(blocks), core, (left, top, right - left, bottom - top)))
    if tissue is None:
        return blocks
    cores_um = _boxes_um([block.core for block in blocks], settings.um_per_px)
    touching = shapely.STRtree(cores_um).query(np.asarray(tissue.geometry), predicate="intersects")[
        1
    ]
    return [blocks[i] for i in np.unique(touching)]


def share_of_blocks(blocks: list[Block], k: int, n: int) -> list[Block]:
    """The k-th of n shares (k counts from 1): neighbours together, sizes within one block."""
    start, stop = (len(blocks) * i // n for i in (k - 1, k))
    return blocks[start:stop]


def value_range(
    slide: Slide,
    um_per_px: float,
    settings: SegmentationSettings,
    tissue: gpd.GeoDataFrame | None = None,
) -> tuple[float, float]:
    """The two percentiles of the tissue's values, all channels together: one pair for a slide.

    Read from up to 64 patches of 256 px of the network, spread evenly over those whose middle
    lies in `tissue`. Raises UserError for an image of one colour.
    """
    scale = settings.um_per_px / um_per_px
    width, height = (max(int(side / scale + 1e-6), 1) for side in (slide.width_px, slide.height_px))
    side = SAMPLED_PATCH_PX
    corners = [(x, y) for y in range(0, height, side) for x in range(0, width, side)]
    if tissue is not None:
        middle = (np.array(corners) + side / 2) * settings.um_per_px
        on_tissue = shapely.contains_xy(shapely.union_all(np.asarray(tissue.geometry)), middle)
        corners = [c for c, keep in zip(corners, on_tissue, strict=True) if keep] or corners
    chosen = np.linspace(0, len(corners) - 1, min(len(corners), SAMPLED_PATCHES)).astype(int)
    sample = np.concatenate(
        [
            resample_region(
                slide, scale, x, y, min(side, width - x), min(side, height - y)
            ).reshape(-1, 3)
            for x, y in (corners[i] for i in chosen)
        ]
    )
    low, high = np.percentile(sample, [settings.low_percentile, settings.high_percentile])
    if high <= low:
        raise UserError(
            problem(
                str(slide.path),
                f"an image of one colour (both percentiles are {low:.0f})",
                "stained tissue",
                "Check that the image is the H&E.",
            )
        )
    return float(low), float(high)


def _boxes_um(boxes: list[Box], um_per_px: float) -> np.ndarray:
    x, y, width, height = np.array(boxes, dtype=np.float64).T * um_per_px
    return shapely.box(x, y, x + width, y + height)
