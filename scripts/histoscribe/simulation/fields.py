"""Smooth random fields: the raw material of layout and texture."""

import numpy as np
from scipy import ndimage

FINE_TILE_PX = 1024


def _spline_weights(length: int, cell_px: float) -> np.ndarray:
    """Cubic B-spline weights that carry a lattice onto `length` pixels, (length, lattice nodes)."""
    position = np.arange(length, dtype=np.float64) / cell_px
    node = np.floor(position).astype(int)
    t = position - node
    n_nodes = int(node[-1]) + 4
    weights = np.zeros((length, n_nodes), dtype=np.float32)
    rows = np.arange(length)
    weights[rows, node] = (1 - t) ** 3 / 6
    weights[rows, node + 1] = (3 * t**3 - 6 * t**2 + 4) / 6
    weights[rows, node + 2] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
    weights[rows, node + 3] = t**3 / 6
    return weights


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell_px: float) -> np.ndarray:
    """Gaussian noise of mean 0 and variance about 1 that varies over `cell_px` pixels, float32.

    Fine noise repeats every 1,024 pixels, which no eye can see and which costs a quarter.
    """
    if cell_px < 6:
        tile = min(shape[0], FINE_TILE_PX), min(shape[1], FINE_TILE_PX)
        white = rng.standard_normal(tile, dtype=np.float32)
        fine = ndimage.gaussian_filter(white, max(cell_px / 2, 0.3), mode="wrap", truncate=3.0)
        fine /= fine.std()
        return np.pad(fine, [(0, n - t) for n, t in zip(shape, tile, strict=True)], mode="wrap")
    down, across = _spline_weights(shape[0], cell_px), _spline_weights(shape[1], cell_px)
    lattice = rng.standard_normal((down.shape[1], across.shape[1]), dtype=np.float32)
    # Sum of squared cubic B-spline weights, averaged over a cell, is 0.4794 an axis.
    return (down @ lattice @ across.T) * np.float32(1 / 0.4794)


def fractal_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cell_px: float,
    octaves: int = 3,
    gain: float = 0.5,
) -> np.ndarray:
    """Sum of smooth noise over halving scales, variance about 1, float32."""
    total = np.zeros(shape, dtype=np.float32)
    for octave in range(octaves):
        total += np.float32(gain**octave) * smooth_noise(rng, shape, cell_px / 2**octave)
    return total / np.float32(np.sqrt(sum(gain ** (2 * octave) for octave in range(octaves))))


def stretched_noise(rng: np.random.Generator, across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Noise drawn in curved coordinates, so that it streaks along lines of constant `across`.

    `across` and `along` are (rows, columns) in units of the correlation length of each direction.
    Variance about 1.
    """
    size, step = 512, 4
    texture = ndimage.gaussian_filter(
        rng.standard_normal((size, size), dtype=np.float32), step / 2, mode="wrap"
    )
    texture /= texture.std()
    coordinates = np.stack([across * step, along * step])
    return ndimage.map_coordinates(texture, coordinates, order=1, mode="grid-wrap", prefilter=False)


def unit_step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step from 0 at `low` to 1 at `high` (Hermite)."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
