"""Which of the places found is the section's, and whether it stands out from chance."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from histoscribe.stacking.field import LatentField
from histoscribe.stacking.refinement import compare
from histoscribe.stacking.rigid import RigidMotion
from histoscribe.stacking.search import Candidate
from histoscribe.stacking.settings import StackingSettings

N_DIRECTIONS = 12
LEAST_STEP_PX = 3  # shorter steps are not seen where fields are blurred
NOWHERE = 0.0  # evidence where no place was found


@dataclass(frozen=True)
class Verdict:
    """The `best` place, the evidence for its rivals and what speaks against it ("" if nothing)."""

    best: Candidate
    evidence_mirrored: float
    evidence_elsewhere: float
    doubt: str


def verdict(
    upright: list[Candidate],
    mirrored: list[Candidate],
    fields: tuple[LatentField, LatentField],
    apart_um: float,
    settings: StackingSettings,
) -> Verdict | None:
    """The best of places of both kinds, each list ranked; None where nothing was found.

    A section counts as reflected only where that fits clearly better. `fields` are those the
    places were found on, `apart_um` the least distance between places that differ.
    """
    evidence, evidence_mirrored = (
        places[0].evidence if places else NOWHERE for places in (upright, mirrored)
    )
    is_reflected = evidence_mirrored > settings.min_mirror_lead * evidence
    places = upright
    if is_reflected and settings.allow_reflection:
        places, evidence, evidence_mirrored = mirrored, evidence_mirrored, evidence
    if not places:
        return None
    best = places[0]
    elsewhere = places[1].evidence if len(places) > 1 else NOWHERE
    doubts = []
    if best.correlation < settings.min_score:
        doubts.append(f"the sections hardly agree ({best.correlation:.2f})")
    if evidence < settings.min_lead * elsewhere:
        doubts.append(f"another place fits nearly as well ({evidence:.2f}, {elsewhere:.2f})")
    if is_reflected and not settings.allow_reflection:
        doubts.append(f"the mirror image fits better ({evidence:.2f}, {evidence_mirrored:.2f})")
    elif settings.allow_reflection and evidence < settings.min_mirror_lead * evidence_mirrored:
        doubts.append(
            f"the mirror image fits nearly as well ({evidence:.2f}, {evidence_mirrored:.2f})"
        )
    step_um = max(apart_um / 2, LEAST_STEP_PX * fields[0].pixel_um)
    slid = sliding(best, *fields, step_um)
    if slid > settings.max_sliding:
        doubts.append(f"the tissue looks the same {step_um:.0f} um further ({slid:.2f})")
    return Verdict(best, evidence_mirrored, elsewhere, "; ".join(doubts))


def sliding(best: Candidate, fixed: LatentField, moving: LatentField, step_um: float) -> float:
    """How much of the correlation is left after the step, or twice that, that changes least."""
    if best.correlation <= 0:
        return 1.0
    left = []
    angles = np.arange(N_DIRECTIONS) * 2 * np.pi / N_DIRECTIONS
    for angle, length_um in product(angles, (step_um, 2 * step_um)):
        step = length_um * np.array([np.cos(angle), np.sin(angle)])
        x, y = (best.motion.shift_um + step).tolist()
        moved = RigidMotion(best.motion.rotation_deg, (x, y), best.motion.is_reflected)
        left.append(compare(fixed, moving, moved, None).correlation)
    return max(left) / best.correlation
