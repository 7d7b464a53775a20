"""Predictions left in their file, of which a part of the genes or units is read at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata as ad
import h5py
import numpy as np

from histoscribe.errors import UserError, problem

UNITS_AT_ONCE = 16_384


@contextmanager
def open_h5ad(path: str | Path) -> Iterator[ad.AnnData]:
    """An AnnData file whose dense X and layers stay in the file and are read where indexed.

    Only what annotates units and genes is loaded. Raises UserError where the file is damaged.
    """
    try:
        file = h5py.File(path)
    except OSError as error:
        raise unreadable(path, error) from error
    with file:
        try:
            annotation = {
                name: ad.io.read_elem(file[name]) for name in ("obs", "var", "uns", "obsm", "varm")
            }
            adata = ad.AnnData(file["X"], layers=dict(file["layers"]), **annotation)
        except (OSError, KeyError, ValueError) as error:
            raise unreadable(path, error) from error
        yield adata


def unreadable(path: str | Path, error: Exception) -> UserError:
    """What to say of a damaged file."""
    said = problem(str(path), f"an unreadable file ({error})", "an .h5ad file", "Delete it.")
    return UserError(said)


def read_columns(matrix: np.ndarray | h5py.Dataset, columns: np.ndarray) -> np.ndarray:
    """Ascending `columns` of all units; files read ranges much faster than lists."""
    first = columns[0]
    return np.asarray(matrix[:, first : columns[-1] + 1])[:, columns - first]


def read_rows(matrix: np.ndarray | h5py.Dataset, columns: np.ndarray) -> Iterator[np.ndarray]:
    """All units in parts, of the given columns only."""
    for start in range(0, matrix.shape[0], UNITS_AT_ONCE):
        yield np.asarray(matrix[start : start + UNITS_AT_ONCE])[:, columns]
