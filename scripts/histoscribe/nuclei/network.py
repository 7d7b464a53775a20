"""A StarDist network and what it finds in blocks."""

import json
import logging
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from tqdm import tqdm

from histoscribe.errors import UserError, problem
from histoscribe.image import Slide, resample_region
from histoscribe.nuclei.blocks import Block
from histoscribe.nuclei.settings import INDEX_NAME, SegmentationSettings

MAX_NETWORK_PX = 1664
# Centres this near to another block's core are kept: a nucleus whose centre two blocks see on
# different sides of the seam would else be lost.
SEAM_PX = 8

MODEL = "the folder of a StarDist model (config.json, weights_best.h5, thresholds.json)"
REMEDY = (
    "Run the rule retrieve_segmenter where there is a network, then give its folder; or use the "
    "segmenter 'histoscribe_he', which needs no download; or give polygons that you already have "
    "in the sheet's polygons column."
)

log = logging.getLogger(__name__)


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
    if folder.is_dir() and (fault := _fault(folder)):
        raise UserError(problem(where, fault, MODEL, REMEDY))
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
                MODEL,
                REMEDY,
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


def _fault(folder: Path) -> str:
    """Why a folder holds no StarDist model; "" where it seems to hold one."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        return f"no StarDist model: config.json can't be read ({error})"
    if not isinstance(config, dict) or "n_rays" not in config:
        return "no StarDist model: config.json states no n_rays"
    # Without weights StarDist would go on with random ones.
    return "" if any(folder.glob("*.h5")) else "a folder without weights"


def segment_blocks(
    slide: Slide,
    um_per_px: float,
    network: object,
    settings: SegmentationSettings,
    blocks: list[Block],
    values: tuple[float, float],
) -> gpd.GeoDataFrame:
    """Nuclei of blocks: polygons in um, `probability`, `area_um2`, and where they come from.

    `um_per_px` is the resolution of `slide`; `values` become 0 and 1. `block` is the number of the
    block that saw a nucleus, `is_own` whether its centre lies in that block's core; others lie
    within a few pixels of it and are for `stitch_nuclei` to judge. The index is made of the row
    and column of the centre in pixels of the network.
    """
    scale = settings.um_per_px / um_per_px  # slide pixels per network pixel
    if scale < 0.5:
        log.warning(
            "%s has %.3g um/px; the segmenter was trained at %.3g um/px and may miss nuclei",
            slide.path, um_per_px, settings.um_per_px,
        )  # fmt: skip
    low, high = values
    found = []
    for block in tqdm(blocks, desc="segment nuclei", unit="block", disable=None):
        pixels = resample_region(slide, scale, *block.outer)
        pixels = (pixels.astype(np.float32) - low) / (high - low)
        found.append(_nuclei_of_block(network, pixels, block, settings))
    return _joined(found)


def _nuclei_of_block(
    network: object, pixels: np.ndarray, block: Block, settings: SegmentationSettings
) -> gpd.GeoDataFrame:
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
    offset = np.array(block.outer[:2])
    # StarDist speaks of rows and columns: (n, 2) and (n, 2, rays).
    centres = np.asarray(details["points"]).reshape(-1, 2)[:, ::-1].astype(np.int64) + offset
    outlines = np.asarray(details["coord"], dtype=np.float64)
    outlines = outlines.reshape(-1, 2, network.config.n_rays)[:, ::-1].transpose(0, 2, 1) + offset
    low = np.array(block.core[:2])
    high = low + block.core[2:]
    kept = np.all((centres >= low - SEAM_PX) & (centres < high + SEAM_PX), axis=1)
    centres, outlines = centres[kept], outlines[kept]
    # StarDist places whole numbers on pixel centres; in our frame those lie at one half.
    polygons = shapely.polygons((outlines + 0.5) * settings.um_per_px) if kept.any() else []
    return _frame(
        centres,
        polygons,
        np.asarray(details["prob"], dtype=np.float64)[kept],
        block.number,
        np.all((centres >= low) & (centres < high), axis=1),
    )


def _frame(
    centres: np.ndarray, polygons: np.ndarray, probability: np.ndarray, block: int, own: np.ndarray
) -> gpd.GeoDataFrame:
    frame = gpd.GeoDataFrame(
        {
            "probability": probability,
            "area_um2": shapely.area(polygons),
            "block": np.full(len(centres), block, dtype=np.int32),
            "is_own": own,
            "geometry": gpd.GeoSeries(polygons, dtype=None if len(centres) else "geometry"),
        },
        geometry="geometry",
    )
    names = [f"{y:06d}-{x:06d}" for x, y in centres.tolist()]
    frame.index = pd.Index(names, name=INDEX_NAME, dtype=object)
    is_sound = (frame["area_um2"] > 0) & frame.geometry.is_valid
    if not is_sound.all():
        log.info(
            "block %d: %d of %d outlines dropped, which have no area or cross themselves",
            block, (~is_sound).sum(), len(frame),
        )  # fmt: skip
    return frame[is_sound]


def _joined(frames: list[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        nothing = np.empty((0, 2), dtype=np.int64)
        return _frame(nothing, [], np.empty(0), 0, np.empty(0, dtype=bool))
    return frames[0] if len(frames) == 1 else pd.concat(frames)
