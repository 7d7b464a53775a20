"""Images with labelled nuclei: simulated sections, and folders of images with label images."""

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from PIL import Image
from skimage.io import imread
from skimage.measure import label as connected_parts

from histoscribe.errors import UserError, problem
from histoscribe.image import open_slide
from histoscribe.raster import covered_pixels

LABEL_ENDING = "_label.png"


@dataclass(frozen=True)
class LabelledImage:
    """Pixels (h, w, 3) uint8 and labels (h, w) int32, 0 where there is no nucleus.

    `um_per_px` is None where the resolution is not known.
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray
    um_per_px: float | None

    def scaled(self, factor: float) -> "LabelledImage":
        """The same image with `factor` times as many pixels a side; labels stay whole numbers."""
        if abs(factor - 1) < 1e-3:
            return self
        height, width = (max(1, round(side * factor)) for side in self.labels.shape)
        pixels = Image.fromarray(self.pixels).resize((width, height), Image.Resampling.BICUBIC)
        labels = Image.fromarray(self.labels).resize((width, height), Image.Resampling.NEAREST)
        um_per_px = self.um_per_px and self.um_per_px / factor
        return LabelledImage(self.name, np.asarray(pixels), np.asarray(labels), um_per_px)


def read_simulated(folder: Path) -> LabelledImage:
    """A simulated section with its true nuclei drawn as labels."""
    slide = open_slide(folder / "image.tif")
    nuclei = gpd.read_parquet(folder / "truth_nuclei.parquet")
    um_per_px = float(slide.um_per_px)
    pixels = slide.read_region(0, 0, slide.width_px, slide.height_px)
    return LabelledImage(
        folder.name, pixels, draw_labels(nuclei, um_per_px, pixels.shape[:2]), um_per_px
    )


def draw_labels(nuclei: gpd.GeoDataFrame, um_per_px: float, shape: tuple[int, int]) -> np.ndarray:
    """Label image (h, w) int32 of outlines in um: 1, 2, ... in their order, the last on top."""
    outlines = np.asarray(nuclei.geometry)
    labels = np.zeros(shape, dtype=np.int32)
    centre = np.column_stack([nuclei.geometry.centroid.x, nuclei.geometry.centroid.y])
    box_px = (0, 0, shape[1], shape[0])
    pixels = covered_pixels(outlines, centre, um_per_px, box_px)
    labels[pixels.row, pixels.column] = pixels.owner + 1
    return labels


def read_folder(folder: Path, um_per_px: float | None) -> list[LabelledImage]:
    """Every image of a folder that has a label image beside it (`x.png`, `x_label.png`).

    Labels are taken as they are. Raises UserError for a label image that is none, or of another
    size.
    """
    found = []
    for path in sorted(folder.glob(f"*{LABEL_ENDING}")):
        image = path.with_name(path.name.removesuffix(LABEL_ENDING) + ".png")
        pixels = np.asarray(Image.open(image).convert("RGB"))
        labels = np.asarray(imread(path)).astype(np.int32)
        if labels.ndim != 2:
            raise UserError(
                problem(
                    str(path),
                    f"pixels of {labels.shape[2]} values",
                    "one number a pixel, that of its nucleus",
                    "Save the labels as 8 or 16-bit greyscale.",
                )
            )
        if labels.shape != pixels.shape[:2]:
            raise UserError(
                problem(
                    str(path),
                    f"{labels.shape[1]} x {labels.shape[0]} px",
                    f"the size of its image, {pixels.shape[1]} x {pixels.shape[0]} px",
                    "Take image and labels from the same place.",
                )
            )
        found.append(LabelledImage(image.stem, pixels, labels, um_per_px))
    if not found:
        raise UserError(
            problem(str(folder), "no labelled image", f"x.png with x{LABEL_ENDING}", "Correct it.")
        )
    return found


def to_nuclear_area(image: LabelledImage, area_px: float) -> LabelledImage:
    """The image scaled so that the median nucleus measures `area_px` pixels.

    For images of unknown resolution, whose nuclei then have the size that nuclei have.
    """
    area = np.bincount(image.labels.ravel())[1:]
    area = area[area > 0]
    if not len(area):
        return image
    return image.scaled(float(np.sqrt(area_px / np.median(area))))


def without_debris(labels: np.ndarray, min_area_px: int) -> np.ndarray:
    """Labels of connected nuclei of at least `min_area_px`, numbered anew from 1."""
    parts = connected_parts(labels, connectivity=1)
    area = np.bincount(parts.ravel())
    kept = area >= min_area_px
    kept[0] = False
    return np.concatenate([[0], np.cumsum(kept[1:])]).astype(np.int32)[parts] * kept[parts]


def table_of(images: list[LabelledImage]) -> pd.DataFrame:
    """Name, size, number of nuclei and their median area of each image."""
    rows = []
    for image in images:
        area = np.bincount(image.labels.ravel())[1:]
        rows.append(
            {
                "image": image.name,
                "width_px": image.labels.shape[1],
                "height_px": image.labels.shape[0],
                "nuclei": int((area > 0).sum()),
                "median_area_px": float(np.median(area[area > 0])) if area.any() else 0.0,
            }
        )
    return pd.DataFrame(rows)
