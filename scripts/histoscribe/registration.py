"""The shift at which two maps fit each other best, and how far that stands out of chance."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from histoscribe.density import DensityMap

MIN_OVERLAP = 0.5


@dataclass(frozen=True)
class Peak:
    """Where two maps fit best; `noise` is the correlation that chance gives on average."""

    dx_um: float
    dy_um: float
    at_zero: float
    correlation: float
    significance: float
    noise: float


NO_PEAK = Peak(0.0, 0.0, 0.0, 0.0, 0.0, np.inf)


def best_shift(image: DensityMap, molecules: DensityMap, search_um: float | None = None) -> Peak:
    """The shift of `molecules` that fits `image` best, within `search_um` of none, or anywhere.

    The statistic is the squared multiple correlation with the image's planes. Shifts that leave
    less than half of the molecules on tissue are passed over.
    """
    pixel_um = image.pixel_um
    shape = [
        fft.next_fast_len(a + b, real=True)
        for a, b in zip(image.mask.shape, molecules.mask.shape, strict=True)
    ]

    def across(of_image: np.ndarray, of_molecules: np.ndarray) -> np.ndarray:
        product = fft.rfft2(of_image, shape)
        product *= fft.rfft2(of_molecules, shape).conj()
        return fft.irfft2(product, shape)

    overlap = across(image.mask.astype(np.float32), molecules.mask.astype(np.float32))
    fit = sum(across(plane, molecules.planes[0]) ** 2 for plane in image.planes)
    dy, dx = (
        (fft.fftfreq(n, 1 / n) + first - second) * pixel_um
        for n, first, second in zip(
            shape, image.origin_px[::-1], molecules.origin_px[::-1], strict=True
        )
    )
    valid = overlap > MIN_OVERLAP * molecules.mask.sum()
    if search_um is not None:
        valid &= np.maximum(np.abs(dy)[:, None], np.abs(dx)) <= search_um
    if not valid.any():
        return NO_PEAK
    # The variance of a sum over the overlap grows with the overlap.
    fit = np.where(valid, fit / np.where(valid, overlap, 1), 0)
    noise = float(fit[valid].mean())
    row, column = np.unravel_index(np.argmax(fit), fit.shape)
    if noise <= 0:
        return NO_PEAK
    zero = (np.argmin(np.abs(dy)), np.argmin(np.abs(dx)))
    n = float(overlap[row, column])
    return Peak(
        dx_um=float(dx[column] + pixel_um * _vertex(fit[row], column)),
        dy_um=float(dy[row] + pixel_um * _vertex(fit[:, column], row)),
        at_zero=float(np.sqrt(fit[zero] / max(float(overlap[zero]), 1.0))),
        correlation=float(np.sqrt(fit[row, column] / n)),
        significance=float(np.sqrt(fit[row, column] / noise)),
        noise=float(np.sqrt(noise / n)),
    )


def _vertex(line: np.ndarray, at: int) -> float:
    """Where between pixels a peak lies, from the parabola through it and its neighbours."""
    before, here, after = line[at - 1], line[at], line[(at + 1) % len(line)]
    bend = before - 2 * here + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
