"""Cubic B-splines on a square grid, as a sparse matrix from control points to places."""

import numpy as np
from scipy import sparse

REACH = 4  # control points that bear on a place along one axis
# Rows: the control points; columns: coefficients of 1, t, t^2, t^3, t from one knot to the next.
CUBIC = np.array([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]]) / 6


def cubic_weights(
    place: np.ndarray, n_rows: int, n_columns: int, slope_along: int | None = None
) -> sparse.csr_matrix:
    """Weight of each control point at places, (n, n_rows * n_columns) float32.

    `place` (n, 2) holds column and row, a control point lying at each whole number from 0; places
    beyond the second outermost points count as lying there. With `slope_along` the weights give the
    slope per cell, along x (0) or y (1). Source: Rueckert et al., IEEE TMI 1999, eq. 2.
    """
    size = np.array([n_columns, n_rows])
    place = np.clip(place, 1, size - 2)
    first = np.minimum(place.astype(np.int32), size - 3) - 1
    along_x, along_y = (
        _powers(place[:, axis] - first[:, axis] - 1, slope_along == axis) @ CUBIC.T
        for axis in (0, 1)
    )
    weight = (along_y[:, :, None] * along_x[:, None, :]).astype(np.float32)
    taps = np.arange(REACH)
    index = first[:, 1] * n_columns + first[:, 0]
    index = index[:, None] + (taps[:, None] * n_columns + taps).ravel()
    ends = np.arange(len(place) + 1) * REACH**2
    return sparse.csr_matrix((weight.ravel(), index.ravel(), ends), (len(place), size.prod()))


def _powers(t: np.ndarray, is_slope: bool) -> np.ndarray:
    """1, t, t^2, t^3 of each of `t` (n,), or their derivatives, (n, 4)."""
    one, none = np.ones_like(t), np.zeros_like(t)
    terms = (none, one, 2 * t, 3 * t**2) if is_slope else (one, t, t**2, t**3)
    return np.stack(terms, axis=1)
