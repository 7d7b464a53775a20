"""What a genotype goes with: expression of carriers beside matched neighbours of the same kind.

Clones and events lie in territories, and neighbours are alike whatever their genotype. A genotype
is therefore set beside what the same territories, moved over the section, would show.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.spatial import cKDTree
from scipy.stats import false_discovery_control

from histoscribe.genome.contrast import Contrast, contrast
from histoscribe.morphology_map.surrogates import moved_units

LEAST_SPREAD = 1e-12
GENE_COLUMNS = [
    "gene", "log2_fold_change", "mean_carriers", "mean_others", "difference", "z", "p", "q",
]  # fmt: skip


@dataclass(frozen=True)
class AssociationSettings:
    """Each carrier is matched with its `n_matched` nearest others of its kind within `reach_um`.

    A kind counts with `least_units` of both. `n_moves` maps of chance.
    """

    n_matched: int = 20
    reach_um: float = 400.0
    least_units: int = 20
    n_moves: int = 200


def matched_weights(
    carrier: np.ndarray, kind: np.ndarray, xy_um: np.ndarray, settings: AssociationSettings
) -> np.ndarray:
    """Weights (n_units,) of carriers, which sum to 1, and of others, which sum to -1.

    Carriers without others of their kind in reach weigh nothing; all 0 where none has any.
    """
    weights = np.zeros(len(carrier))
    for name in np.unique(kind):
        own = np.flatnonzero((kind == name) & carrier)
        others = np.flatnonzero((kind == name) & ~carrier)
        if not len(own) or not len(others):
            continue
        k = min(settings.n_matched, len(others))
        distance, nearest = cKDTree(xy_um[others]).query(
            xy_um[own], k=k, distance_upper_bound=settings.reach_um
        )
        distance, nearest = distance.reshape(len(own), k), nearest.reshape(len(own), k)
        near = np.isfinite(distance)
        n_near = near.sum(axis=1)
        weights[own[n_near > 0]] += 1
        share = near / np.maximum(n_near, 1)[:, None]
        np.subtract.at(weights, others[nearest[near]], share[near])
    total = weights[weights > 0].sum()
    return weights / total if total else weights


def associate(
    values: sparse.csr_matrix,
    genes: pd.Index,
    carrier: np.ndarray,
    kind: np.ndarray,
    xy_um: np.ndarray,
    settings: AssociationSettings,
    seed: int,
) -> pd.DataFrame:
    """A row a gene: GENE_COLUMNS, by falling |z|; of comparable units alone.

    `values` (n_units, n_genes) log1p expression, `carrier` (n_units,) bool, `kind` text. The
    difference is of means of matched units; z is by the spread of the differences that moved
    genotypes give, p two-sided by all genes' moved differences, each scaled by its own spread; q is
    Benjamini & Hochberg's.
    """
    weights = matched_weights(carrier, kind, xy_um, settings)
    moved = [
        matched_weights(carrier[move], kind, xy_um, settings)
        for move in moved_units(xy_um, settings.n_moves, seed)
    ]
    moved = np.array([one for one in moved if one.any()])
    difference = values.T @ weights
    chance = (values.T @ moved.T).T  # (n_moves, n_genes)
    centre, spread = chance.mean(axis=0), np.maximum(chance.std(axis=0), LEAST_SPREAD)
    z = np.where(spread > LEAST_SPREAD, (difference - centre) / spread, 0.0)
    pooled = np.sort(np.abs((chance - centre) / spread).ravel())
    p = (1 + len(pooled) - np.searchsorted(pooled, np.abs(z))) / (1 + len(pooled))
    linear = values.copy()
    linear.data = np.expm1(linear.data)
    carriers, others = (linear.T @ np.clip(side, 0, None) for side in (weights, -weights))
    table = pd.DataFrame(
        {
            "gene": genes,
            "log2_fold_change": np.log2((carriers + 1e-9) / (others + 1e-9)).clip(-20, 20),
            "mean_carriers": carriers,
            "mean_others": others,
            "difference": difference,
            "z": z,
            "p": p,
            "q": false_discovery_control(p),
        },
        columns=GENE_COLUMNS,
    )
    return table.iloc[np.argsort(-np.abs(z), kind="stable")].reset_index(drop=True)


def matched_contrast(counts: sparse.csr_matrix, weights: np.ndarray) -> Contrast:
    """Log2 ratio of each gene of carriers to matched others, from `counts` (n_units, n_genes)."""
    n_carriers = (weights > 0).sum()
    sides = (np.clip(side, 0, None) * n_carriers for side in (weights, -weights))
    return contrast(*(counts.T @ side for side in sides))
