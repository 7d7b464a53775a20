"""Values in one byte each, with the range that brings them back."""

import numpy as np

STEPS = 255
CUT_PERCENTILE = 99


def quantise(values: np.ndarray, high: float) -> np.ndarray:
    """Values of 0 to `high` as bytes, of the same shape; what lies outside takes the nearest end.

    `dequantise` gives them back to within half a step, `high` / 510.
    """
    scaled = np.clip(np.asarray(values, dtype=np.float32) / np.float32(high), 0, 1)
    return np.rint(scaled * STEPS).astype(np.uint8)


def dequantise(stored: np.ndarray, high: float) -> np.ndarray:
    """The values that bytes stand for; the page does the same."""
    return stored.astype(np.float32) * np.float32(high / STEPS)


def highest(values: np.ndarray) -> float:
    """Upper end of what is stored: the maximum, or 1 where nothing is above 0."""
    top = float(values.max(initial=0))
    return top if top > 0 else 1.0


def colour_cut(values: np.ndarray) -> float:
    """Upper end of a colour range: the 99th percentile, or the maximum where that is 0."""
    cut = float(np.percentile(values, CUT_PERCENTILE)) if len(values) else 0.0
    return cut if cut > 0 else highest(values)
