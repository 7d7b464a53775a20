"""Nuclei segmented from a section's H&E by StarDist (Schmidt et al., MICCAI 2018).

The image is read block by block. Neighbouring blocks overlap by a halo, and a nucleus belongs to
the block that holds its centre, so that blocks need no stitching and may run anywhere.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from PIL import Image
from tqdm import tqdm

from histoscribe.errors import UserError, problem
from histoscribe.image import Slide

INDEX_NAME = "nucleus"
SAMPLED_PATCHES = 64
SAMPLED_PATCH_PX = 256
MAX_NETWORK_PX = 1024
# Any StarDist network's grid and poolings divide this, so that blocks share one pixel lattice.
LATTICE_PX = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SegmentationSettings:
    """How nuclei are segmented; the defaults follow the 10x guide that PRTS builds on.

    `model_um_per_px` is the resolution the network was trained at, to which the image is scaled.
    `low_percentile` and `high_percentile` of the whole slide's values become 0 and 1.
    `probability_threshold` and `overlap_threshold` (non-maximum suppression) are the model's
    own where None. `block_px` is the side of a block and `halo_px` its margin, in pixels of the
    network; the halo must hold the network's field of view and a nucleus.
    """

    model_um_per_px: float = 0.5
    low_percentile: float = 5.0
    high_percentile: float = 95.0
    probability_threshold: float | None = None
    overlap_threshold: float | None = None
    block_px: int = 2048
    halo_px: int = 192


def segment_nuclei(
    slide: Slide,
    um_per_px: float,
    model: Path | str,
    settings: SegmentationSettings | None = None,
    threads: int = 1,
) -> gpd.GeoDataFrame:
    """Nuclei of a slide: polygons in um of the image frame, `probability` and `area_um2`.

    `um_per_px` is the resolution of `slide`; `model` the folder of a StarDist model, or the name
    of a published one, which StarDist then downloads. The index `nucleus` is made of the row and
    column of the centre, in pixels of the network: unique, and (but for ties in the last digit)
    the same however the slide is cut into blocks. Raises UserError where the model can't be
    loaded or takes no RGB image.
    """
    settings = settings or SegmentationSettings()
    network = load_segmenter(model, threads)
    scale = settings.model_um_per_px / um_per_px  # slide pixels per network pixel
    if scale < 0.5:
        log.warning(
            "%s has %.3g um/px; the segmenter was trained at %.3g um/px and may miss nuclei",
            slide.path, um_per_px, settings.model_um_per_px,
        )  # fmt: skip
    low, high = value_range(slide, settings.low_percentile, settings.high_percentile)
    width, height = int(slide.width_px / scale + 1e-6), int(slide.height_px / scale + 1e-6)
    found = []
    blocks = list(_blocks(max(width, 1), max(height, 1), settings.block_px, settings.halo_px))
    for core, outer in tqdm(blocks, desc="segment nuclei", unit="block", disable=None):
        pixels = _read_scaled(slide, scale, *outer)
        pixels = (pixels.astype(np.float32) - low) / (high - low)
        found.append(_nuclei_of_block(network, pixels, core, outer, settings))
    centres, coordinates, probability = (
        np.concatenate(parts) for parts in zip(*found, strict=True)
    )
    return _to_frame(centres, coordinates, probability, settings.model_um_per_px)


def load_segmenter(model: Path | str, threads: int = 1) -> object:
    """A `StarDist2D` from its folder, or by the name of a published model.

    Raises UserError for a folder that is no StarDist model, a name that can't be downloaded,
    and a model of other than three channels.
    """
    import tensorflow as tf
    from stardist.models import StarDist2D

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow already runs and keeps its threads
        log.debug("TensorFlow was started before; its number of threads stays")
    folder = Path(model)
    where = f"segmenter '{model}'"
    try:
        if folder.is_dir():
            network = StarDist2D(None, name=folder.name, basedir=str(folder.parent))
        else:
            network = StarDist2D.from_pretrained(str(model))
    except Exception as error:  # StarDist and Keras raise bare Exceptions
        raise UserError(
            problem(
                where,
                f"a model that does not load ({str(error).splitlines()[0][:200] or error!r})",
                "the folder of a StarDist model (config.json, weights_best.h5, thresholds.json)",
                "Run the rule retrieve_segmenter where there is a network, then give its folder; "
                "or give polygons that you already have in the sheet's polygons column.",
            )
        ) from error
    if network is None:
        raise UserError(
            problem(
                where,
                "neither a folder nor a published model",
                "one of them, such as 2D_versatile_he",
                "Correct the name or the path.",
            )
        )
    if network.config.n_channel_in != 3:
        raise UserError(
            problem(
                where,
                f"a model of {network.config.n_channel_in} channels",
                "3, for H&E",
                "Use a model trained on H&E, such as 2D_versatile_he.",
            )
        )
    return network


def value_range(slide: Slide, low_percentile: float, high_percentile: float) -> tuple[float, float]:
    """Two percentiles of the slide's values, all channels together, from a regular subsample.

    Up to 64 patches of 256 x 256 px on a regular grid; the whole of a small image.
    """
    across = max(1, min(8, slide.width_px // SAMPLED_PATCH_PX))
    down = max(1, min(8, slide.height_px // SAMPLED_PATCH_PX))
    if slide.width_px * slide.height_px <= SAMPLED_PATCHES * SAMPLED_PATCH_PX**2:
        sample = slide.read_region(0, 0, slide.width_px, slide.height_px)
    else:
        side = SAMPLED_PATCH_PX
        lefts = np.linspace(0, max(slide.width_px - side, 0), across).astype(int)
        tops = np.linspace(0, max(slide.height_px - side, 0), down).astype(int)
        sample = np.concatenate(
            [
                slide.read_region(
                    x, y, min(side, slide.width_px), min(side, slide.height_px)
                ).reshape(-1, 3)
                for y in tops.tolist()
                for x in lefts.tolist()
            ]
        )
    low, high = np.percentile(sample, [low_percentile, high_percentile])
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


Box = tuple[int, int, int, int]  # x, y, width, height


def _blocks(width: int, height: int, block_px: int, halo_px: int) -> Iterator[tuple[Box, Box]]:
    """Each block's core and the core with its halo; all start on the lattice."""
    block_px = max(LATTICE_PX, block_px // LATTICE_PX * LATTICE_PX)
    halo_px = -(-halo_px // LATTICE_PX) * LATTICE_PX
    for y in range(0, height, block_px):
        for x in range(0, width, block_px):
            core = (x, y, min(block_px, width - x), min(block_px, height - y))
            left, top = max(x - halo_px, 0), max(y - halo_px, 0)
            right = min(x + core[2] + halo_px, width)
            bottom = min(y + core[3] + halo_px, height)
            yield core, (left, top, right - left, bottom - top)


def _read_scaled(slide: Slide, scale: float, x: int, y: int, w: int, h: int) -> np.ndarray:
    """A rectangle of the slide in pixels of the network, (h, w, 3) uint8."""
    if scale == 1:
        return slide.read_region(x, y, w, h)
    margin = int(np.ceil(4 * max(scale, 1.0)))
    left, top = max(int(x * scale) - margin, 0), max(int(y * scale) - margin, 0)
    right = min(int(np.ceil((x + w) * scale)) + margin, slide.width_px)
    bottom = min(int(np.ceil((y + h) * scale)) + margin, slide.height_px)
    region = Image.fromarray(slide.read_region(left, top, right - left, bottom - top))
    box = (
        x * scale - left,
        y * scale - top,
        min((x + w) * scale - left, right - left),
        min((y + h) * scale - top, bottom - top),
    )
    return np.asarray(region.resize((w, h), Image.Resampling.BICUBIC, box))


def _nuclei_of_block(
    network: object, pixels: np.ndarray, core: Box, outer: Box, settings: SegmentationSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nuclei centred in the core: centres (n, 2) and outlines (n, rays, 2) as x, y in pixels of
    the whole slide, and probabilities (n,)."""
    tiles = tuple(-(-side // MAX_NETWORK_PX) for side in pixels.shape[:2])
    _, details = network.predict_instances(
        pixels,
        axes="YXC",
        prob_thresh=settings.probability_threshold,
        nms_thresh=settings.overlap_threshold,
        n_tiles=(*tiles, 1),
        show_tile_progress=False,
        return_labels=False,
        predict_kwargs={"verbose": 0},
    )
    offset = np.array(outer[:2])
    # StarDist speaks of rows and columns: (n, 2) and (n, 2, rays).
    centres = np.asarray(details["points"]).reshape(-1, 2)[:, ::-1].astype(np.int64) + offset
    rays = network.config.n_rays
    outlines = np.asarray(details["coord"], dtype=np.float64).reshape(-1, 2, rays)
    outlines = outlines[:, ::-1].transpose(0, 2, 1) + offset
    x, y, width, height = core
    own = np.all((centres >= (x, y)) & (centres < (x + width, y + height)), axis=1)
    return centres[own], outlines[own], np.asarray(details["prob"], dtype=np.float64)[own]


def _to_frame(
    centres: np.ndarray, outlines: np.ndarray, probability: np.ndarray, um_per_px: float
) -> gpd.GeoDataFrame:
    order = np.lexsort((centres[:, 0], centres[:, 1]))
    centres, outlines, probability = centres[order], outlines[order], probability[order]
    # StarDist places whole numbers on pixel centres; in our frame those lie at one half.
    polygons = shapely.polygons((outlines + 0.5) * um_per_px) if len(outlines) else []
    frame = gpd.GeoDataFrame(
        {
            "probability": probability,
            "area_um2": shapely.area(polygons),
            "geometry": gpd.GeoSeries(polygons, dtype=None if len(outlines) else "geometry"),
        },
        geometry="geometry",
    )
    names = [f"{y:06d}-{x:06d}" for x, y in centres.tolist()]
    frame.index = pd.Index(names, name=INDEX_NAME, dtype=object)
    return frame[(frame["area_um2"] > 0) & frame.geometry.is_valid]
