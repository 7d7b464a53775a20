"""Where in the image a unit is read."""

import numpy as np

from histoscribe.adapted.reach import CELL_PX

MAX_POINTS_ACROSS = 8


def reading_points(unit: dict, um_per_px: float) -> np.ndarray:
    """Where around its centre a unit is read, (n_points, 2) in um.

    `unit` are the facts of a section's units (unit_shape, unit_size_um). A nucleus or cell is read
    at its centre; bins and spots, which are all alike, on a grid over them, a point for each cell
    of `CELL_PX`.
    """
    width_um = unit["unit_size_um"]
    if unit["unit_shape"] not in ("square", "circle"):
        return np.zeros((1, 2))
    n = int(np.clip(round(width_um / (CELL_PX * um_per_px)), 1, MAX_POINTS_ACROSS))
    steps = ((np.arange(n) + 0.5) / n - 0.5) * width_um
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    if unit["unit_shape"] == "square":
        return grid
    return grid[np.hypot(*grid.T) <= width_um / 2]
