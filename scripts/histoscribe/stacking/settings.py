"""What can be set in aligning sections."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StackingSettings:
    """How adjacent sections are brought into one frame.

    min_overlap: share of the smaller section's area that must lie on the other.
    allow_reflection: whether a section may have been put on its slide upside down.
    warp: whether a smooth displacement may follow the rigid motion.
    warp_um: distance of the warp's control points; bends shorter than twice this are not followed.
    n_channels: how many spatially structured directions of the latent space are compared.
    angle_step_deg: step of the search over rotations.
    n_candidates: how many places are refined, as many again of the mirror image.
    min_score: sections that agree less (correlation, -1 to 1) are not trusted.
    min_lead: how many times the evidence for any other place, or else the place is not trusted.
    min_mirror_lead: the same against the mirror image, which symmetric tissue resembles.
    max_sliding: a section that agrees as much, by this share, after a step aside is not trusted.
    """

    min_overlap: float = 0.3
    allow_reflection: bool = True
    warp: bool = True
    warp_um: float = 300.0
    n_channels: int = 10
    angle_step_deg: float = 5.0
    n_candidates: int = 5
    min_score: float = 0.3
    min_lead: float = 1.4
    min_mirror_lead: float = 1.1
    max_sliding: float = 0.95
