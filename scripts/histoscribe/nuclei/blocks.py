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
    width, height = size_for_network(slide, um_per_px, settings)
    across, down = (_on_lattice(side / -(-side // settings.block_px)) for side in (width, height))
    halo_px = _on_lattice(settings.halo_px)
    blocks = []
    for y in range(0, height, down):
        for x in range(0, width, across):
            core = (x, y, min(across, width - x), min(down, height - y))
            left, wide = _with_halo(x, across, halo_px, width)
            top, tall = _with_halo(y, down, halo_px, height)
            blocks.append(Block(len(blocks), core, (left, top, wide, tall)))
    if tissue is None:
        return blocks
    cores_um = _boxes_um([block.core for block in blocks], settings.um_per_px)
    touching = shapely.STRtree(cores_um).query(np.asarray(tissue.geometry), predicate="intersects")[
        1
    ]
    return [blocks[i] for i in np.unique(touching)]


def size_for_network(
    slide: Slide, um_per_px: float, settings: SegmentationSettings
) -> tuple[int, int]:
    """Width and height of a slide of `um_per_px` in pixels of the network."""
    scale = settings.um_per_px / um_per_px  # slide pixels per network pixel
    return (
        max(int(slide.width_px / scale + 1e-6), 1),
        max(int(slide.height_px / scale + 1e-6), 1),
    )


def _with_halo(start: int, core: int, halo: int, length: int) -> tuple[int, int]:
    """Start and size, along one axis, of a core with its halo.

    At the slide's edges the window is moved inward, not cut, so that nearly all blocks have one
    size: a network is prepared anew for every size that it meets.
    """
    size = core + 2 * halo
    first = max(min(start - halo, _on_lattice(length - size)), 0)
    return first, min(size, length - first)


def _on_lattice(side_px: float) -> int:
    return -(-int(np.ceil(side_px)) // LATTICE_PX) * LATTICE_PX


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

    Read from up to 64 patches of 256 px of the network, spread evenly over those that touch
    `tissue`, and there from every other pixel in tissue. Raises UserError for an image of one
    colour.
    """
    scale = settings.um_per_px / um_per_px
    width, height = size_for_network(slide, um_per_px, settings)
    side = SAMPLED_PATCH_PX
    corners = [(x, y) for y in range(0, height, side) for x in range(0, width, side)]
    whole = None
    if tissue is not None:
        whole = shapely.union_all(np.asarray(tissue.geometry))
        shapely.prepare(whole)
        patches = _boxes_um([(*corner, side, side) for corner in corners], settings.um_per_px)
        touching = shapely.intersects(whole, patches)
        corners = [c for c, keep in zip(corners, touching, strict=True) if keep] or corners
    chosen = np.linspace(0, len(corners) - 1, min(len(corners), SAMPLED_PATCHES)).astype(int)
    samples = []
    for x, y in (corners[i] for i in chosen):
        across, down = min(side, width - x), min(side, height - y)
        pixels = resample_region(slide, scale, x, y, across, down)[::2, ::2]
        if whole is not None:
            centre_x, centre_y = np.meshgrid(np.arange(0, across, 2), np.arange(0, down, 2))
            um = settings.um_per_px
            inside = shapely.contains_xy(
                whole, (centre_x + x + 0.5) * um, (centre_y + y + 0.5) * um
            )
            pixels = pixels[inside]
        samples.append(pixels.reshape(-1, 3))
    sample = np.concatenate(samples)
    if not len(sample):  # tissue that covers no pixel's middle
        return value_range(slide, um_per_px, settings)
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
