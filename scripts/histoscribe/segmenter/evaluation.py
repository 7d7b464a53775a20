"""Scores of a segmenter against labelled nuclei, by StarDist's own matching."""

import geopandas as gpd
import numpy as np
import pandas as pd
from tqdm import tqdm

from histoscribe.image import Slide
from histoscribe.nuclei import (
    SegmentationSettings,
    plan_blocks,
    segment_blocks,
    stitch_nuclei,
    value_range,
)
from histoscribe.segmenter.labelled_images import LabelledImage, draw_labels

IOU = 0.5
MEAN = "mean"


def score_images(
    network: object, images: list[LabelledImage], settings: SegmentationSettings
) -> pd.DataFrame:
    """One row an image, and their mean: nuclei, F1, precision, recall, panoptic quality at IoU 0.5.

    Images go the way slides go: read in blocks, scaled to the network, stitched. `images` need
    their resolution; outlines are compared on the image's own pixels.
    """
    from stardist.matching import matching

    rows = []
    for image in tqdm(images, desc="score", disable=None):
        found = find_nuclei(network, image, settings)
        # Where outlines overlap the more probable one is on top.
        drawn = draw_labels(found.sort_values("probability"), image.um_per_px, image.labels.shape)
        scores = matching(image.labels, drawn, thresh=IOU)
        rows.append(
            {
                "image": image.name,
                "nuclei": scores.n_true,
                "found": scores.n_pred,
                "f1": scores.f1,
                "precision": scores.precision,
                "recall": scores.recall,
                "panoptic_quality": scores.panoptic_quality,
            }
        )
    table = pd.DataFrame(rows)
    mean = table.drop(columns="image").mean().to_dict()
    mean |= {"image": MEAN, **{n: int(table[n].sum()) for n in ("nuclei", "found")}}
    return pd.concat([table, pd.DataFrame([mean])], ignore_index=True)


def find_nuclei(
    network: object, image: LabelledImage, settings: SegmentationSettings
) -> gpd.GeoDataFrame:
    """The nuclei of one image, polygons in um."""
    slide = Slide(image.name, np.asarray(image.pixels), image.um_per_px)
    um_per_px = float(image.um_per_px)
    values = value_range(slide, um_per_px, settings)
    blocks = plan_blocks(slide, um_per_px, settings)
    return stitch_nuclei([segment_blocks(slide, um_per_px, network, settings, blocks, values)])
