"""The genes that networks learn to foretell, and what of their foretelling becomes features.

Networks learn from the genes that vary most beyond what counting explains, all weighed alike. What
they foretell of them has far fewer dimensions than there are genes; its leading components, which
all networks of an encoder share, are the features.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import anndata as ad
import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.expression import target_total, targets

UNITS_AT_ONCE = 8192
MIN_SPREAD = 1e-6
MIN_DETECTED = 0.02  # share of units with a molecule of the gene


@dataclass(frozen=True)
class Standardised:
    """Genes with mean and spread of their log1p expression over the training units."""

    genes: list[str]
    mean: np.ndarray
    spread: np.ndarray
    target_sum: float | str

    def of(self, units: ad.AnnData) -> np.ndarray:
        """Standardised expression, (n_units, n_genes) float16, which is ample for counts."""
        result = np.empty((units.n_obs, len(self.genes)), dtype=np.float16)
        for part, values in _parts(units, self.genes, self.target_sum):
            result[part] = (values - self.mean) / self.spread
        return result


def choose_genes(sections: list[ad.AnnData], n_genes: int, target_sum: float | str) -> Standardised:
    """The `n_genes` genes of largest variance over mean that all sections measured."""
    genes = _most_dispersed(sections, n_genes)
    n, total, square = 0, np.zeros(len(genes)), np.zeros(len(genes))
    for units in sections:
        for _, values in _parts(units, genes, target_sum):
            n += len(values)
            total += values.sum(axis=0, dtype=np.float64)
            square += (values * values).sum(axis=0, dtype=np.float64)
    mean = total / n
    spread = np.sqrt(np.maximum(square / n - mean**2, 0))
    spread = np.where(spread > MIN_SPREAD, spread, 1.0)
    return Standardised(genes, mean.astype(np.float32), spread.astype(np.float32), target_sum)


def leading_directions(decoders: list[np.ndarray], moments: list[np.ndarray], n: int) -> np.ndarray:
    """The `n` leading directions of what networks foretell, (n_genes, n).

    `decoders` (n_genes, n_hidden) are the networks' last weights, `moments` (n_hidden, n_hidden)
    the second moments of what they are applied to.
    """
    covariance = sum(w @ m @ w.T for w, m in zip(decoders, moments, strict=True))
    values, vectors = np.linalg.eigh(covariance.astype(np.float64))
    return vectors[:, np.argsort(-values)[:n]].astype(np.float32)


def _most_dispersed(sections: list[ad.AnnData], n_genes: int) -> list[str]:
    """By raw counts, so that a unit of few molecules can't rule by its scale."""
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
    n, total, square, detected = 0, *np.zeros((3, len(shared)))
    for units in sections:
        counts = units.X[:, units.var_names.get_indexer(shared)].tocsr().astype(np.float64)
        detected += np.asarray((counts > 0).sum(axis=0)).ravel()
        total += np.asarray(counts.sum(axis=0)).ravel()
        counts.data **= 2
        square += np.asarray(counts.sum(axis=0)).ravel()
        n += units.n_obs
    mean = total / n
    dispersion = (square / n - mean**2) / np.maximum(mean, 1e-12)
    dispersion[detected < max(MIN_DETECTED * n, 1)] = -1
    order = np.argsort(-dispersion, kind="stable")[:n_genes]
    return list(shared[order[dispersion[order] > 0]])


def _parts(
    units: ad.AnnData, genes: list[str], target_sum: float | str
) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of units with their log1p expression, so that memory does not grow with units."""
    total = target_total(units.obs["umi"].to_numpy(), target_sum)
    for start in range(0, units.n_obs, UNITS_AT_ONCE):
        part = slice(start, start + UNITS_AT_ONCE)
        yield part, targets(units[part], genes, total)
