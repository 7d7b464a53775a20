"""How fine the fields of two sections are, from the spacing of their units and their extent."""

from dataclasses import dataclass

import numpy as np

from histoscribe.stacking.channels import unit_spacing

PX_PER_UNIT = 0.75  # finer pixels would show single units
SEARCH_PX = 48  # the edge of the fields of the search,
SMALLER_PX = 32  # of the smaller section at least this,
LARGER_PX = 160  # but of the larger one no more than this
FINEST_PX = 400
PX_PER_CONTROL_POINT = 12
ELSEWHERE = 0.2  # of the smaller section's edge, by which places differ that are not the same


@dataclass(frozen=True)
class Scales:
    """Lengths in um that two sections are compared at.

    `spacing_um` of the sparser units; `search_um`, the pixel of the search; `fine_um`, the pixels
    of the fields that refine it, coarse to fine; `control_um` between control points of the warp;
    `apart_um` between places that count as different.
    """

    spacing_um: float
    search_um: float
    fine_um: list[float]
    control_um: float
    apart_um: float


def edge_um(xy_um: np.ndarray) -> float:
    """Edge of the square that spreads as positions (n, 2) do, whichever way they are turned."""
    return float(np.sqrt(6 * xy_um.var(axis=0).sum()))


def scales_of(positions: list[np.ndarray], warp_um: float) -> Scales:
    """The scales for sections at `positions`, each (n_units, 2)."""
    spacing_um = max(map(unit_spacing, positions))
    smaller_um, larger_um = sorted(edge_um(xy_um) for xy_um in positions)
    least_um = PX_PER_UNIT * spacing_um
    search_um = min(larger_um / SEARCH_PX, smaller_um / SMALLER_PX)
    finest_um = max(least_um, larger_um / FINEST_PX)
    control_um = max(warp_um, PX_PER_CONTROL_POINT * finest_um)
    coarse_um = control_um / PX_PER_CONTROL_POINT
    return Scales(
        spacing_um=spacing_um,
        search_um=max(search_um, larger_um / LARGER_PX, least_um),
        fine_um=sorted({coarse_um, max(coarse_um / 2, finest_um)}, reverse=True),
        control_um=control_um,
        apart_um=ELSEWHERE * smaller_um,
    )
