"""A genotype's carriers beside others of their kind near them, and beside territories of chance."""

import logging
from dataclasses import dataclass

import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.genome.association import matched_weights
from histoscribe.genome.cells import Cells
from histoscribe.genome.genotypes import Genotype
from histoscribe.genome.territories import territories

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class MatchingSettings:
    """Units are matched with others of their kind within `reach_um`.

    None: 150 um, or, of spots and large bins, four times the distance of neighbours. A kind counts
    with `least_units` carriers and as many others. `n_maps` genotypes of chance.
    """

    reach_um: float | None = None
    least_units: int = 20
    n_maps: int = 200


@dataclass(frozen=True)
class Comparison:
    """The comparable units of a genotype.

    Attributes:
        genotype: what all units of the section carry, and which of them these n are.
        kind: (n,) text. xy_um: (n, 2).
        reach_um: units of one kind that lie so near each other are set beside each other.
        weights: (n,) of `matched_weights`.
    """

    genotype: Genotype
    kind: np.ndarray
    xy_um: np.ndarray
    reach_um: float
    weights: np.ndarray

    @property
    def carrier(self) -> np.ndarray:
        """Which of these units carry it, (n,) bool."""
        return self.genotype.carrier[self.genotype.comparable]

    def by_chance(self, n_maps: int, seed: int, of: np.ndarray | None = None) -> np.ndarray:
        """Carriers of territories of chance, (n_maps, n) bool; among those `of` a mask (n,)."""
        of = np.ones(len(self.kind), dtype=bool) if of is None else of
        among = self.carrier[of], self.kind[of], self.xy_um[of]
        return np.array(list(territories(*among, n_maps, seed)))

    def weights_of(self, carriers: np.ndarray) -> np.ndarray:
        """Weights (k, n) of other carriers (k, n) bool among these units."""
        return matched_weights(carriers, self.kind, self.xy_um, self.reach_um)


def comparisons(
    genotypes: list[Genotype], cells: Cells, reach_um: float, is_inferred: bool, where: str
) -> list[Comparison]:
    """One for each genotype of which a carrier has others of its kind in reach.

    The others are left out with a warning; where none is left, and genotypes are not inferred
    clones, UserError is raised.
    """
    found, apart = [], []
    for genotype in genotypes:
        able = genotype.comparable
        place = cells.kind[able], cells.xy_um[able], reach_um
        (weights,) = matched_weights(genotype.carrier[able][None], *place)
        if weights.any():
            found.append(Comparison(genotype, *place, weights))
        else:
            apart.append(genotype.name)
    if not found and not is_inferred:
        raise UserError(
            problem(
                where,
                f"no carrier of {', '.join(apart[:10])} within {reach_um:g} um of others of its "
                "kind",
                "carriers and others of one kind that lie near each other",
                "Apart, place would pose as genotype. Raise association.reach_um?",
            )
        )
    for name in apart:
        LOG.warning(
            "%s: %s is left out: none of its carriers is within %g um of others of its kind",
            where, name, reach_um,
        )  # fmt: skip
    return found
