"""From the search's coarse places to the rigid motion under which two fields agree best."""

from collections.abc import Callable

import numpy as np
from scipy import optimize

from histoscribe.stacking.field import LatentField
from histoscribe.stacking.rigid import RigidMotion, about
from histoscribe.stacking.search import Candidate
from histoscribe.stacking.warp import Warp

MAX_STEPS = 120
FIRST_STEP_PX = 1.5
TOLERANCE_PX = 0.03
SPARE = 0.9  # of the overlap asked for, as pixels of another size count it a little differently


def by_evidence(candidate: Candidate) -> float:
    """To compare places that lie far apart."""
    return candidate.evidence


def by_correlation(candidate: Candidate) -> float:
    """To find the very place, which a larger overlap close by says nothing about."""
    return candidate.correlation


def refine(
    candidate: Candidate,
    fixed: LatentField,
    moving: LatentField,
    min_overlap: float,
    rank: Callable[[Candidate], float],
) -> Candidate:
    """The candidate moved to the best place near by (simplex search, Nelder and Mead 1965).

    Rotations are counted in um at the section's rim, so that all three steps are of one size.
    """
    pixels_um = moving.pixels_um()
    centre_um = (pixels_um.min(axis=0) + pixels_um.max(axis=0)) / 2
    rim_um = np.linalg.norm(pixels_um - centre_um, axis=1).max()
    to_um = candidate.motion.apply(centre_um[None])[0]

    def moved(step_um: np.ndarray) -> RigidMotion:
        rotation_deg = candidate.motion.rotation_deg + np.rad2deg(step_um[0] / rim_um)
        return about(centre_um, to_um + step_um[1:], rotation_deg, candidate.motion.is_reflected)

    def lack(step_um: np.ndarray) -> float:
        place = compare(fixed, moving, moved(step_um), None)
        return -rank(place) if place.overlap >= SPARE * min_overlap else 0.0

    first_um = FIRST_STEP_PX * moving.pixel_um
    found = optimize.minimize(
        lack,
        np.zeros(3),
        method="Nelder-Mead",
        options={
            "initial_simplex": np.vstack([np.zeros(3), first_um * np.eye(3)]),
            "maxfev": MAX_STEPS,
            "xatol": TOLERANCE_PX * moving.pixel_um,
            "fatol": 1e-5,
        },
    )
    return compare(fixed, moving, moved(found.x), None)


def compare(
    fixed: LatentField, moving: LatentField, motion: RigidMotion, warp: Warp | None
) -> Candidate:
    """How well the fields agree once the moving one is where motion and warp take it."""
    places_um = motion.apply(moving.spread_um)
    if warp is not None:
        places_um = places_um + warp.displacement(places_um)
    inside = fixed.is_tissue(places_um)
    area_um2 = inside.mean() * moving.area_um2
    overlap = float(area_um2 / min(fixed.area_um2, moving.area_um2))
    correlation = correlation_of(fixed.sample(places_um[inside]), moving.spread_values[inside])
    return Candidate(motion, correlation, overlap)


def correlation_of(fixed: np.ndarray, moving: np.ndarray) -> float:
    """Correlation of values (n, n_channels) at the same places, over all channels at once."""
    if len(fixed) < 2:
        return 0.0
    fixed, moving = fixed - fixed.mean(axis=0), moving - moving.mean(axis=0)
    spread = np.sqrt(float((fixed**2).sum()) * float((moving**2).sum()))
    return float((fixed * moving).sum()) / spread if spread > 0 else 0.0


def distinct(candidates: list[Candidate], moving: LatentField, apart_um: float) -> list[Candidate]:
    """Those of ranked candidates that have no better one near by.

    `apart_um` is the root mean square distance between where the section's corners come to lie.
    """
    size_um = moving.pixel_um * (np.array(moving.mask.shape[::-1]) - 1)
    corners_um = moving.corner_um + np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * size_um
    places = np.array([c.motion.apply(corners_um) for c in candidates]).reshape(-1, 4, 2)
    kept = []
    for k, candidate in enumerate(candidates):
        squared_um2 = ((places[:k] - places[k]) ** 2).sum(axis=2).mean(axis=1)
        if (squared_um2 > apart_um**2).all():
            kept.append(candidate)
    return kept
