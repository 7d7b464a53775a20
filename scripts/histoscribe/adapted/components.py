"""Leading components of expression: what the networks learn to foretell.

Thousands of sparse genes share a few dozen patterns that tissue shows; the principal components of
the well-measured genes hold them with far less noise than single genes, and do not depend on which
genes an experiment predicts.
"""

from dataclasses import dataclass

import anndata as ad
import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.expression import target_total, targets

UNITS_AT_ONCE = 8192
MIN_SPREAD = 1e-6


@dataclass(frozen=True)
class Components:
    """Principal axes of standardised log1p expression: `axes` (n_genes, n_components)."""

    genes: list[str]
    mean: np.ndarray
    spread: np.ndarray
    axes: np.ndarray
    target_sum: float | str

    def of(self, units: ad.AnnData) -> np.ndarray:
        """Scores of units, (n_units, n_components) float32, in a scale where the first has SD 1."""
        scores = np.empty((units.n_obs, self.axes.shape[1]), dtype=np.float32)
        for part, values in _parts(units, self.genes, self.target_sum):
            scores[part] = (values - self.mean) / self.spread @ self.axes
        return scores


def fit_components(
    sections: list[ad.AnnData], n_genes: int, n_components: int, target_sum: float | str
) -> Components:
    """Components of the `n_genes` genes with most molecules that all sections measured."""
    genes = _most_measured(sections, n_genes)
    n, total, products = 0, np.zeros(len(genes)), np.zeros((len(genes), len(genes)))
    for units in sections:
        for _, values in _parts(units, genes, target_sum):
            n += len(values)
            total += values.sum(axis=0, dtype=np.float64)
            products += values.T.astype(np.float64) @ values
    mean = total / n
    covariance = products / n - np.outer(mean, mean)
    spread = np.sqrt(np.maximum(np.diag(covariance), 0))
    spread = np.where(spread > MIN_SPREAD, spread, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(spread, spread))
    leading = np.argsort(-values)[:n_components]
    axes = vectors[:, leading] / np.sqrt(max(values[leading[0]], MIN_SPREAD))
    return Components(
        genes,
        mean.astype(np.float32),
        spread.astype(np.float32),
        axes.astype(np.float32),
        target_sum,
    )


def _most_measured(sections: list[ad.AnnData], n_genes: int) -> list[str]:
    shared = sections[0].var_names
    for units in sections[1:]:
        shared = shared[shared.isin(units.var_names)]
    if len(shared) == 0:
        raise UserError(
            problem(
                "the training sections",
                "no gene that all of them measured",
                "shared genes",
                "Do they name genes alike, and come from one species?",
            )
        )
    molecules = np.zeros(len(shared))
    for units in sections:
        columns = units.var_names.get_indexer(shared)
        molecules += np.asarray(units.X.sum(axis=0)).ravel()[columns]
    order = np.argsort(-molecules, kind="stable")[:n_genes]
    return list(shared[order[molecules[order] > 0]])


def _parts(units: ad.AnnData, genes: list[str], target_sum: float | str):
    """Slices of units with their log1p expression, so that memory does not grow with units."""
    total = target_total(units.obs["umi"].to_numpy(), target_sum)
    for start in range(0, units.n_obs, UNITS_AT_ONCE):
        part = slice(start, start + UNITS_AT_ONCE)
        yield part, targets(units[part], genes, total)
