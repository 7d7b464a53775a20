"""Count matrices in the HDF5 layouts of 10x Genomics: v2 (one group a genome) and v3 (`matrix`)."""

import logging
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from histoscribe.errors import UserError, problem

LOG = logging.getLogger(__name__)
GENES = "Gene Expression"  # the feature type of genes, beside controls and antibodies


@dataclass(frozen=True)
class TenxMatrix:
    """Raw `counts` (n_barcodes, n_genes) int32, `barcodes` as Arrow text, `var` with gene_id."""

    counts: sparse.csr_matrix
    barcodes: pa.Array
    var: pd.DataFrame


def read_10x_matrix(path: Path) -> TenxMatrix:
    """Read raw counts of genes; other features are left out, and logged.

    Symbols become unique by suffixes. Raises UserError for damaged files and other layouts.
    """
    try:
        with h5py.File(path) as file:
            group = _matrix_group(file, path)
            features = _features(group)
            counts = _counts(group)
            barcodes = _text(group["barcodes"])
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            problem(
                str(path),
                f"an unreadable matrix ({type(error).__name__}: {error})",
                "a whole 10x HDF5 matrix",
                "The file is truncated or of another kind; copy it again.",
            )
        ) from error
    is_gene = (features["kind"] == GENES).to_numpy()
    if not is_gene.all():
        LOG.info("%s: left out %s", path, features["kind"][~is_gene].value_counts().to_dict())
        features, counts = features[is_gene], counts[:, np.flatnonzero(is_gene)]
    return TenxMatrix(counts, barcodes, unique_genes(features["name"], features["gene_id"]))


def read_10x_panel(path: Path) -> pd.DataFrame:
    """The genes of a 10x matrix, `var` alone. Raises UserError as `read_10x_matrix`."""
    try:
        with h5py.File(path) as file:
            features = _features(_matrix_group(file, path))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            problem(str(path), f"no readable features ({error})", "a 10x matrix", "Copy it again.")
        ) from error
    genes = features[features["kind"] == GENES]
    return unique_genes(genes["name"], genes["gene_id"])


def unique_genes(names: pd.Series, gene_ids: pd.Series) -> pd.DataFrame:
    """`var`: unique symbols as index, `gene_id` as column."""
    from anndata.utils import make_index_unique

    index = make_index_unique(pd.Index(names.to_numpy(dtype=object)))
    return pd.DataFrame({"gene_id": gene_ids.to_numpy(dtype=object)}, index=index)


def _matrix_group(file: h5py.File, path: Path) -> h5py.Group:
    if "matrix" in file:
        return file["matrix"]
    groups = [name for name, item in file.items() if isinstance(item, h5py.Group)]
    if len(groups) != 1:
        raise UserError(
            problem(
                str(path),
                "the groups " + (", ".join(groups) or "of nothing"),
                "matrix, or one genome",
                "Give the matrix of one genome, as Space Ranger writes it.",
            )
        )
    return file[groups[0]]


def _features(group: h5py.Group) -> pd.DataFrame:
    """name, gene_id and kind of each feature; version 2 knows only genes."""
    if "features" not in group:
        names, ids = _text(group["gene_names"]), _text(group["genes"])
        return pd.DataFrame({"name": names.to_pandas(), "gene_id": ids.to_pandas(), "kind": GENES})
    columns = {"name": "name", "gene_id": "id", "kind": "feature_type"}
    return pd.DataFrame(
        {name: _text(group["features"][key]).to_pandas() for name, key in columns.items()}
    )


def _counts(group: h5py.Group) -> sparse.csr_matrix:
    """Stored by barcode, which is CSR for barcodes x features; HDF5 converts as it reads."""
    n_features, n_barcodes = (int(n) for n in group["shape"][:])
    data = _whole_numbers(group["data"])
    indices = group["indices"].astype(np.int32)[:]
    wide = len(data) > np.iinfo(np.int32).max
    indptr = group["indptr"].astype(np.int64 if wide else np.int32)[:]
    counts = sparse.csr_matrix((data, indices, indptr), shape=(n_barcodes, n_features), copy=False)
    counts.check_format(full_check=True)
    return counts


def _whole_numbers(dataset: h5py.Dataset) -> np.ndarray:
    """Values as int32, converted by HDF5 as it reads where they are stored as integers."""
    values = (dataset.astype(np.int32) if dataset.dtype.kind in "iu" else dataset)[:]
    counts = values.astype(np.int32, copy=False)
    if len(counts) and (counts.min() < 0 or not np.array_equal(counts, values)):
        wrong = values[(values < 0) | (counts != values)]
        raise ValueError(f"not raw counts: {wrong[0]:g} and {len(wrong) - 1} more such values")
    return counts


def _text(dataset: h5py.Dataset) -> pa.Array:
    """Byte strings as Arrow text, which takes a third of the memory of Python's."""
    values = dataset[:]
    if values.dtype.kind == "O":
        values = values.astype("S")
    return pa.array(values, type=pa.binary()).cast(pa.string())
