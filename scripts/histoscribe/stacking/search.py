"""Where one section's field fits another's, over all rotations and shifts."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from histoscribe.stacking.field import LatentField
from histoscribe.stacking.rigid import RigidMotion, about

MAX_CORRELATION = 0.999  # of a few pixels' worth of overlap, where the sums cancel
PEAKS_PER_ANGLE = 3
N_CHANNELS = 6  # the best structured ones, which tell places apart well enough to be refined


@dataclass(frozen=True)
class Candidate:
    """A motion of the moving section and how well the fields then agree.

    `correlation` of the fields over their overlap, -1 to 1; `overlap` is the share of the smaller
    section's area that lies on the other.
    """

    motion: RigidMotion
    correlation: float
    overlap: float

    @property
    def evidence(self) -> float:
        """What candidates are ranked by: chance correlations shrink as the overlap grows."""
        return self.correlation * float(np.sqrt(self.overlap))


def search(
    fixed: LatentField,
    moving: LatentField,
    is_reflected: bool,
    angle_step_deg: float,
    min_overlap: float,
) -> list[Candidate]:
    """The best places of each angle, the best first.

    Correlations of all shifts at once by masked normalised cross-correlation (Padfield, IEEE TIP
    2012), its sums taken over channels.
    """
    spectra = _Spectra(fixed, moving)
    found = []
    for rotation_deg in np.arange(-180.0, 180.0, angle_step_deg):
        found += spectra.peaks(float(rotation_deg), is_reflected, min_overlap)
    return sorted(found, key=lambda c: -c.evidence)


class _Spectra:
    """The fixed field's Fourier transforms, which all angles share."""

    def __init__(self, fixed: LatentField, moving: LatentField) -> None:
        self.fixed, self.moving = fixed, moving
        self.pixel_um = fixed.pixel_um
        pixels = moving.pixels_um()
        self.centre_um = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
        self.reach_px = int(np.ceil(np.hypot(*np.ptp(pixels, axis=0)) / 2 / self.pixel_um)) + 1
        edge = 2 * self.reach_px + 1
        self.shape = [fft.next_fast_len(n + edge, real=True) for n in fixed.mask.shape]
        self.least_area_px = min(fixed.area_um2, moving.area_um2) / self.pixel_um**2
        values = fixed.values[..., :N_CHANNELS]
        self.mask, self.values, self.squares = self._transformed(values, fixed.mask)

    def peaks(self, rotation_deg: float, is_reflected: bool, min_overlap: float) -> list[Candidate]:
        turned = about(self.centre_um, np.zeros(2), rotation_deg, is_reflected)
        axis_um = np.arange(-self.reach_px, self.reach_px + 1) * self.pixel_um
        grid_um = np.stack(np.meshgrid(axis_um, axis_um), axis=-1).reshape(-1, 2)
        from_um = turned.invert(grid_um)
        inside = self.moving.is_tissue(from_um)
        values = np.zeros((len(grid_um), len(self.values)), dtype=np.float32)
        values[inside] = self.moving.sample(from_um[inside])[:, :N_CHANNELS]
        edge = len(axis_um)
        correlation, overlap = self._correlate(
            values.reshape(edge, edge, -1), inside.reshape(edge, edge)
        )
        evidence = np.where(overlap >= min_overlap, correlation * np.sqrt(overlap), -1.0)
        candidates = []
        for _ in range(PEAKS_PER_ANGLE):
            row, column = np.unravel_index(np.argmax(evidence), evidence.shape)
            if evidence[row, column] <= 0:
                break
            to_um = self._shift_um(int(row), int(column))
            motion = about(self.centre_um, to_um, rotation_deg, is_reflected)
            at = (row, column)
            candidates.append(Candidate(motion, float(correlation[at]), float(overlap[at])))
            near = self.reach_px // 4
            rows, columns = (
                np.arange(i - near, i + near + 1) % n
                for i, n in zip(at, evidence.shape, strict=True)
            )
            evidence[np.ix_(rows, columns)] = -1.0
        return candidates

    def _shift_um(self, row: int, column: int) -> np.ndarray:
        """Where the moving section's centre comes to lie at a cell of the correlation, (2,)."""
        moved = np.array([column, row])
        size = np.array(self.shape[::-1])
        moved = np.where(moved >= np.array(self.fixed.mask.shape[::-1]), moved - size, moved)
        return self.fixed.corner_um + (moved + self.reach_px) * self.pixel_um

    def _transformed(
        self, values: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Transforms of the mask (rows, columns), the values and the sum of their squares."""
        masked = np.where(mask[..., None], values, 0.0)
        stack = np.concatenate([mask[None], np.moveaxis(masked, -1, 0)]).astype(np.float32)
        squares = (masked**2).sum(axis=-1, dtype=np.float32)
        stack = fft.rfft2(np.concatenate([stack, squares[None]]), self.shape)
        return stack[0], stack[1:-1], stack[-1]

    def _correlate(self, values: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Correlation and share of overlap at every shift, both of `self.shape`."""
        its_mask, its_values, its_squares = (x.conj() for x in self._transformed(values, mask))
        n_channels = len(its_values)
        back = fft.irfft2(
            np.concatenate(
                [
                    np.stack(
                        [
                            self.mask * its_mask,
                            (self.values * its_values).sum(axis=0),
                            self.squares * its_mask,
                            self.mask * its_squares,
                        ]
                    ),
                    self.values * its_mask,
                    self.mask * its_values,
                ]
            ),
            self.shape,
        )
        n = np.maximum(back[0], 1.0)
        of_fixed, of_moving = back[4 : 4 + n_channels], back[4 + n_channels :]
        product = back[1] - (of_fixed * of_moving).sum(axis=0) / n
        spread = (back[2] - (of_fixed**2).sum(axis=0) / n) * (
            back[3] - (of_moving**2).sum(axis=0) / n
        )
        spread = np.sqrt(np.maximum(spread, (1e-3 * n) ** 2))
        correlation = np.clip(product / spread, -MAX_CORRELATION, MAX_CORRELATION)
        return correlation, np.maximum(back[0], 0.0) / self.least_area_px
