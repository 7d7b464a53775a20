"""Where nuclei lie and where molecules lie, as maps on one grid that can be laid on each other.

A map's pixel (row, column) covers `origin_px + (column, row)`, in pixels of `pixel_um` from the
image's top-left corner. Maps hold fine structure only: what varies over more than a few nuclei,
such as the outline of the tissue, is taken out, so that it decides nothing.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import ndimage

from histoscribe.errors import UserError, problem
from histoscribe.features.stain import StainSeparation, concentrations, optical_density
from histoscribe.image import open_slide, read_window
from histoscribe.provenance import RECORD_KEY, recall

CLEAR_OD = 0.12  # mean optical density, smoothed, below which a place is glass
CLOSED_UM = 25.0  # lumens and gaps up to about this size count as tissue
OUTLIER_SD = 3.0
VALUES_AT_ONCE = 20_000_000
SQUARE_UM = 2.0  # molecules are summed over squares of this edge
SHEET = 1024  # squares along the edge of what is counted in one array
MOLECULES_AT_ONCE = 2_000_000
NUCLEUS_UM = 2.0  # standard deviation of the blob that a nucleus is drawn as


@dataclass(frozen=True)
class DensityMap:
    """Maps of one kind on one grid.

    `planes` (n_planes, height, width) are uncorrelated, of mean square 1 inside `mask` (height,
    width) and 0 outside; `origin_px` is x, y of the first pixel.
    """

    planes: np.ndarray
    mask: np.ndarray
    origin_px: tuple[int, int]
    pixel_um: float


@dataclass(frozen=True)
class NuclearDetail:
    """How nuclei show in an image.

    `sharpness` is the variance of red optical density at 2 to 4 um over that at 8 to 16 um: above
    1 in H&E of 0.25 to 2 um/px, below 0.5 where the image is blurred over 8 um. `contrast_od` is
    the standard deviation at 2 to 4 um, which haematoxylin makes; eosin hardly absorbs red.
    """

    sharpness: float
    contrast_od: float


def crop(whole: DensityMap, box: "Box") -> DensityMap:
    """A box of a map; nothing where the box reaches beyond it."""
    x, y, width, height = box
    planes = np.zeros((len(whole.planes), height, width), dtype=np.float32)
    mask = np.zeros((height, width), dtype=bool)
    left, top = x - whole.origin_px[0], y - whole.origin_px[1]
    rows = slice(max(top, 0), max(top + height, 0))
    columns = slice(max(left, 0), max(left + width, 0))
    inside = whole.mask[rows, columns]
    into = (
        slice(max(-top, 0), max(-top, 0) + inside.shape[0]),
        slice(max(-left, 0), max(-left, 0) + inside.shape[1]),
    )
    planes[:, *into] = whole.planes[:, rows, columns]
    mask[into] = inside
    return DensityMap(planes, mask, (x, y), whole.pixel_um)


Box = tuple[int, int, int, int]  # x, y, width, height in map pixels


@dataclass(frozen=True)
class NuclearDensity:
    """Where a section's image shows nuclei.

    `read(box, pixel_um, broad_um)` maps a box without what is broader than `broad_um`; `size_um`
    is the image's width and height, `finest_um` the smallest pixel that makes sense, `n_nuclei`
    how many outlines they are, where they are outlines.
    """

    read: Callable[[Box, float, float], DensityMap]
    size_um: tuple[float, float]
    finest_um: float
    n_nuclei: int | None = None


@dataclass(frozen=True)
class Molecules:
    """Where molecules are: positions (n, 2) in um and how many each holds (n,).

    `unit_um` is the edge of the bins that they were counted in; None for molecules, single or
    summed where they lie close: a place without one was measured too.
    """

    xy_um: np.ndarray
    umi: np.ndarray
    unit_um: float | None


def stain_density(image: Path, um_per_px: float, stain: StainSeparation) -> NuclearDensity:
    """Haematoxylin and eosin of a section's image; a pixel may not be finer than the image's.

    Two planes: molecules follow nuclei in most tissues, and in some, such as kidney tubules,
    the cytoplasm as much.
    """

    def read(box: Box, pixel_um: float, broad_um: float) -> DensityMap:
        x, y, width, height = box
        window_um = (x * pixel_um, y * pixel_um, (x + width) * pixel_um, (y + height) * pixel_um)
        rgb = read_window(image, um_per_px, window_um, max(width, height))
        density = optical_density(rgb, stain.white)
        planes = np.stack(concentrations(density, stain)[:2])
        mask = ndimage.gaussian_filter(density.mean(axis=-1), CLOSED_UM / pixel_um) > CLEAR_OD
        return _density_map(planes, mask, (x, y), pixel_um, broad_um)

    slide = open_slide(image)
    size_um = (slide.width_px * um_per_px, slide.height_px * um_per_px)
    return NuclearDensity(read, size_um, um_per_px)


def nuclear_detail(tiles: list[np.ndarray], um_per_px: float, white: np.ndarray) -> NuclearDetail:
    """Measure nuclear detail on tissue tiles (height, width, 3) uint8; `white` (3,) is glass."""
    fine, broad = [], []
    for rgb in tiles:
        red = optical_density(rgb, white)[..., 0]
        smooth = [ndimage.gaussian_filter(red, scale / um_per_px) for scale in (2, 4, 8, 16)]
        fine.append(np.var(smooth[0] - smooth[1]))
        broad.append(np.var(smooth[2] - smooth[3]))
    variance = float(np.mean(fine))
    return NuclearDetail(variance / max(float(np.mean(broad)), 1e-9), variance**0.5)


def tissue_tiles(
    image: Path, um_per_px: float, xy_um: np.ndarray, edge_um: float = 250.0, n_tiles: int = 12
) -> list[np.ndarray]:
    """Tiles of an image around some of the measured positions (n, 2)."""
    chosen = np.random.default_rng(0).choice(len(xy_um), min(n_tiles, len(xy_um)), replace=False)
    edge_px = max(round(edge_um / um_per_px), 1)
    half = edge_px * um_per_px / 2
    return [
        read_window(image, um_per_px, (x - half, y - half, x + half, y + half), edge_px)
        for x, y in np.asarray(xy_um)[chosen]
    ]


def nuclei_density(
    centre_um: np.ndarray, area_um2: np.ndarray, size_um: tuple[float, float]
) -> NuclearDensity:
    """Nuclei by their centres (n_nuclei, 2) and areas (n_nuclei,); one plane."""

    def read(box: Box, pixel_um: float, broad_um: float) -> DensityMap:
        plane = _binned(centre_um, area_um2, box, pixel_um)
        plane = ndimage.gaussian_filter(plane, NUCLEUS_UM / pixel_um)
        mask = ndimage.gaussian_filter((plane > 0).astype(np.float32), CLOSED_UM / pixel_um) > 0.02
        return _density_map(plane[None], mask, box[:2], pixel_um, broad_um)

    return NuclearDensity(read, size_um, 0.0, len(centre_um))


def umi_density(molecules: Molecules, pixel_um: float, broad_um: float) -> DensityMap:
    """UMIs per unit; one plane around all positions.

    Pixels without a bin were not measured; of single molecules, pixels with none near by were not.
    Square roots even out the noise.
    """
    xy_um = molecules.xy_um
    corner = np.floor(xy_um.min(axis=0) / pixel_um).astype(int)
    size = np.floor(xy_um.max(axis=0) / pixel_um).astype(int) - corner + 1
    box = (*corner.tolist(), *size.tolist())
    total = _binned(xy_um, molecules.umi, box, pixel_um)
    n = _binned(xy_um, np.ones(len(xy_um)), box, pixel_um)
    mask = n > 0
    if molecules.unit_um is None:
        mask = ndimage.gaussian_filter(mask.astype(np.float32), CLOSED_UM / pixel_um) > 0.05
        n = mask
    plane = np.sqrt(total / np.maximum(n, 1))
    return _density_map(plane[None], mask, (box[0], box[1]), pixel_um, broad_um)


def read_molecules(measured: Path) -> Molecules:
    """The molecules of a measured section.

    From `measured.h5ad`, whose matrix is never whole in memory, or from `transcripts.parquet`,
    whose molecules are summed over squares of 2 um. Raises UserError where it is damaged.
    """
    try:
        if measured.suffix == ".parquet":
            return Molecules(*_squares_of_molecules(measured), None)
        with h5py.File(measured) as file:
            facts = recall({RECORD_KEY: ad.io.read_elem(file["uns"][RECORD_KEY])})
            umi = _row_sums(file["X/data"], file["X/indptr"][:])
            return Molecules(file["obsm/spatial"][:], umi, facts["unit_size_um"])
    except (OSError, KeyError, pa.ArrowException) as error:
        found = f"an unreadable file ({error})"
        raise UserError(
            problem(str(measured), found, "a measured section", "Delete it.")
        ) from error


def _squares_of_molecules(transcripts: Path) -> tuple[np.ndarray, np.ndarray]:
    """Centres (n, 2) in um of the squares that hold molecules, and how many each holds (n,).

    Read batch by batch: memory grows with the area, not with the molecules.
    """
    sheets = defaultdict(lambda: np.zeros(SHEET**2, dtype=np.uint32))
    # Buffered in advance, the whole file would stay in memory.
    file = pq.ParquetFile(transcripts, pre_buffer=False)
    for batch in file.iter_batches(MOLECULES_AT_ONCE, columns=["x_um", "y_um"]):
        xy_um = np.column_stack([batch["x_um"], batch["y_um"]])
        sheet, at = np.divmod(np.floor(xy_um / SQUARE_UM).astype(np.int64), SHEET)
        place = at[:, 1] * SHEET + at[:, 0]
        for corner, rows in pd.DataFrame(sheet).groupby([0, 1]).indices.items():
            count = np.bincount(place[rows], minlength=SHEET**2)
            sheets[corner] += count.astype(np.uint32)
    centres, counts = [np.empty((0, 2), dtype=np.float32)], [np.empty(0, dtype=np.float32)]
    for corner, sums in sorted(sheets.items()):
        place = np.flatnonzero(sums)
        at = np.column_stack([place % SHEET, place // SHEET]) + np.multiply(corner, SHEET)
        centres.append(((at + 0.5) * SQUARE_UM).astype(np.float32))
        counts.append(sums[place].astype(np.float32))
    return np.concatenate(centres), np.concatenate(counts)


def _row_sums(data: h5py.Dataset, indptr: np.ndarray) -> np.ndarray:
    """Sums of the rows of a CSR matrix on disk, read in pieces of whole rows."""
    sums = np.zeros(len(indptr) - 1)
    firsts = np.searchsorted(indptr, np.arange(0, indptr[-1], VALUES_AT_ONCE), side="left")
    edges = np.unique(np.append(firsts, len(sums)))
    for first, last in pairwise(edges.tolist()):
        running = np.cumsum(data[indptr[first] : indptr[last]], dtype=np.float64)
        sums[first:last] = np.diff(np.append(0, running)[indptr[first : last + 1] - indptr[first]])
    return sums


def _binned(xy_um: np.ndarray, weight: np.ndarray, box: Box, pixel_um: float) -> np.ndarray:
    """Weights summed over the pixels of a box, (height, width) float32."""
    x, y, width, height = box
    at = np.floor(xy_um / pixel_um).astype(np.int64) - (x, y)
    inside = np.all((at >= 0) & (at < (width, height)), axis=1)
    flat = at[inside, 1] * width + at[inside, 0]
    total = np.bincount(flat, np.asarray(weight)[inside], minlength=width * height)
    return total.reshape(height, width).astype(np.float32)


def _density_map(
    planes: np.ndarray,
    mask: np.ndarray,
    origin_px: tuple[int, int],
    pixel_um: float,
    broad_um: float,
) -> DensityMap:
    """Fine structure of raw planes, tamed and made uncorrelated inside the mask."""
    inside = mask.astype(np.float32)
    n = max(float(inside.sum()), 1.0)
    sigma = broad_um / pixel_um
    near = np.maximum(ndimage.gaussian_filter(inside, sigma, mode="constant"), 1e-3)
    fine = np.empty(planes.shape, dtype=np.float32)
    for plane, out in zip(planes, fine, strict=True):
        broad = ndimage.gaussian_filter(plane * inside, sigma, mode="constant") / near
        out[:] = (plane - broad) * inside
        spread = np.sqrt((out**2).sum() / n) + 1e-9
        np.clip(out / spread, -OUTLIER_SD, OUTLIER_SD, out=out)
    flat = fine.reshape(len(fine), -1)
    values, vectors = np.linalg.eigh(flat @ flat.T / n)
    whiten = vectors / np.sqrt(np.maximum(values, 1e-6)) @ vectors.T
    return DensityMap((whiten @ flat).reshape(fine.shape), mask, origin_px, pixel_um)
