"""A section brought into the frame of its neighbour."""

import numpy as np

from histoscribe.stacking.alignment import NOT_FOUND, Alignment
from histoscribe.stacking.channels import structured_channels
from histoscribe.stacking.checks import check_pair
from histoscribe.stacking.field import LatentField, latent_field
from histoscribe.stacking.refinement import by_correlation, by_evidence, compare, distinct, refine
from histoscribe.stacking.rigid import IN_PLACE
from histoscribe.stacking.scales import scales_of
from histoscribe.stacking.search import Candidate, search
from histoscribe.stacking.settings import StackingSettings
from histoscribe.stacking.verdict import verdict
from histoscribe.stacking.warping import fit_warp


def align_pair(
    fixed_xy_um: np.ndarray,
    fixed_latent: np.ndarray,
    moving_xy_um: np.ndarray,
    moving_latent: np.ndarray,
    settings: StackingSettings,
    fixed_given_um: np.ndarray | None = None,
) -> Alignment:
    """Where the moving section lies on the fixed one, by the latent space they share.

    Positions (n_units, 2) and latents (n_units, n_dimensions) of each; the sections need neither
    the same units nor the same kind of units. `fixed_given_um` (n_units, 2) is where the fixed one
    lay as it was given, for `score_before`, where it has been moved since. The alignment says
    whether it can be trusted. Raises
    UserError for too few units, values that are not finite, latents of different width, and
    coordinates in different units.
    """
    fixed, moving = (
        (np.asarray(xy_um, dtype=np.float64), np.asarray(latent, dtype=np.float64))
        for xy_um, latent in ((fixed_xy_um, fixed_latent), (moving_xy_um, moving_latent))
    )
    check_pair(fixed, moving)
    positions = [fixed[0], moving[0]]
    channels = structured_channels([fixed, moving], settings.n_channels)
    scales = scales_of(positions, settings.warp_um)

    def fields(pixel_um: float) -> tuple[LatentField, LatentField]:
        one, other = (
            latent_field(xy_um, values, pixel_um, scales.spacing_um)
            for xy_um, values in zip(positions, channels, strict=True)
        )
        return one, other

    broad = fields(scales.search_um)
    upright, mirrored = (
        _places(*broad, is_reflected, scales.apart_um, settings) for is_reflected in (False, True)
    )
    found = verdict(upright, mirrored, broad, scales.apart_um, settings)
    if found is None:
        return NOT_FOUND
    fine = [fields(pixel_um) for pixel_um in scales.fine_um]
    best = found.best
    for pair in fine:
        best = refine(best, *pair, settings.min_overlap, by_correlation)
    is_warped = settings.warp and not found.doubt
    warp = fit_warp(fine, best.motion, scales.control_um) if is_warped else None
    placed = compare(*broad, best.motion, warp)
    given = broad[0]
    if fixed_given_um is not None:
        given = latent_field(fixed_given_um, channels[0], scales.search_um, scales.spacing_um)
    return Alignment(
        rotation_deg=best.motion.rotation_deg,
        shift_um=best.motion.shift_um,
        is_reflected=best.motion.is_reflected,
        warp=warp,
        score=placed.correlation,
        score_rigid=compare(*broad, best.motion, None).correlation,
        score_before=compare(given, broad[1], IN_PLACE, None).correlation,
        evidence=found.best.evidence,
        evidence_mirrored=found.evidence_mirrored,
        evidence_elsewhere=found.evidence_elsewhere,
        overlap=placed.overlap,
        is_trusted=not found.doubt,
        doubt=found.doubt,
    )


def _places(
    fixed: LatentField,
    moving: LatentField,
    is_reflected: bool,
    apart_um: float,
    settings: StackingSettings,
) -> list[Candidate]:
    """Different places where the section fits, refined, the best first."""
    found = search(fixed, moving, is_reflected, settings.angle_step_deg, settings.min_overlap)
    tried = distinct(found, moving, apart_um)[: settings.n_candidates]
    refined = [refine(place, fixed, moving, settings.min_overlap, by_evidence) for place in tried]
    return distinct(sorted(refined, key=by_evidence, reverse=True), moving, apart_um)
