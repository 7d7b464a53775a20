"""Augmentation of H&E patches: orientation, stain, light and optics.

Stain varies more between laboratories than nuclei do, so colours are drawn anew for each patch:
the patch is parted into hematoxylin and eosin by the optical densities of Ruifrok & Johnston
(2001), their amounts are changed, and they are painted again with other stain vectors.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

STAINS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])
STAINS /= np.linalg.norm(STAINS, axis=1, keepdims=True)
HEMATOXYLIN, EOSIN = 0, 1


@dataclass(frozen=True)
class AugmentationSettings:
    """Ranges that one patch is drawn from.

    `hematoxylin` and `eosin` are factors of the amounts, `vector_sd` turns the stain vectors,
    `background_eosin` is what is painted between nuclei on patches that lack eosin, `blur_px` and
    `noise` are the standard deviations of blur (pixels) and noise (grey levels of 255), and
    `low_percentile` and `high_percentile` are where values become 0 and 1.
    """

    hematoxylin: tuple[float, float] = (0.55, 1.6)
    eosin: tuple[float, float] = (0.4, 1.5)
    vector_sd: float = 0.07
    background_eosin: tuple[float, float] = (0.0, 0.7)
    blur_px: tuple[float, float] = (0.0, 0.9)
    noise: tuple[float, float] = (0.0, 8.0)
    gamma: tuple[float, float] = (0.8, 1.25)
    low_percentile: tuple[float, float] = (0.0, 6.0)
    high_percentile: tuple[float, float] = (94.0, 100.0)


class Augmenter:
    """A seeded source of augmented patches, in the form that StarDist's training calls.

    Takes pixels (h, w, 3) of 0 to 255 and labels (h, w); gives float32 pixels of about 0 to 1 and
    the labels in the same orientation.
    """

    def __init__(self, seed: int, settings: AugmentationSettings | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        self.settings = settings or AugmentationSettings()

    def __call__(self, pixels: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pixels, labels = _turned(self.rng, pixels, labels)
        pixels = restain(self.rng, pixels, labels, self.settings)
        pixels = _photographed(self.rng, pixels, self.settings)
        low, high = np.percentile(
            pixels[::2, ::2],
            [
                self.rng.uniform(*self.settings.low_percentile),
                self.rng.uniform(*self.settings.high_percentile),
            ],
        )
        return ((pixels - low) / max(high - low, 20.0)).astype(np.float32), labels


def restain(
    rng: np.random.Generator,
    pixels: np.ndarray,
    labels: np.ndarray,
    settings: AugmentationSettings,
) -> np.ndarray:
    """The patch with other amounts of other stains; eosin between nuclei where it lacks."""
    shape = pixels.shape[:2]
    density = -np.log(np.maximum(pixels, 2.0).astype(np.float32) / 255.0)
    amounts = density.reshape(-1, 3) @ np.linalg.inv(STAINS).astype(np.float32)
    eosin = amounts[:, EOSIN]
    outside = (labels == 0).ravel()
    amounts[:, HEMATOXYLIN] *= rng.uniform(*settings.hematoxylin)
    lacks_eosin = outside.any() and np.median(eosin[outside]) < 0.5 * np.median(
        amounts[outside, HEMATOXYLIN]
    )
    amounts[:, EOSIN] *= rng.uniform(*settings.eosin)
    if lacks_eosin and rng.random() < 0.8:
        # A counterstain that was never there: as smooth and fibrous as tissue is.
        amount = rng.uniform(*settings.background_eosin)
        clear = ndimage.gaussian_filter(outside.reshape(shape).astype(np.float32), 1.0)
        field = amount * (0.25 + 0.75 * clear) * _tissue_texture(rng, shape)
        amounts[:, EOSIN] += field.ravel()
        fade = rng.uniform(0.2, 1.0)  # a lilac ground gives way to it
        ground = np.median(amounts[outside, HEMATOXYLIN])
        amounts[:, HEMATOXYLIN] -= (1 - fade) * ground
    amounts[:, 2] *= rng.uniform(0.3, 1.3)
    stains = STAINS + rng.normal(0, settings.vector_sd, (3, 3))
    stains = np.maximum(stains, 0.01)
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    density = np.maximum(amounts @ stains.astype(np.float32), 0).reshape(pixels.shape)
    white = rng.uniform(225, 255) + rng.normal(0, 2.5, 3)
    return np.exp(-density) * white.astype(np.float32)


def _tissue_texture(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A field of mean about 1: clouds, and fibres along one direction."""
    clouds = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 12)
    along, across = rng.uniform(6, 14), rng.uniform(0.8, 1.6)
    fibres = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), (across, along))
    if rng.random() < 0.5 and shape[0] == shape[1]:
        fibres = fibres.T
    fine = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 1.0)
    field = 1.0
    for part, weight in ((clouds, 0.5), (fibres, rng.uniform(0, 0.4)), (fine, 0.15)):
        field = field + weight * part / part.std()
    return np.clip(field, 0, 3).astype(np.float32)


def _turned(
    rng: np.random.Generator, pixels: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    turns = int(rng.integers(4))
    pixels, labels = np.rot90(pixels, turns), np.rot90(labels, turns)
    if rng.random() < 0.5:
        pixels, labels = pixels[:, ::-1], labels[:, ::-1]
    return pixels, np.ascontiguousarray(labels)


def _photographed(
    rng: np.random.Generator, pixels: np.ndarray, settings: AugmentationSettings
) -> np.ndarray:
    """Blur or sharpen, tone curve, noise."""
    sigma = rng.uniform(*settings.blur_px)
    if sigma > 0.25:
        blurred = ndimage.gaussian_filter(pixels, (sigma, sigma, 0))
        is_sharpened = rng.random() < 0.25
        pixels = 2 * pixels - blurred if is_sharpened else blurred
    pixels = 255 * np.clip(pixels / 255, 0, 1) ** np.float32(rng.uniform(*settings.gamma))
    noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    if rng.random() < 0.5:  # a camera's noise, or a compression's, which is coarser
        noise = 2 * ndimage.gaussian_filter(noise, (0.8, 0.8, 0))
    return pixels + rng.uniform(*settings.noise) * noise
