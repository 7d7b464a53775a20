"""Lengths: micrometres, pixels, and the resolution that ties them together.

Coordinates are um in the image frame: x right, y down, origin at the image's top-left corner.
A pixel `k` covers `[k, k + 1) * um_per_px`, so its centre lies at `(k + 0.5) * um_per_px`.
"""

import logging
from itertools import combinations

import numpy as np

from histoscribe.errors import UserError, problem

log = logging.getLogger(__name__)

RESOLUTION_TOLERANCE = 0.02
ROUNDING = 0.001  # what a number typed with three digits may be off
PLAUSIBLE_UM_PER_PX = (0.05, 20.0)


def um_to_px(position_um: np.ndarray, um_per_px: float) -> np.ndarray:
    """Continuous pixel coordinates of positions in um; pixel k covers [k, k + 1)."""
    return np.asarray(position_um, dtype=np.float64) / um_per_px


def px_to_um(position_px: np.ndarray, um_per_px: float) -> np.ndarray:
    """Positions in um of continuous pixel coordinates."""
    return np.asarray(position_px, dtype=np.float64) * um_per_px


def settle_um_per_px(sources: dict[str, float | None], where: str) -> float:
    """Agree on one resolution (um per pixel) among named sources, the first that speaks wins.

    The first is what the user states, the sample sheet; the others come with the files.
    A later source that differs from it by more than rounding is named in a warning. Raises
    UserError when no source speaks, when two of them differ by more than 2 %, and when one of
    them is no resolution of a section's image.
    """
    spoken = {name: value for name, value in sources.items() if value is not None}
    if not spoken:
        raise UserError(
            problem(
                where,
                "no resolution in " + ", ".join(sources),
                "one of them to say how many um a pixel measures",
                "Fill in um_per_px in the sample sheet.",
            )
        )
    low, high = PLAUSIBLE_UM_PER_PX
    for name, value in spoken.items():
        if not low <= value <= high:
            raise UserError(
                problem(
                    where,
                    f"{value:.4g} um/px in {name}",
                    f"{low} to {high} um per pixel",
                    "Correct it there; 20x scans have about 0.5, 40x about 0.25.",
                )
            )
    for (one, value), (other, other_value) in combinations(spoken.items(), 2):
        if abs(other_value / value - 1) > RESOLUTION_TOLERANCE:
            mend = (
                "correct or clear um_per_px in the sample sheet."
                if one == next(iter(sources))
                else f"where {other} is wrong, correct or remove the resolution there."
            )
            raise UserError(
                problem(
                    where,
                    f"{value:.4g} um/px in {one} but {other_value:.4g} um/px in {other}",
                    f"agreement within {RESOLUTION_TOLERANCE:.0%}",
                    "Check that the image is the one given to the platform's software, "
                    f"at full resolution; {mend}",
                )
            )
    (first, um_per_px), *others = spoken.items()
    for name, value in others:
        if abs(value / um_per_px - 1) > ROUNDING:
            log.warning(
                "%s: %.5g um/px in %s is used, though %s says %.5g",
                where,
                um_per_px,
                first,
                name,
                value,
            )
    return float(um_per_px)


def square_um_per_px(x: float | None, y: float | None, where: str) -> float | None:
    """The resolution of pixels that measure `x` by `y` um; None where neither is stated.

    0 and less states nothing.

    Raises UserError where width and height differ by more than 2 %.
    """
    x, y = (value if value is not None and value > 0 else None for value in (x, y))
    if x is None or y is None:
        return x if y is None else y
    if abs(x / y - 1) > RESOLUTION_TOLERANCE:
        raise UserError(
            problem(
                where,
                f"pixels of {x:.4g} x {y:.4g} um",
                f"square pixels, within {RESOLUTION_TOLERANCE:.0%}",
                "Resample the image to square pixels, or correct its metadata.",
            )
        )
    return x
