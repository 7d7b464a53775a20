"""Expression as models see it: log1p of counts scaled to a common total."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from histoscribe.errors import UserError, problem

if TYPE_CHECKING:
    import anndata as ad


def target_total(umi: np.ndarray, target_sum: float | str) -> float:
    """The total that counts are scaled to: a number, or the section's median ("median")."""
    return float(np.median(umi[umi > 0])) if target_sum == "median" else float(target_sum)


def log_normalise(
    counts: sparse.csr_matrix, umi: np.ndarray, target_sum: float | str
) -> np.ndarray:
    """log1p(count / umi * total), dense float32 (n_units, n_genes).

    `umi` (n_units,) is each unit's total over all genes measured, also those not in `counts`.
    """
    scale = target_total(umi, target_sum) / np.maximum(umi, 1)
    dense = np.asarray(counts.todense() if sparse.issparse(counts) else counts, dtype=np.float32)
    return np.log1p(dense * scale[:, None].astype(np.float32))


def log_normalised(units: ad.AnnData, target_sum: float | str) -> ad.AnnData:
    """log1p of counts scaled to a common total, all genes, sparse float32 (n_units, n_genes)."""
    import anndata as ad

    umi = units.obs["umi"].to_numpy(dtype=np.float64)
    scale = target_total(umi, target_sum) / np.maximum(umi, 1)
    values = sparse.csr_matrix(units.X).astype(np.float32)
    values.data *= np.repeat(scale, np.diff(values.indptr)).astype(np.float32)
    np.log1p(values.data, out=values.data)
    return ad.AnnData(values, obs=units.obs[[]], var=units.var[[]])


def targets(units: ad.AnnData, genes: list[str], target_sum: float | str) -> np.ndarray:
    """Normalised expression of `genes` in `units`, (n_units, n_genes) float32.

    Raises UserError for genes that the section lacks.
    """
    rows = units.var_names.get_indexer(genes)
    if (rows < 0).any():
        absent = [gene for gene, row in zip(genes, rows, strict=True) if row < 0]
        raise UserError(
            problem(
                "units",
                f"no counts for {len(absent)} of {len(genes)} genes (such as {absent[0]})",
                "every gene of the panel",
                "Use sections measured with the same panel.",
            )
        )
    return log_normalise(units.X[:, rows], units.obs["umi"].to_numpy(), target_sum)


def exposures(units: ad.AnnData, target_sum: float | str) -> np.ndarray:
    """Molecules of each unit over the total that its counts are scaled to, (n_units,) float32.

    A count is expm1 of the normalised expression times this.
    """
    umi = np.maximum(units.obs["umi"].to_numpy(), 1)
    return (umi / target_total(umi, target_sum)).astype(np.float32)
