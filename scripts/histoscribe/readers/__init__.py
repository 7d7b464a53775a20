"""Readers: one module a platform, all with one contract.

`read(files) -> AnnData` with raw integer counts (CSR, bins or spots x genes), unique gene symbols
as `var_names`, the platform's ids in `var["gene_id"]`, and positions in full-resolution pixels of
the section's image in `obsm["spatial_px"]` (x right, y down). `um_per_px(files)` is the resolution
that the platform's own files state, or None. `shape` is the form of one measured unit.
`open_section` opens what the sheet names; `read_section` turns it into the contract of
`measured.h5ad`: `obsm["spatial"]` in um.
Platforms that measure single molecules have `read_panel` and `read_transcripts` in place of `read`,
which `write_transcript_section` turns into `transcripts.parquet`.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import anndata as ad
import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.image import Slide, open_slide
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.readers import legacy_st, visium, visium_hd, xenium
from histoscribe.readers.transcript_table import Piece, write_transcripts
from histoscribe.units import px_to_um, settle_um_per_px

READERS: dict[str, ModuleType] = {
    "visium_hd": visium_hd,
    "visium": visium,
    "legacy_st": legacy_st,
    "xenium": xenium,
}
# An image shrunken to 0.8 still holds two thirds; in whole images all positions lie inside.
MIN_SHARE_IN_IMAGE = 0.95
LEFT_OUT = "%s: %d of %d %s lie outside the image and are left out; was it cropped?"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SectionSource:
    """A section as it came: its open image, its platform's files by role, and its resolution."""

    sample: str
    platform: str
    files: dict[str, Path]
    slide: Slide
    um_per_px: float

    @property
    def size_um(self) -> tuple[float, float]:
        """Width and height of the image."""
        return self.slide.width_px * self.um_per_px, self.slide.height_px * self.um_per_px


def open_section(
    sample: str, platform: str, image: Path, files: Mapping[str, Path], um_per_px: float | None
) -> SectionSource:
    """Open a section of the sheet; `um_per_px` is what the sheet says, or None.

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
    return SectionSource(sample, platform, files, slide, settled)


def read_section(source: SectionSource) -> ad.AnnData:
    """The measured section: raw counts, `obsm["spatial"]` in um, facts in `uns["histoscribe"]`.

    Positions outside the image are left out, with a warning. Raises UserError where they are more
    than a few.
    """
    reader = READERS[source.platform]
    adata, unit_size_um = reader.read(source.files)
    size_px = (source.slide.width_px, source.slide.height_px)
    inside = _inside(adata.obsm["spatial_px"], size_px, source.sample)
    if not inside.all():
        n_outside = int((~inside).sum())
        log.warning(LEFT_OUT, source.sample, n_outside, len(inside), "positions")
        adata = adata[inside].copy()
    adata.obsm["spatial"] = px_to_um(adata.obsm.pop("spatial_px"), source.um_per_px)
    adata.uns[RECORD_KEY] = record(
        sample=source.sample,
        platform=source.platform,
        unit_shape=reader.SHAPE,
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
            raise _outside(source.sample, "transcripts", n_inside / n, (low, high), size_um, "um")
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


def _inside(position_px: np.ndarray, size_px: tuple[int, int], sample: str) -> np.ndarray:
    """Which positions (n, 2) lie in the image; nearly all of them must."""
    inside = np.all((position_px >= 0) & (position_px <= np.asarray(size_px)), axis=1)
    if inside.mean() < MIN_SHARE_IN_IMAGE:
        extent = position_px.min(axis=0), position_px.max(axis=0)
        raise _outside(sample, "positions", inside.mean(), extent, np.asarray(size_px), "px")
    return inside


def _outside(
    sample: str,
    what: str,
    inside: float,
    extent: tuple[np.ndarray, np.ndarray],
    size: np.ndarray,
    length: str,
) -> UserError:
    return UserError(
        problem(
            f"sample {sample}",
            f"{inside:.0%} of the {what} inside the image of {size[0]:g} x {size[1]:g} {length}"
            f" ({what} reach from {extent[0].round()} to {extent[1].round()})",
            f"at least {MIN_SHARE_IN_IMAGE:.0%} of them inside",
            "Give the full-resolution image that the platform's software was run with.",
        )
    )
