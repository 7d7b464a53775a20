"""What a genotype goes with: expression of carriers beside matched neighbours of the same kind.

Clones and events lie in territories, and neighbours are alike whatever their genotype. A genotype
is therefore set beside what territories of chance, as large and as ragged, would show.
"""

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.spatial import cKDTree
from scipy.stats import false_discovery_control

from histoscribe.genome.contrast import Contrast, contrast
from histoscribe.neighbourhood import typical_reach, within

LEAST_SPREAD = 1e-12
USUAL_REACH_UM = 150.0
REACH_OF_SPACING = 4 / 1.5  # of the typical reach, which is one and a half times the spacing
PAIRS_AT_ONCE = 10_000_000  # of neighbours, 24 bytes each
GENE_COLUMNS = [
    "gene", "log2_fold_change", "mean_carriers", "mean_others", "difference", "z", "p", "q",
]  # fmt: skip


def usual_reach_um(xy_um: np.ndarray) -> float:
    """150 um, or four times the distance of neighbours in `xy_um` (n_units, 2)."""
    return max(USUAL_REACH_UM, REACH_OF_SPACING * typical_reach(xy_um))


def shares_near(
    carriers: np.ndarray, kind: np.ndarray, xy_um: np.ndarray, reach_um: float
) -> np.ndarray:
    """Share of carriers among the units of the same kind within `reach_um`, themselves included.

    Of several genotypes `carriers` (n_units, k) bool at once, (n_units, k) float32; pairs of
    neighbours are made for a part of the units at a time.
    """
    share = np.empty(carriers.shape, dtype=np.float32)
    for name in np.unique(kind):
        own = np.flatnonzero(kind == name)
        held = carriers[own].astype(np.float32)
        n_near = cKDTree(xy_um[own]).query_ball_point(xy_um[own], reach_um, return_length=True)
        part = np.cumsum(n_near) // PAIRS_AT_ONCE
        for some in np.split(np.arange(len(own)), np.flatnonzero(np.diff(part)) + 1):
            near = within(xy_um[own[some]], xy_um[own], reach_um)
            share[own[some]] = (near @ held) / n_near[some, None]
    return share


def matched_weights(
    carriers: np.ndarray, kind: np.ndarray, xy_um: np.ndarray, reach_um: float
) -> np.ndarray:
    """Weights (k, n_units) of several genotypes' carriers, which sum to 1, and of others, to -1.

    `carriers` (k, n_units) bool. Each unit weighs as much as its neighbours of the same kind within
    `reach_um` are of the other side, so that both sides are the same kinds at the same places
    (overlap weights; Li et al., J Am Stat Assoc 2018). All 0 where no carrier has others in reach.
    """
    share = shares_near(carriers.T, kind, xy_um, reach_um)
    return np.array([_balanced(*one, kind) for one in zip(carriers, share.T, strict=True)])


def _balanced(carrier: np.ndarray, share: np.ndarray, kind: np.ndarray) -> np.ndarray:
    weights = np.where(carrier, 1 - share, -share)
    for name in np.unique(kind):
        own = kind == name
        sides = own & carrier, own & ~carrier
        total = weights[sides[0]].sum()
        against = -weights[sides[1]].sum()
        if total > 0 and against > 0:
            weights[sides[1]] *= total / against
        else:
            weights[own] = 0
    total = weights[weights > 0].sum()
    return weights / total if total else weights


def associate(
    values: sparse.csr_matrix, genes: pd.Index, weights: np.ndarray, by_chance: np.ndarray
) -> pd.DataFrame:
    """A row a gene: GENE_COLUMNS, by falling |z|; of comparable units alone.

    `values` (n_units, n_genes) log1p expression; `weights` (n_units,) that match carriers with
    others, and those of territories of chance, `by_chance` (n_maps, n_units). The difference is of
    means of matched units; z is by the spread of the differences that territories of chance give,
    p two-sided by all genes' differences by chance, each scaled by its own spread; q is Benjamini &
    Hochberg's. Differences are per length of the weights, which are worth more units in some
    territories than in others. Where carriers differ in truth, territories of chance do so, too, as
    far as they overlap: few and large ones show less than there is.
    """
    if not weights.any():
        raise ValueError("no carrier has others of its kind in reach")
    difference = values.T @ weights
    by_chance = by_chance[by_chance.any(axis=1)]
    lengths = np.linalg.norm(by_chance, axis=1, keepdims=True)
    chance = (values.T @ (by_chance / lengths).T).T
    spread = chance.std(axis=0) if len(chance) else np.zeros(len(genes))
    scale = np.where(spread > LEAST_SPREAD, spread, np.inf)
    z = difference / np.linalg.norm(weights) / scale
    pooled = np.sort(np.abs(chance / scale).ravel())
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


def matched_contrast(
    counts: sparse.csr_matrix, weights: np.ndarray, alike: np.ndarray | None = None
) -> Contrast:
    """Log2 ratio of each gene of carriers to matched others, from `counts` (n_units, n_genes).

    Weights are scaled to as many units as they are worth; `alike` as in `contrast`.
    """
    sides = (np.clip(side, 0, None) for side in (weights, -weights))
    worth = (side * side.sum() / max((side**2).sum(), 1e-300) for side in sides)
    return contrast(*(counts.T @ side for side in worth), alike=alike)
