"""Xenium as Xenium Onboard Analysis writes it: decoded transcripts with positions of their own.

Positions are um in the frame of the Xenium morphology image. An H&E image of the same section
comes with an alignment file from Xenium Explorer (`*imagealignment.csv`), a 3 x 3 matrix that maps
H&E pixels to morphology pixels.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from histoscribe.errors import UserError, problem
from histoscribe.readers.hdf5_10x import read_10x_panel, unique_genes
from histoscribe.readers.image_alignment import read_alignment, stretch
from histoscribe.readers.transcript_table import ROWS_AT_ONCE, Piece

LOG = logging.getLogger(__name__)
MIN_QV = 20.0  # Phred-scaled; the threshold of Xenium Onboard Analysis for its own counts
UM_PER_MORPHOLOGY_PX = 0.2125
# Names of what is no gene, in tables older than the column is_gene.
CONTROL_PREFIXES = (
    "antisense_",
    "BLANK_",
    "DeprecatedCodeword_",
    "Intergenic_Region_",
    "NegControl",
    "UnassignedCodeword_",
)
COLUMNS = ("x_location", "y_location", "feature_name", "qv")


def um_per_px(files: dict[str, Path]) -> float | None:
    """Resolution of the H&E image by its alignment to the morphology image; None without one."""
    if "alignment" not in files:
        return None
    per_px = stretch(read_alignment(files["alignment"]))
    return per_px * _um_per_morphology_px(files["experiment"])


def um_to_image(files: dict[str, Path], um_per_px: float) -> np.ndarray:
    """The affine map (3, 3) from Xenium's um to um of an H&E image of `um_per_px`.

    Holds for transcripts and for cell and nucleus boundaries. Without an alignment file it is the
    identity: the image is taken to be in Xenium's frame, with a warning. Raises UserError for an
    alignment that is no invertible affine map.
    """
    if "alignment" not in files:
        LOG.warning(
            "%s has no *imagealignment.csv: the image is taken to lie in Xenium's own frame; "
            "align the H&E in Xenium Explorer and put the exported file into the folder",
            files["transcripts"].parent,
        )
        return np.eye(3)
    to_morphology_px = np.diag([1, 1, _um_per_morphology_px(files["experiment"])])
    to_image_px = np.linalg.inv(read_alignment(files["alignment"])) @ to_morphology_px
    to_image_px /= to_image_px[2, 2]
    return np.diag([um_per_px, um_per_px, 1.0]) @ to_image_px


def read_panel(files: dict[str, Path]) -> pd.DataFrame:
    """The panel's genes as `var` with gene_id, by the count matrix or else by the transcripts."""
    if "panel" in files:
        return read_10x_panel(files["panel"])
    names: set[str] = set()
    for table in _batches(files["transcripts"]):
        names.update(pc.unique(table["feature_name"].filter(_is_gene(table))).to_pylist())
    genes = pd.Series(sorted(names), dtype=object)
    return unique_genes(genes, genes)


def read_transcripts(
    files: dict[str, Path], um_per_px: float, genes: pd.Index, accounting: dict[str, int]
) -> Iterator[Piece]:
    """Positions (n, 2) in um of the image and codes in `genes` of transcripts, piece by piece.

    Keeps transcripts of genes with a quality of at least Q20 and adds to `accounting` how many
    there were. Raises UserError for damaged tables.
    """
    to_image = um_to_image(files, um_per_px)
    known = pa.array(list(genes), pa.string())
    accounting |= {
        key: accounting.get(key, 0)
        for key in ("transcripts_decoded", "transcripts_of_genes", "transcripts_under_tissue")
    }
    for table in _batches(files["transcripts"]):
        of_genes = table.filter(_is_gene(table))
        kept = of_genes.filter(pc.greater_equal(of_genes["qv"], MIN_QV))
        code = pc.index_in(kept["feature_name"], value_set=known)
        if code.null_count:
            stranger = kept["feature_name"].filter(code.is_null())[0]
            raise UserError(
                problem(
                    str(files["transcripts"]),
                    f"transcripts of {stranger}",
                    f"genes of the panel in {files.get('panel', 'the table')} only",
                    "Take both files from the same run.",
                )
            )
        accounting["transcripts_decoded"] += len(table)
        accounting["transcripts_of_genes"] += len(of_genes)
        accounting["transcripts_under_tissue"] += len(kept)
        position = np.column_stack(
            [kept[axis].to_numpy().astype(np.float64) for axis in COLUMNS[:2]]
        )
        yield position @ to_image[:2, :2].T + to_image[:2, 2], code.to_numpy()


def _batches(path: Path) -> Iterator[pa.Table]:
    """The table's wanted columns, piece by piece, names as text (bytes in old tables)."""
    try:
        file = pq.ParquetFile(path, pre_buffer=False)
        absent = [column for column in COLUMNS if column not in file.schema_arrow.names]
        if absent:
            raise UserError(
                problem(
                    str(path),
                    f"the columns {', '.join(file.schema_arrow.names)}",
                    "also " + ", ".join(absent),
                    "Use the transcripts.parquet of Xenium Onboard Analysis.",
                )
            )
        columns = [c for c in (*COLUMNS, "is_gene") if c in file.schema_arrow.names]
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
            table = pa.Table.from_batches([batch])
            names = table["feature_name"].cast(pa.string())
            yield table.set_column(columns.index("feature_name"), "feature_name", names)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            problem(
                str(path), f"an unreadable table ({error})", "a parquet table", "Copy it again."
            )
        ) from error


def _is_gene(table: pa.Table) -> pa.ChunkedArray:
    if "is_gene" in table.column_names:
        return table["is_gene"]
    controls = "^(" + "|".join(CONTROL_PREFIXES) + ")"
    return pc.invert(pc.match_substring_regex(table["feature_name"], controls))


def _um_per_morphology_px(path: Path) -> float:
    try:
        return float(json.loads(path.read_text()).get("pixel_size", UM_PER_MORPHOLOGY_PX))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            problem(str(path), f"an unreadable file ({error})", "JSON", "Copy it again.")
        ) from error
