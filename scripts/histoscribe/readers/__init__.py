"""Readers: one module a platform, all with one contract.

`read(files) -> AnnData` with raw integer counts (CSR, bins or spots x genes), unique gene symbols
as `var_names`, the platform's ids in `var["gene_id"]`, and positions in full-resolution pixels of
the section's image in `obsm["spatial_px"]` (x right, y down). `um_per_px(files)` is the resolution
that the platform's own files state, or None. `shape` is the form of one measured unit.
`open_section` opens what the sheet names; `read_section` turns it into the contract of
`measured.h5ad`: `obsm["spatial"]` in um.
Platforms that measure single molecules have `read_panel` and `read_transcripts` in place of `read`,
which `write_transcript_section` turns into `transcripts.parquet`. Stereo-seq has both, with a
`read` that takes the edge of the bins to sum to, and `read_cells` for cells that its file gives.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.image import Slide, open_slide
from histoscribe.platforms import SUMMED
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.readers import legacy_st, stereoseq, visium, visium_hd, xenium
from histoscribe.readers.image_alignment import read_alignment
from histoscribe.readers.transcript_table import Piece, write_transcripts
from histoscribe.units import px_to_um, settle_um_per_px

if TYPE_CHECKING:
    import anndata as ad

READERS: dict[str, ModuleType] = {
    "visium_hd": visium_hd,
    "visium": visium,
    "legacy_st": legacy_st,
    "xenium": xenium,
    "stereoseq": stereoseq,
}
# An image shrunken to 0.8 still holds two thirds; in whole images all positions lie inside.
MIN_SHARE_IN_IMAGE = 0.95
LEFT_OUT = "%s: %d of %d %s lie outside the image and are left out; was it cropped?"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SectionSource:
    """A section as it came: its open image, its platform's files by role, and its resolution.

    `bin_um` is the edge of the bins that its molecules are to be summed to, if they are.
    """

    sample: str
    platform: str
    files: dict[str, Path]
    slide: Slide
    um_per_px: float
    bin_um: float | None = None

    @property
    def size_um(self) -> tuple[float, float]:
        """Width and height of the image."""
        return self.slide.width_px * self.um_per_px, self.slide.height_px * self.um_per_px


def open_section(
    sample: str,
    platform: str,
    image: Path,
    files: Mapping[str, Path],
    um_per_px: float | None,
    bin_um: float | None = None,
) -> SectionSource:
    """Open a section of the sheet; `um_per_px` is what the sheet says, or None.

    `bin_um` is the edge of bins that are summed as the section is read.

    Raises UserError where sheet, platform and image disagree on the resolution, or none knows it.
    """
    slide = open_slide(Path(image))
    files = {role: Path(path) for role, path in files.items()}
    said = {
        "the sample sheet": um_per_px,
        "the platform's files": READERS[platform].um_per_px(files) if files else None,
        "the image's metadata": slide.um_per_px,
    }
    settled = settle_um_per_px(said, f"sample {sample}")
    return SectionSource(sample, platform, files, slide, settled, bin_um)


def read_section(source: SectionSource) -> ad.AnnData:
    """The measured section: raw counts, `obsm["spatial"]` in um, facts in `uns["histoscribe"]`.

    Positions outside the image are left out, with a warning. Raises UserError where they are more
    than a few.
    """
    reader = READERS[source.platform]
    shape = reader.SHAPE
    if source.platform not in SUMMED:
        adata, unit_size_um = reader.read(source.files)
    elif source.bin_um is not None:
        adata, unit_size_um = reader.read(source.files, source.bin_um)
    else:
        adata, unit_size_um = reader.read_cells(source.files)
        shape = "polygon"
    inside = _inside(adata.obsm["spatial_px"], source)
    if not inside.all():
        n_outside = int((~inside).sum())
        log.warning(LEFT_OUT, source.sample, n_outside, len(inside), "positions")
        adata = adata[inside].copy()
    adata.obsm["spatial"] = px_to_um(adata.obsm.pop("spatial_px"), source.um_per_px)
    adata.uns[RECORD_KEY] = record(
        sample=source.sample,
        platform=source.platform,
        unit_shape=shape,
        unit_size_um=unit_size_um,
        um_per_px=source.um_per_px,
    )
    return adata


def write_transcript_section(source: SectionSource, output: Path) -> None:
    """Write the section's transcripts: positions in um of the image, genes, and their accounting.

    Transcripts outside the image are left out, with a warning. Raises UserError where they are more
    than a few.
    """
    reader, files, um_per_px = READERS[source.platform], source.files, source.um_per_px
    var = reader.read_panel(files)
    accounting: dict[str, int] = {}
    size_um = np.array(source.size_um)

    def checked() -> Iterator[Piece]:
        n_inside = n = 0
        low, high = np.full(2, np.inf), np.full(2, -np.inf)
        for points_um, code in reader.read_transcripts(files, um_per_px, var.index, accounting):
            inside = np.all((points_um >= 0) & (points_um <= size_um), axis=1)
            n_inside += int(inside.sum())
            n += len(code)
            if len(code):
                low = np.minimum(low, points_um.min(axis=0))
                high = np.maximum(high, points_um.max(axis=0))
            yield points_um[inside], code[inside]
        if n == 0:
            raise UserError(
                problem(
                    f"sample {source.sample}",
                    f"no transcript of a gene of quality ({accounting})",
                    "at least one",
                    "Check the platform's transcript table.",
                )
            )
        if n_inside < MIN_SHARE_IN_IMAGE * n:
            raise _outside(source, "transcripts", n_inside / n, (low, high), "um")
        if n_inside < n:
            log.warning(LEFT_OUT, source.sample, n - n_inside, n, "transcripts")
            accounting["transcripts_under_tissue"] -= n - n_inside

    facts = {
        "sample": source.sample,
        "platform": source.platform,
        "um_per_px": um_per_px,
        "accounting": accounting,
    }
    write_transcripts(checked(), var, facts, output)


def _inside(position_px: np.ndarray, source: SectionSource) -> np.ndarray:
    """Which positions (n, 2) lie in the image; nearly all of them must."""
    size_px = source.slide.width_px, source.slide.height_px
    inside = np.all((position_px >= 0) & (position_px <= size_px), axis=1)
    if inside.mean() < MIN_SHARE_IN_IMAGE:
        extent = np.nanmin(position_px, axis=0), np.nanmax(position_px, axis=0)
        raise _outside(source, "positions", inside.mean(), extent, "px")
    return inside


def _outside(
    source: SectionSource,
    what: str,
    inside: float,
    extent: tuple[np.ndarray, np.ndarray],
    length: str,
) -> UserError:
    """The error of positions outside the image; `extent` is in `length`, um or px."""
    um_per_length = 1.0 if length == "um" else source.um_per_px
    size = np.array(source.size_um) / um_per_length
    remedy = "Give the full-resolution image that the platform's software was run with."
    extent_px = np.array(extent) * um_per_length / source.um_per_px
    if "alignment" in source.files and _lies_inverted(extent_px, source):
        remedy = (
            f"They would lie inside if {source.files['alignment']} were inverted: it must map "
            "pixels of the image to the platform's frame."
        )
    return UserError(
        problem(
            f"sample {source.sample}",
            f"{inside:.0%} of the {what} inside the image of {size[0]:g} x {size[1]:g} {length}"
            f" ({what} reach from {extent[0].round()} to {extent[1].round()})",
            f"at least {MIN_SHARE_IN_IMAGE:.0%} of them inside",
            remedy,
        )
    )


def _lies_inverted(extent_px: np.ndarray, source: SectionSource) -> bool:
    """Whether a rectangle (2, 2) of the image would lie in it by the inverse of its alignment.

    The alignment was inverted to come here; applied twice it leads where its inverse would.
    """
    (x_low, y_low), (x_high, y_high) = extent_px
    x, y = np.meshgrid(np.linspace(x_low, x_high, 21), np.linspace(y_low, y_high, 21))
    twice = np.linalg.matrix_power(read_alignment(source.files["alignment"]), 2)
    there = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1) @ twice[:2].T
    size_px = source.slide.width_px, source.slide.height_px
    inside = np.all((there >= 0) & (there <= size_px), axis=1)
    return bool(inside.mean() >= MIN_SHARE_IN_IMAGE)
