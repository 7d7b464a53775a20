"""Smooth displacements on a grid of control points (cubic B-splines), which never fold tissue."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from histoscribe.stacking.splines import REACH, cubic_weights

CHECKED_PER_KNOT = 4


@dataclass(frozen=True)
class Warp:
    """A displacement in um at places of the fixed frame, as control points of cubic B-splines.

    `control_um` (n_rows, n_columns, 2) holds x and y; control point (row, column) stands at
    `corner_um` + `spacing_um` * (column - 1, row - 1). Beyond the grid the displacement goes on as
    it is at the rim. Source: Rueckert et al., IEEE TMI 1999 (free-form deformations).
    """

    control_um: np.ndarray
    corner_um: tuple[float, float]
    spacing_um: float

    def displacement(self, xy_um: np.ndarray) -> np.ndarray:
        """In um (n, 2) at places (n, 2)."""
        return self.weights(xy_um) @ self.control_um.reshape(-1, 2)

    def largest_um(self) -> float:
        """The longest displacement on the grid."""
        u = self.displacement(self._lattice_um().reshape(-1, 2))
        return float(np.linalg.norm(u, axis=1).max())

    def weights(self, xy_um: np.ndarray) -> sparse.csr_matrix:
        """Weight of each control point at places, (n, n_rows * n_columns)."""
        place = (np.asarray(xy_um, dtype=np.float64) - self.corner_um) / self.spacing_um
        return cubic_weights(place + 1, *self.control_um.shape[:2])

    def smallest_stretch(self) -> float:
        """The least area that a small patch keeps (Jacobian determinant); negative where folded."""
        lattice_um = self._lattice_um()
        u = self.displacement(lattice_um.reshape(-1, 2)).reshape(lattice_um.shape)
        step = self.spacing_um / CHECKED_PER_KNOT
        along_y, along_x = (np.gradient(u, step, axis=axis) for axis in (0, 1))
        stretch = (1 + along_x[..., 0]) * (1 + along_y[..., 1])
        return float((stretch - along_x[..., 1] * along_y[..., 0]).min())

    def _lattice_um(self) -> np.ndarray:
        """Places (height, width, 2) all over the grid, several from knot to knot."""
        n_rows, n_columns = self.control_um.shape[:2]
        along_x, along_y = (
            np.arange(CHECKED_PER_KNOT * (n - REACH + 1) + 1) / CHECKED_PER_KNOT
            for n in (n_columns, n_rows)
        )
        return np.stack(np.meshgrid(along_x, along_y), axis=-1) * self.spacing_um + self.corner_um


def no_warp(xy_um: np.ndarray, spacing_um: float) -> Warp:
    """A grid of control points over places (n, 2) that displaces nothing."""
    extent = np.ptp(xy_um, axis=0)
    n_columns, n_rows = np.maximum(np.ceil(extent / spacing_um), 1).astype(int) + REACH - 1
    spare_um = (np.array([n_columns, n_rows]) - REACH + 1) * spacing_um - extent
    x, y = (xy_um.min(axis=0) - spare_um / 2).tolist()
    return Warp(np.zeros((n_rows, n_columns, 2)), (x, y), spacing_um)


def bending(warp: Warp) -> sparse.csr_matrix:
    """Squared differences of neighbouring control points as a form, (n_control, n_control)."""
    n_rows, n_columns = warp.control_um.shape[:2]
    down = sparse.kron(_differences(n_rows), sparse.identity(n_columns))
    across = sparse.kron(sparse.identity(n_rows), _differences(n_columns))
    return (down.T @ down + across.T @ across).tocsr()


def _differences(n: int) -> sparse.csr_matrix:
    return sparse.diags([-1.0, 1.0], [0, 1], shape=(n - 1, n))
