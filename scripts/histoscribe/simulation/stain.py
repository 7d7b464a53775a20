"""Stains as light sees them: Beer-Lambert mixing, the donor's stain, the camera."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .fields import smooth_noise
from .settings import stream

# Optical density of unit amounts, red green blue (directions near Macenko's reference).
HAEMATOXYLIN = np.array([0.53, 0.64, 0.33])
EOSIN = np.array([0.12, 0.72, 0.47])
ERYTHROCYTE = np.array([0.10, 0.78, 0.74])


@dataclass(frozen=True)
class Stain:
    """Stain of one donor's slide.

    Attributes:
        vectors: (3 stains, 3 channels) optical density of one unit of haematoxylin, eosin and
            erythrocyte red.
        white: (3,) colour of bare glass, 0-255.
        contrast: exponent of the scanner's tone curve.
        blur_um: standard deviation of the optical blur.
    """

    vectors: np.ndarray
    white: np.ndarray
    contrast: float
    blur_um: float


def donor_stain(donor_seed: int) -> Stain:
    """Draw a stain within the range seen between laboratories."""
    rng = stream(donor_seed, "stain")
    vectors = np.stack([HAEMATOXYLIN, EOSIN, ERYTHROCYTE])
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / norm + rng.normal(0, [[0.035], [0.03], [0.02]], (3, 3))
    vectors = np.clip(vectors, 0.03, None)
    amount = np.exp(rng.normal([0.0, 0.0, 0.0], [0.13, 0.16, 0.08]))[:, None]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * norm * amount
    white = np.clip(rng.normal(243, 2.5) + rng.normal(0, 1.2, 3), 232, 252)
    return Stain(vectors, white, float(rng.normal(1.0, 0.03)), float(rng.uniform(0.28, 0.42)))


def photograph(
    rng: np.random.Generator, stain: Stain, amounts: np.ndarray, um_per_px: float
) -> np.ndarray:
    """Turn stain amounts (3, rows, columns) into an RGB image (rows, columns, 3) uint8."""
    shape = amounts.shape[1:]
    sigma = stain.blur_um / um_per_px
    blurred = [ndimage.gaussian_filter(amount, sigma) for amount in amounts]
    long = max(shape)
    light = 1 + 0.012 * np.clip(smooth_noise(rng, shape, long / 1.5), -2, 2)
    image = np.empty((*shape, 3), dtype=np.uint8)
    grain = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 0.5)
    for channel in range(3):
        density = sum(float(v) * b for v, b in zip(stain.vectors[:, channel], blurred, strict=True))
        value = np.exp(np.float32(-np.log(10) * stain.contrast) * density)
        value *= np.float32(stain.white[channel]) * light
        value += 2.2 * grain + 0.9 * rng.standard_normal(shape, dtype=np.float32)
        image[..., channel] = np.clip(value + 0.5, 0, 255)
    return image
