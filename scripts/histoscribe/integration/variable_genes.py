"""Spatially variable genes: Moran's I of each gene in a section, and its p without a pattern."""

import numpy as np
import pandas as pd
from scipy import sparse, special, stats

from histoscribe.evaluation.scores import CONSTANT
from histoscribe.evaluation.spatial import N_NEIGHBOURS, neighbour_weights
from histoscribe.integration.log_values import log_values, usual_total
from histoscribe.integration.sections import Section

LEAST_UNITS_WITH = 20  # a gene found in fewer has no pattern to be told from chance
GENES_AT_ONCE = 256
VARIABLE_COLUMNS = ["section", "gene", "n_units_with", "mean", "morans_i", "p", "q"]


def variable_genes(section: Section) -> pd.DataFrame:
    """A row a gene found in 20 units or more, by falling Moran's I. Columns: VARIABLE_COLUMNS.

    Of values log1p(counts scaled to the section's median total), `mean` being their mean, with the
    six nearest units as neighbours. p is one-sided, of morans_test; q is Benjamini and Hochberg's
    over the section's genes.
    """
    n_with = np.bincount(section.counts.indices, minlength=len(section.genes))
    tested = np.flatnonzero(n_with >= LEAST_UNITS_WITH)
    total = section.totals()
    values = sparse.csc_matrix(log_values(section.counts, total, usual_total(total))[:, tested])
    tested_mean = np.asarray(values.mean(axis=0)).ravel()
    index, p = morans_test(values, neighbour_weights(section.xy_um, N_NEIGHBOURS))
    known = np.isfinite(p)
    q = np.full(len(p), np.nan)
    q[known] = stats.false_discovery_control(p[known]) if known.any() else p[known]
    table = pd.DataFrame(
        {
            "section": section.name, "gene": section.genes[tested], "n_units_with": n_with[tested],
            "mean": tested_mean, "morans_i": index, "p": p, "q": q,
        }
    )  # fmt: skip
    return table.sort_values("morans_i", ascending=False, kind="stable", ignore_index=True)


def morans_test(
    values: sparse.csc_matrix, weights: sparse.csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """Moran's I of the columns of `values` (n_units, n_genes) and its p, (n_genes,) each.

    `weights` (n_units, n_units) has rows that sum to 1 and no diagonal. p is one-sided, for values
    that lie no more alike than if they were dealt out to units at random: mean and variance of I
    are exact under randomisation (Cliff & Ord, Spatial processes, 1981), and a Pearson type III
    curve has its skewness (Siemiatycki, J Math Biol 1978), which counts for genes found in few
    units; that is computed as for independent draws. NaN where a gene is constant. Nothing is
    dense: only sums over what is stored are taken.
    """
    n = values.shape[0]
    to_unit = np.asarray(weights.sum(axis=0)).ravel()
    graph = _Graph.of(weights)
    index, p = (np.full(values.shape[1], np.nan) for _ in range(2))
    for start in range(0, values.shape[1], GENES_AT_ONCE):
        part = values[:, start : start + GENES_AT_ONCE].astype(np.float64)
        mean = _column_sums(part) / n
        around = np.asarray((weights @ part).multiply(part).sum(axis=0)).ravel()
        alike = around - mean * (to_unit @ part)  # the other two terms cancel
        sums = [_column_sums(part.power(power)) for power in (2, 3, 4)]
        second = sums[0] / n - mean**2
        third = sums[1] / n - 3 * mean * sums[0] / n + 2 * mean**3
        fourth = sums[2] / n - 4 * mean * sums[1] / n + 6 * mean**2 * sums[0] / n - 3 * mean**4
        varies = second > CONSTANT
        second = np.where(varies, second, 1.0)
        here = slice(start, start + part.shape[1])
        found = alike / (n * second)
        index[here] = np.where(varies, found, np.nan)
        chance = graph.chance(found, n, third / second**1.5, fourth / second**2)
        p[here] = np.where(varies, chance, np.nan)
    return index, p


class _Graph:
    """Sums of a neighbour graph's weights that moments of Moran's I are made of."""

    def __init__(self, s0: float, s1: float, s2: float, cubes: float, triangles: float) -> None:
        self.s0, self.s1, self.s2, self.cubes, self.triangles = s0, s1, s2, cubes, triangles

    @classmethod
    def of(cls, weights: sparse.csr_matrix) -> "_Graph":
        both = sparse.csr_matrix(weights + weights.T)
        even = both / 2
        return cls(
            s0=float(weights.sum()),
            s1=float(both.power(2).sum() / 2),
            s2=float((np.asarray(both.sum(axis=1)) ** 2).sum()),
            cubes=float(even.power(3).sum()),
            triangles=float((even @ even).multiply(even).sum()),
        )

    def chance(
        self, index: np.ndarray, n: int, skewness: np.ndarray, kurtosis: np.ndarray
    ) -> np.ndarray:
        """Upper tail of I for values of this skewness and kurtosis, (n_genes,) each."""
        s0, s1, s2 = self.s0, self.s1, self.s2
        expected = -1 / (n - 1)
        normal = n * ((n**2 - 3 * n + 3) * s1 - n * s2 + 3 * s0**2)
        peaked = kurtosis * ((n**2 - n) * s1 - 2 * n * s2 + 6 * s0**2)
        square = (normal - peaked) / ((n - 1) * (n - 2) * (n - 3) * s0**2)
        z = (index - expected) / np.sqrt(square - expected**2)
        # Independent draws: of three edges only a triple one and a triangle have a mean.
        skew = (4 * self.cubes * skewness**2 + 8 * self.triangles) / s1**1.5
        shape = 4 / skew**2
        return special.gammaincc(shape, np.maximum(shape + 2 * z / skew, 0))


def _column_sums(values: sparse.csc_matrix) -> np.ndarray:
    return np.asarray(values.sum(axis=0)).ravel()
