"""Transcript tables: `transcripts.parquet`, one form for all platforms.

Columns x_um, y_um (float32, image frame) and gene (dictionary of the whole panel). The file's
metadata hold the genes' ids and the facts of the section, as JSON.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from histoscribe.errors import UserError, problem
from histoscribe.storage import written_whole

ROWS_AT_ONCE = 2_000_000
METADATA_KEY = b"histoscribe"
SCHEMA = pa.schema(
    {
        "x_um": pa.float32(),
        "y_um": pa.float32(),
        "gene": pa.dictionary(pa.int32(), pa.string()),
    }
)
Piece = tuple[np.ndarray, np.ndarray]  # positions (n, 2) in um, gene codes (n,)


@dataclass(frozen=True)
class TranscriptTable:
    """A transcript table on disk: `var` describes the genes, `facts` the section."""

    path: Path
    var: pd.DataFrame
    facts: dict

    @property
    def genes(self) -> list[str]:
        return list(self.var.index)

    def pieces(self) -> Iterator[Piece]:
        """Positions (n, 2) in um and gene codes (n,), piece by piece."""
        genes = pa.array(self.genes, pa.string())
        for batch in pq.ParquetFile(self.path, pre_buffer=False).iter_batches(ROWS_AT_ONCE):
            gene = batch.column("gene")
            code = pc.index_in(gene.dictionary.cast(pa.string()), value_set=genes).to_numpy(False)
            points = np.column_stack([batch.column("x_um"), batch.column("y_um")])
            yield points, code[gene.indices.to_numpy(False)]


def open_transcripts(path: Path) -> TranscriptTable:
    """Open a transcript table. Raises UserError where it is damaged or of another kind."""
    try:
        content = json.loads(pq.read_metadata(path).metadata[METADATA_KEY])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise UserError(
            problem(
                str(path),
                f"an unreadable transcript table ({error})",
                "a table that ingest_transcripts wrote",
                "Delete it.",
            )
        ) from error
    var = pd.DataFrame({"gene_id": content["gene_ids"]}, index=content["genes"])
    return TranscriptTable(path, var, content["facts"])


def write_transcripts(pieces: Iterator[Piece], var: pd.DataFrame, facts: dict, path: Path) -> None:
    """Write a transcript table in one piece.

    `var` lists the panel with gene_id; codes in `pieces` are places in it. `facts` are read after
    the last piece, so that they may hold sums over all of them.
    """
    genes = pa.array(list(var.index), pa.string())
    with written_whole(path) as partial, pq.ParquetWriter(partial, SCHEMA, compression="zstd") as f:
        for points_um, code in pieces:
            gene = pa.DictionaryArray.from_arrays(pa.array(code, pa.int32()), genes)
            x_um, y_um = points_um.T.astype(np.float32)
            f.write_table(pa.table([x_um, y_um, gene], schema=SCHEMA))
        content = {"genes": list(var.index), "gene_ids": list(var["gene_id"]), "facts": facts}
        f.add_key_value_metadata({METADATA_KEY: json.dumps(content)})
