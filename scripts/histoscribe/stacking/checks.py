"""What must hold of two sections before they can be aligned."""

import numpy as np

from histoscribe.errors import UserError, problem
from histoscribe.stacking.channels import unit_spacing
from histoscribe.stacking.scales import edge_um

MIN_UNITS = 20
MAX_RATIO = 4.0  # of spacings and of extents; beyond it, coordinates are in different units
NAMES = ("the fixed section", "the moving section")
Section = tuple[np.ndarray, np.ndarray]


def check_pair(fixed: Section, moving: Section) -> None:
    """Raise UserError, with all problems at once, unless both (positions, latents) can be used."""
    problems = [
        line for pair in zip(NAMES, (fixed, moving), strict=True) for line in _faults(*pair)
    ]
    if not problems:
        problems = _mismatches(fixed, moving)
    if problems:
        raise UserError("\n".join(problems))


def _faults(name: str, section: Section) -> list[str]:
    """What is wrong with one section by itself."""
    xy_um, latent = section
    if xy_um.ndim != 2 or xy_um.shape[1] != 2 or latent.ndim != 2 or len(xy_um) != len(latent):
        found = f"positions {xy_um.shape} and latents {latent.shape}"
        expected = "(n_units, 2) and (n_units, n_dimensions)"
        return [problem(name, found, expected, "Pass both for the same units.")]
    if len(xy_um) < MIN_UNITS:
        expected = f"at least {MIN_UNITS}"
        return [problem(name, f"{len(xy_um)} units", expected, "Leave the section out.")]
    for what, values in (("positions", xy_um), ("latents", latent)):
        n_bad = int((~np.isfinite(values)).any(axis=1).sum())
        if n_bad:
            found = f"{n_bad} units whose {what} are not finite"
            return [problem(name, found, "finite numbers", "Remove these units.")]
    if (np.ptp(xy_um, axis=0) == 0).any() or unit_spacing(xy_um) == 0:
        found = "units on one line or one place"
        return [problem(name, found, "positions that span an area", "Correct the positions.")]
    return []


def _mismatches(fixed: Section, moving: Section) -> list[str]:
    """What two sound sections do not share."""
    widths = fixed[1].shape[1], moving[1].shape[1]
    if widths[0] != widths[1]:
        found = f"latents of {widths[0]} and {widths[1]} dimensions"
        return [
            problem(
                "the two sections", found, "one shared latent space", "Integrate them together."
            )
        ]
    # Bins beside spots differ in spacing alone, a biopsy beside a resection in extent alone.
    spacing = [unit_spacing(xy_um) for xy_um, _ in (fixed, moving)]
    extent = [edge_um(xy_um) for xy_um, _ in (fixed, moving)]
    ratio = np.log([spacing[0] / spacing[1], extent[0] / extent[1]])
    if (ratio > np.log(MAX_RATIO)).all() or (ratio < -np.log(MAX_RATIO)).all():
        found = (
            f"units {spacing[0]:.3g} and {spacing[1]:.3g} um apart over "
            f"{extent[0]:.3g} and {extent[1]:.3g} um"
        )
        remedy = "One may be in pixels: multiply it by its um_per_px."
        return [problem("the two sections", found, "coordinates in um in both", remedy)]
    return []
