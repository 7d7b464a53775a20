"""Which units lie in which spot."""

import numpy as np
from scipy.spatial import cKDTree

from histoscribe.errors import UserError, problem

NO_SPOT = -1
ODD_SCALE = 1.5  # extents that differ by more are not of one scale


def spots_of_units(
    units_um: np.ndarray, spots_um: np.ndarray, diameter_um: float, where: str
) -> np.ndarray:
    """The spot in whose circle a unit's centre lies, (n_units,); NO_SPOT where in none.

    `units_um` (n_units, 2), `spots_um` (n_spots, 2). Where circles overlap it is the nearest one:
    no unit counts twice. Raises UserError, naming `where`, where no unit lies in any spot.
    """
    distance_um, spot = cKDTree(spots_um).query(units_um, distance_upper_bound=diameter_um / 2)
    inside = np.isfinite(distance_um)
    if not inside.any():
        raise _no_overlap(units_um, spots_um, diameter_um, where)
    return np.where(inside, spot, NO_SPOT)


def _no_overlap(
    units_um: np.ndarray, spots_um: np.ndarray, diameter_um: float, where: str
) -> UserError:
    ends = [(xy.min(axis=0), xy.max(axis=0)) for xy in (units_um, spots_um)]
    (units_low, units_high), (spots_low, spots_high) = ends
    said = [
        f"x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to {high[1]:.0f} um" for low, high in ends
    ]
    apart = np.any((units_low > spots_high) | (spots_low > units_high))
    scale = np.max(units_high - units_low) / max(np.max(spots_high - spots_low), 1e-9)
    if len(units_um) > 1 and len(spots_um) > 1 and not 1 / ODD_SCALE < scale < ODD_SCALE:
        cause = (
            f"Units spread {scale:.2g} times as far as spots: check the scale of the polygons "
            "(pixels taken for um?) and um_per_px."
        )
    elif apart:
        cause = "They lie apart: do image, polygons and spots belong to one section?"
    else:
        cause = "They lie between each other: were nuclei found under the spots (figures/nuclei)?"
    return UserError(
        problem(
            where,
            f"none of {len(units_um)} units in any of {len(spots_um)} spots of {diameter_um:g} um "
            f"(units reach over {said[0]}; spots over {said[1]})",
            "units under the spots",
            cause,
        )
    )
