"""Count matrices as 10x Genomics writes them in text: matrix.mtx, barcodes.tsv, features.tsv."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import io, sparse

from histoscribe.errors import UserError, problem
from histoscribe.readers.hdf5_10x import GENES, TenxMatrix, unique_genes

LOG = logging.getLogger(__name__)
FEATURE_COLUMNS = ("gene_id", "name", "kind")  # genes.tsv, of older software, has the first two


def read_mtx_matrix(matrix: Path, barcodes: Path, features: Path) -> TenxMatrix:
    """Read raw counts of genes; other features are left out, and logged.

    Symbols become unique by suffixes. Raises UserError for damaged files, for tables of other
    lengths than the matrix, and for other than raw counts.
    """
    try:
        counts = sparse.csr_matrix(io.mmread(matrix, spmatrix=False).T)
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise UserError(
            problem(
                str(matrix), f"an unreadable matrix ({error})", "Matrix Market", "Copy it again."
            )
        ) from error
    names = _table(barcodes)[0].astype(str)
    table = _table(features)
    table = table[table.columns[:3]].rename(columns=dict(enumerate(FEATURE_COLUMNS)))
    if counts.shape != (len(names), len(table)) or "name" not in table:
        raise UserError(
            problem(
                str(matrix),
                f"{counts.shape[1]} features x {counts.shape[0]} barcodes, beside {len(table)} "
                f"rows of {table.shape[1]} columns in {features.name} and {len(names)} in "
                f"{barcodes.name}",
                "as many rows as the matrix has features and barcodes; ids and symbols of features",
                "Take the three files from one folder of one section.",
            )
        )
    whole = counts.astype(np.int32)
    if (whole.data < 0).any() or not np.array_equal(whole.data, counts.data):
        raise UserError(
            problem(str(matrix), "fractions or negatives", "raw counts", "Use raw counts.")
        )
    kind = table["kind"] if "kind" in table else pd.Series(GENES, index=table.index)
    is_gene = (kind == GENES).to_numpy()
    if not is_gene.all():
        LOG.info("%s: left out %s", features, kind[~is_gene].value_counts().to_dict())
        table, whole = table[is_gene], whole[:, np.flatnonzero(is_gene)]
    return TenxMatrix(whole, pa.array(names), unique_genes(table["name"], table["gene_id"]))


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(
            problem(
                str(path), f"an unreadable table ({error})", "tab-separated text", "Copy it again."
            )
        ) from error
