"""Clones of a tumour: copies of chromosome arms, and which clone grows where.

Events belong to the donor, the ground that a clone holds to the section. Each tumour patch is cut
in two by a front of its own direction, at the median of its nests. Were each clone given a patch of
its own, all that tells the patches apart (neighbours, depth, light, a nucleus's tile) would tell
the clones apart, and a method that reads place alone would look as if it read genomes. Two clones
that meet within a patch, one front each, are also what sections of solid tumours show; and since
fronts of two patches run their own ways, a gradient over the section doesn't give the clones away.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import ndimage

from .cell_types import TYPE_INDEX, Domain, Zone
from .fields import smooth_noise
from .genome import chromosome_arms, gene_positions
from .layout import Layout
from .nuclei import Nuclei, pixel_of
from .settings import stream

CLONE_NAMES = ("none", "clone 1", "clone 2")
MIN_ARM_GENES = 8
# Clone (0: both) and copies of each event, in the order in which arms are drawn.
EVENTS = ((0, 4), (0, 3), (0, 1), (1, 3), (1, 3), (1, 1), (2, 3), (2, 3), (2, 1))
# How nuclei of clone 2 differ from those of clone 1.
AREA_FACTOR, STAIN_FACTOR = 1.12, 1.08
# Fronts wave by about `WAVE_UM` over `WAVE_LENGTH_UM`: gently, so that clones stay in one piece.
WAVE_UM, WAVE_LENGTH_UM = 20.0, 110.0
# Patches are what is left of the tumour where `NECK_UM` are taken off its edge: necks narrower than
# twice that part them. Those with less than `SMALL_PATCH` of the nests go with the nearest other.
NECK_UM, SMALL_PATCH = 18.0, 0.15


@dataclass(frozen=True)
class CopyNumbers:
    """Copies of genes in the clones of one donor's tumour.

    Attributes:
        copies: (genes, clones) int; 2 where nothing happened.
        events: a row a clone and altered arm: clone (1 or 2), chromosome, start, end (bp, 1-based,
            inclusive), copies; events that both clones share have two rows.
    """

    copies: np.ndarray
    events: pd.DataFrame

    def log_effect(self, dosage: float) -> np.ndarray:
        """Effect on the log rate of genes, (clones + 1, genes); the first row is of no clone."""
        effect = dosage * np.log(self.copies.T / 2)
        return np.concatenate([np.zeros((1, effect.shape[1])), effect])


def draw_copy_numbers(donor_seed: int, symbols: pd.Index, n_clones: int) -> CopyNumbers:
    """Draw the altered arms of a donor's clones: autosomal ones that hold enough of the genes.

    Together they hold at most half of the genes wherever such arms can be found. Raises ValueError
    where the panel is too small.
    """
    positions, arms = gene_positions(symbols), chromosome_arms()
    start = positions["start"].to_numpy()
    inside = np.stack(
        [
            (positions["chromosome"] == arm.chromosome) & (arm.start <= start) & (start <= arm.end)
            for arm in arms.itertuples()
        ]
    )  # (arms, genes)
    n_held = inside.sum(1)
    usable = np.flatnonzero((n_held >= MIN_ARM_GENES) & (arms["chromosome"] != "chrX"))
    if len(usable) < len(EVENTS):
        raise ValueError(
            f"n_genes is {len(symbols)}; clones need {len(EVENTS)} arms of autosomes that hold"
            f" {MIN_ARM_GENES} genes, and {len(usable)} do: 400 genes are enough"
        )
    rng = stream(donor_seed, "copy numbers")
    draws = [rng.permutation(usable)[: len(EVENTS)] for _ in range(20)]
    share = [n_held[draw].sum() / len(symbols) for draw in draws]
    altered = draws[next((i for i, s in enumerate(share) if s <= 0.5), int(np.argmin(share)))]

    copies = np.full((len(symbols), n_clones), 2)
    rows = []
    for index, (owner, count) in zip(altered, EVENTS, strict=True):
        arm = arms.iloc[index]
        for clone in [owner] if owner else range(1, n_clones + 1):
            copies[inside[index], clone - 1] = count
            rows.append((clone, arm["chromosome"], arm["start"], arm["end"], count))
    events = pd.DataFrame(rows, columns=["clone", "chromosome", "start", "end", "copies"])
    order = arms["chromosome"].drop_duplicates().tolist()
    events["chromosome"] = pd.Categorical(events["chromosome"], order)
    events = events.sort_values(["clone", "chromosome", "start"], ignore_index=True)
    return CopyNumbers(copies, events)


def map_clones(rng: np.random.Generator, layout: Layout) -> np.ndarray:
    """Which clone, 1 or 2, would own a tumour cell at each pixel, (rows, columns) uint8."""
    shape, um = layout.zone.shape, layout.um_per_px
    nests = layout.zone == Zone.NEST
    patch = _patches(layout.domain == Domain.TUMOUR, nests, um)
    wave = WAVE_UM * smooth_noise(rng, shape, WAVE_LENGTH_UM / um)
    clone = np.ones(shape, dtype=np.uint8)
    y = np.arange(shape[0], dtype=np.float32)[:, None] * np.float32(um)
    x = np.arange(shape[1], dtype=np.float32)[None, :] * np.float32(um)
    for number in range(1, patch.max() + 1):
        angle = rng.uniform(0, 2 * np.pi)
        ahead = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y + wave
        mine = patch == number
        clone[mine & (ahead > np.median(ahead[mine & nests]))] = 2
    return clone


def _patches(tumour: np.ndarray, nests: np.ndarray, um_per_px: float) -> np.ndarray:
    """Number of the tumour patch nearest to each pixel, from 1; 0 where there is no nest at all."""
    label, n = ndimage.label(ndimage.distance_transform_edt(tumour) * um_per_px > NECK_UM)
    size = np.bincount(label[nests], minlength=n + 1)[1:]  # (n,) pixels of nests
    large = 1 + np.flatnonzero(size > SMALL_PATCH * nests.sum())
    if not len(large):  # a tumour too small for two patches, or none
        return np.full(tumour.shape, nests.any(), dtype=np.uint8)
    number = np.zeros(n + 1, dtype=np.uint8)
    number[large] = 1 + np.arange(len(large))
    nearest = ndimage.distance_transform_edt(
        number[label] == 0, return_distances=False, return_indices=True
    )
    return number[label[tuple(nearest)]]


def give_clones(nuclei: Nuclei, layout: Layout, clone_map: np.ndarray) -> Nuclei:
    """The same nuclei, those of the tumour in clones; all other cells are diploid.

    Nuclei of clone 2 are a little larger and darker. They grow after all found their place, so that
    the same cells stand in the section with clones and without; overlaps stay below a tenth of the
    smaller nucleus.
    """
    clone = np.where(
        nuclei.type_index == TYPE_INDEX["tumour"], clone_map[pixel_of(nuclei.centre_um, layout)], 0
    )
    second = clone == 2
    outline = nuclei.polygon_um.copy()
    centre = nuclei.centre_um[second, None]
    outline[second] = centre + (outline[second] - centre) * np.sqrt(AREA_FACTOR)
    return replace(
        nuclei,
        polygon_um=outline,
        area_um2=np.where(second, AREA_FACTOR, 1.0) * nuclei.area_um2,
        stain=np.where(second, STAIN_FACTOR, 1.0) * nuclei.stain,
        clone=clone,
    )
