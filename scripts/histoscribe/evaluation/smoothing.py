"""Expression pooled over the neighbourhood of units: what sparse counts of single units hide.

Counts and totals are summed within a radius before they are normalised, as if the section had been
measured at a coarser resolution; predictions are pooled as their molecules would be.
"""

import logging
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from histoscribe.expression import log_normalise
from histoscribe.neighbourhood import within

log = logging.getLogger(__name__)

# Neighbours on a lattice lie at the radius itself, but for the rounding of positions.
REACH = 1.01
PAIRS_AT_MOST = 4_000_000  # of units and their neighbours; beyond it not all units are centres


@dataclass(frozen=True)
class Pool:
    """`members` (n_centres, n_units) is 1 where a unit lies within `radius_um` of a centre."""

    radius_um: float
    members: sparse.csr_matrix  # float32


def pools_of(xy_um: np.ndarray, radii_um: list[float], seed: int) -> list[Pool]:
    """The neighbourhoods at each radius at which at least half of the units have a neighbour.

    Centres are the units, or as many of them, drawn at random, as have PAIRS_AT_MOST neighbours:
    neighbourhoods that large overlap so much that the rest would add nothing.
    """
    tree = cKDTree(xy_um)
    pools = []
    for radius_um in radii_um:
        reach = REACH * radius_um
        n_within = tree.query_ball_point(xy_um, reach, return_length=True)
        if np.median(n_within) < 2:
            log.info("no scores at %g um: most units have no neighbour so near", radius_um)
            continue
        n_centres = min(len(xy_um), max(int(PAIRS_AT_MOST / n_within.mean()), 1))
        rng = np.random.default_rng(seed)
        centres = np.sort(rng.permutation(len(xy_um))[:n_centres])
        members = within(xy_um[centres], xy_um, reach)
        pools.append(Pool(float(radius_um), members))
    return pools


def pooled_measured(pool: Pool, counts: np.ndarray, umi: np.ndarray, total: float) -> np.ndarray:
    """Normalised expression of the pooled counts, (n_centres, n_genes).

    `counts` (n_units, n_genes) float32 and `umi` (n_units,), as for single units.
    """
    return log_normalise(pool.members @ counts, pool.members @ umi.astype(np.float64), total)


def pooled_predicted(pool: Pool, predicted: np.ndarray, umi: np.ndarray) -> np.ndarray:
    """What a prediction (n_units, n_genes) says of the pools, (n_centres, n_genes).

    The mean of the rates, not of their logarithms, each unit weighing what its molecules weigh in
    the pooled counts.
    """
    weight = umi.astype(np.float64)[:, None]  # in single precision a constant would not stay one
    molecules = pool.members @ (np.expm1(predicted) * weight)
    rate = molecules / np.maximum(pool.members @ weight, 1)
    return np.log1p(np.maximum(rate, 0))
