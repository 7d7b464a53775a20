"""A section's measured and predicted expression, unit by unit, read gene by gene."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.errors import UserError, problem
from histoscribe.evaluation.stored import open_h5ad, read_columns, read_rows
from histoscribe.expression import target_total, targets
from histoscribe.provenance import recall
from histoscribe.splits import TEST, units_in_role
from histoscribe.storage import read_h5ad

CALLED_ABOVE = 0.5  # probability above which a gene is called expressed, as in the paper
DEPTH_PERCENTILE = 25  # of molecules: the depth at which numbers of genes are compared


@dataclass(frozen=True)
class SideBySide:
    """The drawn units of a section, raw counts as measured; their prediction stays in its file.

    `prediction` has all units of the section, of which `rows` (n_units,) are drawn; `whole_umi`
    are the molecules of all units. Counts are scaled, and numbers of genes compared, as the whole
    section is, so that parts of it can be laid side by side; scores are of the tested part alone.
    """

    units: ad.AnnData
    prediction: ad.AnnData
    rows: np.ndarray
    whole_umi: np.ndarray

    @property
    def total(self) -> float:
        """The total that counts are scaled to."""
        return target_total(self.whole_umi, recall(self.prediction.uns)["target_sum"])

    @property
    def depth(self) -> float:
        """The molecules at which numbers of genes are compared: the section's lower quartile."""
        umi = self.whole_umi
        return max(float(np.percentile(umi[umi > 0], DEPTH_PERCENTILE)), 1.0)

    @property
    def predicted_genes(self) -> list[str]:
        return self.prediction.var_names.tolist()

    @property
    def shared_genes(self) -> list[str]:
        """Genes both predicted and measured, in the order of the prediction."""
        measured = set(self.units.var_names)
        return [gene for gene in self.prediction.var_names if gene in measured]

    def measured(self, genes: list[str]) -> pd.DataFrame:
        """log1p of normalised counts, (n_units, n_genes)."""
        return pd.DataFrame(targets(self.units, genes, self.total), columns=genes)

    def predicted(self, genes: list[str]) -> pd.DataFrame:
        """Predicted log1p values, (n_units, n_genes)."""
        places = self.prediction.var_names.get_indexer(genes)
        order = np.argsort(places)
        values = read_columns(self.prediction.X, places[order])[self.rows]
        return pd.DataFrame(values[:, np.argsort(order)], columns=genes)


@contextmanager
def open_side_by_side(units: Path, predicted: Path, blocks: dict | None) -> Iterator[SideBySide]:
    """Open both files; where `blocks` cut the section, only its tested units are drawn.

    Raises UserError where the files are not of the same units.
    """
    whole = read_h5ad(units)
    drawn = units_in_role(whole, blocks, TEST)
    with open_h5ad(predicted) as prediction:
        if not prediction.obs_names.equals(whole.obs_names):
            raise UserError(
                problem(
                    str(predicted),
                    f"{prediction.n_obs} units other than the {whole.n_obs} of {units}",
                    "a prediction of these units",
                    "Delete it and run again.",
                )
            )
        rows = np.asarray(whole.obs_names.isin(drawn.obs_names))
        yield SideBySide(drawn, prediction, rows, whole.obs["umi"].to_numpy())


def unit_sums(section: SideBySide) -> pd.DataFrame:
    """Totals and numbers of genes of each unit, measured and predicted, over the shared genes.

    umi: all molecules measured, of any gene. measured_total, predicted_total: sums over the shared
    genes of expm1 of log1p values, thus normalised counts. counted_genes: genes with a count above
    0; called_genes: with a probability above 0.5.

    A deeper unit shows more genes, and a prediction knows no unit's depth, so numbers of genes are
    compared at one `depth` in molecules. measured_genes: those expected if each molecule were
    counted with probability depth / umi (rarefaction); NaN in units of fewer molecules.
    predicted_genes: the sum of probabilities, taken from the common total T to that depth as for
    Poisson counts, 1 - (1 - p)^(depth / T).
    """
    depth = section.depth
    genes = section.shared_genes
    counts = sparse.csr_matrix(section.units[:, genes].X, dtype=np.float64)
    umi = section.units.obs["umi"].to_numpy()
    measured = np.asarray(counts.sum(axis=1)).ravel() / np.maximum(umi, 1) * section.total
    columns = section.prediction.var_names.get_indexer(genes)
    levels = _row_sums(section.prediction.X, columns, np.expm1)
    probability = section.prediction.layers["probability"]
    expected = _row_sums(probability, columns, partial(_at_depth, share=depth / section.total))
    called = _row_sums(probability, columns, lambda p: p > CALLED_ABOVE)
    return pd.DataFrame(
        {
            "umi": umi,
            "measured_total": measured,
            "predicted_total": levels[section.rows],
            "counted_genes": counts.getnnz(axis=1),
            "called_genes": called[section.rows].astype(int),
            "measured_genes": _rarefied(counts, umi, depth),
            "predicted_genes": expected[section.rows],
        }
    )


def _at_depth(probability: np.ndarray, share: float) -> np.ndarray:
    """Probabilities of a count at another depth, a `share` of that at which they hold."""
    return 1 - np.power(1 - np.clip(probability, 0, 1), share, dtype=np.float64)


def _rarefied(counts: sparse.csr_matrix, umi: np.ndarray, depth: float) -> np.ndarray:
    """Genes expected where each molecule is counted with probability depth / umi."""
    share = np.minimum(depth / np.maximum(umi, 1), 1.0)
    seen = counts.copy()
    seen.data = 1 - np.power(1 - np.repeat(share, np.diff(counts.indptr)), counts.data)
    return np.where(umi >= depth, np.asarray(seen.sum(axis=1)).ravel(), np.nan)


def _row_sums(
    matrix: np.ndarray, columns: np.ndarray, change: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Sums over the changed values of the columns, (n_units,), read part by part."""
    parts = [change(part).sum(axis=1, dtype=np.float64) for part in read_rows(matrix, columns)]
    return np.concatenate(parts)
