"""Where a section lies in the frame of another one, and how sure that is."""

from dataclasses import dataclass, replace

import numpy as np

from histoscribe.stacking.rigid import RigidMotion
from histoscribe.stacking.warp import Warp


@dataclass(frozen=True)
class Alignment:
    """Brings positions of a section into another section's frame.

    rotation_deg, shift_um, is_reflected: the rigid motion: x becomes -x where reflected, then the
      rotation about (0, 0) (positive from the x axis to the y axis), then the shift (x, y).
    warp: the smooth displacement that follows it; None where there is none.
    score: correlation of the latent fields over their overlap, -1 to 1; `score_rigid` without the
      warp, `score_before` with the coordinates as they were given.
    overlap: share of the smaller section's area that lies on the other.
    evidence: the rigid score weighted by the root of the overlap, what places are ranked by;
      `evidence_mirrored` is that of the best place of the opposite handedness,
      `evidence_elsewhere` of the best other place of the same.
    is_trusted: whether the place stands out; `doubt` says why not.
    """

    rotation_deg: float
    shift_um: tuple[float, float]
    is_reflected: bool
    warp: Warp | None
    score: float
    score_rigid: float
    score_before: float
    evidence: float
    evidence_mirrored: float
    evidence_elsewhere: float
    overlap: float
    is_trusted: bool
    doubt: str

    @property
    def motion(self) -> RigidMotion:
        return RigidMotion(self.rotation_deg, self.shift_um, self.is_reflected)

    def apply(self, xy_um: np.ndarray) -> np.ndarray:
        """Positions (n, 2) of the moving section in the frame of the fixed one, in um."""
        moved = self.motion.apply(xy_um)
        return moved if self.warp is None else moved + self.warp.displacement(moved)

    def to_dict(self) -> dict[str, object]:
        """Plain values for a row of a table; of the warp its largest displacement."""
        bend = 0.0 if self.warp is None else self.warp.largest_um()
        return {
            "rotation_deg": self.rotation_deg,
            "shift_x_um": self.shift_um[0],
            "shift_y_um": self.shift_um[1],
            "is_reflected": self.is_reflected,
            "largest_warp_um": bend,
            "score": self.score,
            "score_rigid": self.score_rigid,
            "score_before": self.score_before,
            "evidence": self.evidence,
            "evidence_mirrored": self.evidence_mirrored,
            "evidence_elsewhere": self.evidence_elsewhere,
            "overlap": self.overlap,
            "is_trusted": self.is_trusted,
            "doubt": self.doubt,
        }


IN_REFERENCE = Alignment(
    rotation_deg=0.0,
    shift_um=(0.0, 0.0),
    is_reflected=False,
    warp=None,
    score=1.0,
    score_rigid=1.0,
    score_before=1.0,
    evidence=1.0,
    evidence_mirrored=0.0,
    evidence_elsewhere=0.0,
    overlap=1.0,
    is_trusted=True,
    doubt="",
)
NOT_FOUND = replace(
    IN_REFERENCE,
    score=0.0,
    score_rigid=0.0,
    score_before=0.0,
    evidence=0.0,
    overlap=0.0,
    is_trusted=False,
    doubt="no place was found where the sections agree at all",
)
