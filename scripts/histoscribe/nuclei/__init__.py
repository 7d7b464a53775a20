"""Nuclei segmented from a section's H&E by StarDist (Schmidt et al., MICCAI 2018).

The image is read block by block (`blocks`), so that blocks may run side by side as jobs of their
own; a network names the nuclei of each (`network`), and `stitching` keeps each nucleus once.
"""

from pathlib import Path

import geopandas as gpd

from histoscribe.image import Slide
from histoscribe.nuclei.blocks import plan_blocks, share_of_blocks, value_range
from histoscribe.nuclei.network import load_segmenter, segment_blocks
from histoscribe.nuclei.settings import INDEX_NAME, SegmentationSettings
from histoscribe.nuclei.stitching import stitch_nuclei

__all__ = [
    "INDEX_NAME",
    "SegmentationSettings",
    "load_segmenter",
    "plan_blocks",
    "segment_blocks",
    "segment_nuclei",
    "share_of_blocks",
    "stitch_nuclei",
    "value_range",
]


def segment_nuclei(
    slide: Slide,
    um_per_px: float,
    model: Path | str,
    settings: SegmentationSettings,
    threads: int = 1,
    tissue: gpd.GeoDataFrame | None = None,
    share: tuple[int, int] = (1, 1),
) -> gpd.GeoDataFrame:
    """Nuclei of the k-th of n shares of a slide's blocks, before stitching; see `segment_blocks`.

    `um_per_px` is the resolution of `slide`, `tissue` polygons in um (None: all is tissue),
    `share` (k, n) counts from 1. `stitch_nuclei` makes the shares one table.
    """
    network = load_segmenter(model, threads)
    blocks = share_of_blocks(plan_blocks(slide, um_per_px, settings, tissue), *share)
    values = value_range(slide, um_per_px, settings, tissue)
    return segment_blocks(slide, um_per_px, network, settings, blocks, values)
