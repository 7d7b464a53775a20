"""Whether units that come to lie on each other are alike: what an alignment is judged by."""

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from histoscribe.stacking.alignment import Alignment
from histoscribe.stacking.channels import unit_spacing
from histoscribe.stacking.stack import anchors

LEAST_MET = 0.05  # of a section's units: where fewer lie on the other, nothing is said
MEASURES_OF_PAIRS = (
    "score",
    "score_rigid",
    "score_before",
    "evidence",
    "evidence_mirrored",
    "evidence_elsewhere",
    "overlap",
)
REACH = 1.5  # spacings of the sparser units, within which a unit lies on the other section


def domains_alike(
    fixed_um: np.ndarray, fixed_domain: np.ndarray, moving_um: np.ndarray, domain: np.ndarray
) -> float:
    """Share of the moving units on the fixed section whose nearest unit there has their domain.

    Positions (n_units, 2), domains (n_units,). NaN where fewer than 5 % of them lie on it.
    """
    reach_um = REACH * max(unit_spacing(fixed_um), unit_spacing(moving_um))
    distance_um, nearest = cKDTree(fixed_um).query(moving_um, distance_upper_bound=reach_um)
    met = np.isfinite(distance_um)
    if met.mean() < LEAST_MET:
        return np.nan
    return float((fixed_domain[nearest[met]] == domain[met]).mean())


def alike_by_chance(one: np.ndarray, other: np.ndarray) -> float:
    """How often domains (n_units,) of one section agree with those of another drawn at random."""
    shares = [pd.Series(domain).value_counts(normalize=True) for domain in (one, other)]
    return float(shares[0].mul(shares[1], fill_value=0).sum())


def alignment_table(
    xy_um: dict[str, np.ndarray],
    domains: dict[str, np.ndarray],
    alignments: dict[str, Alignment],
    reference: str,
    spacing_um: float,
) -> pd.DataFrame:
    """A row a section: where it was put, how it agrees with the section it was aligned to.

    Positions (n_units, 2) as given and domains (n_units,) by section, in the stack's order. The
    reference has no measures: it stays where it is.
    """
    onto = anchors(alignments, reference)
    rows = []
    for number, (name, alignment) in enumerate(alignments.items()):
        row = {"section": name, "depth_um": number * spacing_um, "aligned_to": onto.get(name)}
        row |= alignment.to_dict()
        alike = dict.fromkeys(("domains_before", "domains_after", "domains_by_chance"), np.nan)
        if name in onto:
            anchor = onto[name]
            placed_um = alignments[anchor].apply(xy_um[anchor])
            two = domains[anchor], domains[name]
            alike = {
                "domains_before": domains_alike(xy_um[anchor], two[0], xy_um[name], two[1]),
                "domains_after": domains_alike(
                    placed_um, two[0], alignment.apply(xy_um[name]), two[1]
                ),
                "domains_by_chance": alike_by_chance(*two),
            }
        else:
            row |= dict.fromkeys(MEASURES_OF_PAIRS, np.nan)
        verdict = {key: row.pop(key) for key in ("is_trusted", "doubt")}
        rows.append(row | alike | verdict)
    return pd.DataFrame(rows)
