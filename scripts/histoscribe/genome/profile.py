"""Expression along the genome beside that of normal cells, as infercnvpy tells it."""

import logging
import sys
import types
import warnings
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.errors import UserError, problem

LOG = logging.getLogger(__name__)
SEX_AND_MITOCHONDRIAL = ("chrX", "chrY", "chrZ", "chrW", "chrM")
LEAST_REFERENCE = 20  # units: the mean of fewer is astray, and widens what the kinds span
VALUES_AT_ONCE = 2e7  # that infercnvpy turns dense at once


@dataclass(frozen=True)
class CopyProfile:
    """Smoothed log fold changes (n_units, n_windows) beside normal cells, and where windows lie.

    `windows` has chromosome, start, end (bp) and n_genes of each.
    """

    values: np.ndarray
    windows: pd.DataFrame


def copy_profile(
    counts: sparse.csr_matrix,
    kind: np.ndarray,
    reference: list[str],
    places: pd.DataFrame,
    window_genes: int,
    target_sum: float,
) -> CopyProfile:
    """Profile of units from (pooled) `counts` (n_units, n_genes), by infercnvpy.

    `kind` (n_units,) says which units are of the `reference` kinds; `places` has chromosome, start
    and end of each gene, in order along the genome. Values are log1p of counts scaled to
    `target_sum`, less what reference kinds of 20 units or more span, clipped at 3, averaged over
    `window_genes` (pyramidal weights) and less each unit's median (Tirosh et al., Science 2016;
    infercnvpy).
    """
    total = np.asarray(counts.sum(axis=1)).ravel()
    scaled = sparse.diags(target_sum / np.maximum(total, 1)) @ counts
    scaled = sparse.csr_matrix(scaled, dtype=np.float32)
    np.log1p(scaled.data, out=scaled.data)
    values = ad.AnnData(scaled, var=places)
    kind, spanned = _spanned(kind, reference)
    values.obs["kind"] = pd.Categorical(kind)
    step = max(window_genes // 10, 1)
    _, smoothed, _ = infercnv()(
        values,
        reference_key="kind",
        reference_cat=spanned,
        window_size=window_genes,
        step=step,
        dynamic_threshold=None,
        exclude_chromosomes=None,
        chunksize=max(int(VALUES_AT_ONCE // max(counts.shape[1], 1)), 100),
        n_jobs=1,
        inplace=False,
    )
    windows = window_places(places, window_genes, step)
    return CopyProfile(np.asarray(smoothed.toarray(), dtype=np.float32), windows)


def _spanned(kind: np.ndarray, reference: list[str]) -> tuple[np.ndarray, list[str]]:
    """Kinds, and those of `reference` with units enough; all of these as one where none has."""
    many = [name for name in reference if (kind == name).sum() >= LEAST_REFERENCE]
    if many:
        few = [name for name in reference if name not in many and name in kind]
        if few:
            LOG.warning("%s: fewer than %d units, which do not say what is normal along the genome",
                        ", ".join(few), LEAST_REFERENCE)  # fmt: skip
        return kind, many
    return np.where(np.isin(kind, reference), "normal", "other"), ["normal"]


def window_places(places: pd.DataFrame, window_genes: int, step: int) -> pd.DataFrame:
    """Chromosome, start, end and n_genes of each window that infercnvpy averages over."""
    rows = []
    for chromosome, genes in places.groupby("chromosome", sort=False):
        n = min(window_genes, len(genes))
        for first in range(0, len(genes) - n + 1, step):
            of = genes.iloc[first : first + n]
            rows.append((chromosome, of["start"].min(), of["end"].max(), n))
    return pd.DataFrame(rows, columns=["chromosome", "start", "end", "n_genes"])


def infercnv():
    """The function `infercnv` of infercnvpy.

    The package imports pyreadr (AGPL) for a file format that is not read here: it is neither
    installed nor needed.
    """
    absent = object()
    kept = sys.modules.get("pyreadr", absent)
    if kept is absent:
        sys.modules["pyreadr"] = types.ModuleType("pyreadr")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from infercnvpy.tl import infercnv as function
    except ImportError as error:
        raise UserError(
            problem(
                "infercnvpy",
                f"it can't be imported ({error})",
                "the version of envs/constraints.txt",
                "pip install --no-deps -c envs/constraints.txt -r envs/without-dependencies.in",
            )
        ) from error
    finally:
        if kept is absent:
            del sys.modules["pyreadr"]
    return function
