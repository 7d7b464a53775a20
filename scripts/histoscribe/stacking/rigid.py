"""Rigid motions of a plane: perhaps a reflection, then a rotation, then a shift."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RigidMotion:
    """Takes x to -x where reflected, then rotates about (0, 0), then shifts.

    A positive rotation turns the x axis (right) towards the y axis (down).
    """

    rotation_deg: float
    shift_um: tuple[float, float]
    is_reflected: bool

    @property
    def matrix(self) -> np.ndarray:
        """(2, 2), of determinant 1, or -1 where reflected."""
        angle = np.deg2rad(self.rotation_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return turn @ np.diag([-1.0, 1.0]) if self.is_reflected else turn

    def apply(self, xy_um: np.ndarray) -> np.ndarray:
        """Where positions (n, 2) go."""
        return np.asarray(xy_um, dtype=np.float64) @ self.matrix.T + self.shift_um

    def invert(self, xy_um: np.ndarray) -> np.ndarray:
        """Where positions (n, 2) came from."""
        return (np.asarray(xy_um, dtype=np.float64) - self.shift_um) @ self.matrix


IN_PLACE = RigidMotion(0.0, (0.0, 0.0), False)


def about(
    centre_um: np.ndarray, to_um: np.ndarray, rotation_deg: float, is_reflected: bool
) -> RigidMotion:
    """The motion that turns about `centre_um` (2,) and brings it to `to_um` (2,)."""
    turned = RigidMotion(rotation_deg, (0.0, 0.0), is_reflected).apply(centre_um[None])[0]
    x, y = (np.asarray(to_um) - turned).tolist()
    return RigidMotion(float((rotation_deg + 180) % 360 - 180), (x, y), is_reflected)
