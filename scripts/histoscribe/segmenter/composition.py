"""Dense tissue composed of single nuclei: real chromatin, drawn cytoplasm and gaps.

Simulated sections have whole tissue but drawn chromatin; `dsb2018_stained` has real chromatin but
sparse, thinly stained fields. A composed image sets nuclei cut from the latter side by side, as
densely as tumours and lymph nodes have them, in cytoplasm that may be as dark as the nuclei are
pale.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from histoscribe.segmenter.augmentation import EOSIN, HEMATOXYLIN, STAINS
from histoscribe.segmenter.labelled_images import LabelledImage, to_nuclear_area

MIN_AREA_PX = 30
MAX_COVERED = 0.12  # share of a nucleus that others may cover
MAX_TRIES = 1500
WHITE = 243.0


@dataclass(frozen=True)
class CompositionSettings:
    """How composed images look; each image draws its own values from the ranges.

    `median_area_px` is the size of nuclei, `coverage` the share of tissue that nuclei cover,
    `gaps` the share of the image without tissue.
    """

    size_px: int = 256
    median_area_px: tuple[float, float] = (70.0, 200.0)
    coverage: tuple[float, float] = (0.08, 0.5)
    gaps: tuple[float, float] = (0.0, 0.3)


@dataclass(frozen=True)
class Cutout:
    """One nucleus: its mask (h, w) and its chromatin (h, w), of mean 1 inside the mask."""

    mask: np.ndarray
    chromatin: np.ndarray


def cut_nuclei(images: list[LabelledImage], area_px: float) -> list[Cutout]:
    """The whole nuclei of images that are scaled to a median nuclear area of `area_px`.

    Nuclei at the image's edge are left out, and those hardly darker than their surroundings.
    """
    cutouts = []
    for image in images:
        scaled = to_nuclear_area(image, area_px)
        height, width = scaled.labels.shape
        density = -np.log(np.maximum(scaled.pixels, 3) / 255.0).sum(axis=2)
        for number, box in enumerate(ndimage.find_objects(scaled.labels), 1):
            if box is None:
                continue
            rows, columns = box
            if (
                rows.start == 0
                or columns.start == 0
                or rows.stop == height
                or columns.stop == width
            ):
                continue
            box = (slice(rows.start - 1, rows.stop + 1), slice(columns.start - 1, columns.stop + 1))
            mask = scaled.labels[box] == number
            around = density[box][scaled.labels[box] == 0]
            if mask.sum() < MIN_AREA_PX or not len(around):
                continue
            chromatin = density[box] - np.median(around)
            level = chromatin[mask].mean()
            if level > 0.25:
                cutouts.append(Cutout(mask, (chromatin / level).astype(np.float32)))
    return cutouts


def compose(
    rng: np.random.Generator, cutouts: list[Cutout], settings: CompositionSettings, name: str
) -> LabelledImage:
    """One image of nuclei drawn from `cutouts`, with its labels."""
    size = settings.size_px
    tissue = _without_gaps(rng, size, rng.uniform(*settings.gaps))
    labels, chromatin = _placed(rng, cutouts, tissue, rng.uniform(*settings.coverage))
    amounts = _cytoplasm(rng, labels, tissue)
    inside = labels > 0
    soft = ndimage.gaussian_filter(inside.astype(np.float32), 0.6)
    # Pale nuclei lie among dark ones, and in some tissues all are pale.
    level = rng.uniform(0.7, 1.6) * rng.lognormal(0, 0.25, labels.max() + 1)
    nuclear = level[labels].astype(np.float32) * chromatin
    for stain, kept in ((HEMATOXYLIN, 0.35), (EOSIN, 0.45)):
        amounts[stain] *= 1 - (1 - kept) * soft
    amounts[HEMATOXYLIN] += ndimage.gaussian_filter(nuclear * inside, 0.4)
    density = np.tensordot(np.maximum(amounts, 0), STAINS[:2].astype(np.float32), axes=(0, 0))
    pixels = WHITE * np.exp(-density)
    return LabelledImage(name, np.clip(pixels + 0.5, 0, 255).astype(np.uint8), labels, None)


def _noise(rng: np.random.Generator, size: int, sigma: float | tuple[float, float]) -> np.ndarray:
    field = ndimage.gaussian_filter(
        rng.standard_normal((size, size), dtype=np.float32), sigma, mode="wrap"
    )
    return field / field.std()


def _without_gaps(rng: np.random.Generator, size: int, share: float) -> np.ndarray:
    """Tissue of 0 to 1, (size, size): ragged gaps, as clefts and lumens make them."""
    field = _noise(rng, size, rng.uniform(5, 22)) + 0.35 * _noise(rng, size, 2)
    if share < 0.02:
        return np.ones((size, size), dtype=np.float32)
    cut = np.quantile(field, share)
    return np.clip((field - cut) * rng.uniform(3, 10) + 0.5, 0, 1).astype(np.float32)


def _placed(
    rng: np.random.Generator, cutouts: list[Cutout], tissue: np.ndarray, coverage: float
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and chromatin of nuclei set at random where density allows, later ones on top."""
    size = len(tissue)
    labels = np.zeros((size, size), dtype=np.int32)
    chromatin = np.zeros((size, size), dtype=np.float32)
    crowded = _noise(rng, size, rng.uniform(12, 50)) > rng.uniform(-1.5, 0.7)
    left_px, placed = coverage * tissue.sum(), 0
    for _ in range(MAX_TRIES):
        if left_px <= 0:
            break
        cutout = cutouts[rng.integers(len(cutouts))]
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        mask, dark = np.rot90(cutout.mask, turns), np.rot90(cutout.chromatin, turns)
        if flip:
            mask, dark = mask[:, ::-1], dark[:, ::-1]
        height, width = mask.shape
        y, x = (int(rng.integers(-side // 2, size - side // 2)) for side in (height, width))
        top, left = max(y, 0), max(x, 0)
        window = (slice(top, min(y + height, size)), slice(left, min(x + width, size)))
        part = (
            slice(top - y, top - y + window[0].stop - top),
            slice(left - x, left - x + window[1].stop - left),
        )
        own = mask[part]
        if not own.any():
            continue
        if tissue[window][own].mean() < 0.6 or (labels[window][own] > 0).mean() > MAX_COVERED:
            continue
        if not crowded[window][own].any() and rng.random() < 0.85:
            continue
        placed += 1
        left_px -= own.sum()
        labels[window][own] = placed
        chromatin[window][own] = dark[part][own]
    return labels, chromatin


def _cytoplasm(rng: np.random.Generator, labels: np.ndarray, tissue: np.ndarray) -> np.ndarray:
    """Amounts (2, size, size) of hematoxylin and eosin between nuclei.

    Each cell has its own colour up to some distance from its nucleus; beyond lies stroma. Cell
    borders may show as pale or dark lines.
    """
    size = len(labels)
    distance, (rows, columns) = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    owner = labels[rows, columns]
    reach = rng.uniform(3, 14)
    of_cell = np.exp(-((distance / reach) ** 4)).astype(np.float32)
    n = labels.max() + 1
    fibres = _noise(rng, size, (rng.uniform(0.8, 2), rng.uniform(4, 14)))
    texture = 1 + 0.2 * _noise(rng, size, 1.2) + 0.15 * _noise(rng, size, 5)
    stroma = 1 + rng.uniform(0.05, 0.35) * fibres + 0.25 * _noise(rng, size, 10)
    amounts = np.empty((2, size, size), dtype=np.float32)
    # Basophilic cytoplasm reaches half of what nuclei hold.
    ranges = {HEMATOXYLIN: ((0.0, 0.75), (0.0, 0.25)), EOSIN: ((0.05, 0.65), (0.05, 0.7))}
    for stain, (in_cell, between) in ranges.items():
        cell = rng.uniform(*in_cell) * rng.lognormal(0, 0.2, n)
        ground = rng.uniform(*between) * np.clip(stroma, 0.05, None)
        amounts[stain] = of_cell * cell[owner] * texture + (1 - of_cell) * ground
    border = (owner != np.roll(owner, 1, 0)) | (owner != np.roll(owner, 1, 1))
    line = ndimage.gaussian_filter(border.astype(np.float32), 0.7) * of_cell
    amounts *= np.clip(1 + rng.uniform(-1.2, 0.5) * line, 0, None)
    halo = np.exp(-((distance - 1.5) ** 2) / 2) * (rng.random(n) < 0.3)[owner]
    amounts *= 1 - rng.uniform(0, 0.6) * halo
    return amounts * tissue
