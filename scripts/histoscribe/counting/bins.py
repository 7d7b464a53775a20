"""Bins as counting needs them: without their names, which are most of the memory of 2 um bins."""

from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.errors import UserError, problem
from histoscribe.provenance import RECORD_KEY, recall


@dataclass(frozen=True)
class Bins:
    """Raw `counts` (n_bins, n_genes), array positions and centres (n_bins, 2) in um.

    `var` describes the genes; `facts` are those of the measured section.
    """

    counts: sparse.csr_matrix
    row: np.ndarray
    column: np.ndarray
    centre_um: np.ndarray
    var: pd.DataFrame
    facts: dict


def bins_of(measured: ad.AnnData) -> Bins:
    """The bins of a measured section."""
    return Bins(
        measured.X,
        measured.obs["array_row"].to_numpy(),
        measured.obs["array_col"].to_numpy(),
        np.asarray(measured.obsm["spatial"]),
        measured.var,
        recall(measured.uns),
    )


def read_bins(path: Path) -> Bins:
    """The bins of a `measured.h5ad`. Raises UserError where it is damaged."""
    try:
        with h5py.File(path) as file:
            return Bins(
                ad.io.read_elem(file["X"]),
                file["obs/array_row"][:],
                file["obs/array_col"][:],
                file["obsm/spatial"][:],
                ad.io.read_elem(file["var"]),
                recall({RECORD_KEY: ad.io.read_elem(file["uns"][RECORD_KEY])}),
            )
    except (OSError, KeyError) as error:
        raise UserError(
            problem(str(path), f"an unreadable file ({error})", "an .h5ad file", "Delete it.")
        ) from error
