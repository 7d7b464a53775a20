"""How the units of a section are drawn: their shape, the turn of their grid, their outlines."""

import geopandas as gpd
import numpy as np
import shapely
from scipy.spatial import cKDTree

OUTLINE_STEP_UM = 0.1  # of the corners of outlines, stored relative to the unit's position


def grid_angle(xy_um: np.ndarray) -> float:
    """Turn of a square grid of units, in degrees clockwise on the screen, -45 to 45.

    The direction to the nearest unit, of all units, taken modulo a right angle.
    """
    if len(xy_um) < 2:
        return 0.0
    _, nearest = cKDTree(xy_um).query(xy_um, k=2)
    step = xy_um[nearest[:, 1]] - xy_um
    quarter = np.exp(4j * np.arctan2(step[:, 1], step[:, 0])).mean()
    return float(np.degrees(np.angle(quarter)) / 4)


def stored_outlines(
    outlines: gpd.GeoDataFrame, names: list[str], xy_um: np.ndarray
) -> dict[str, np.ndarray]:
    """The outer rings of units as arrays: `corners` int16 (n_corners, 2), `first` uint32 (n + 1,).

    Corners are in steps of `OUTLINE_STEP_UM` from the unit's position; the corners of unit i are
    those from `first[i]` to `first[i + 1]`. Units without an outline have none.
    """
    rows = outlines.index.get_indexer(names)
    shapes = np.where(rows >= 0, np.asarray(outlines.geometry)[rows], None)
    # Of an outline in several pieces the largest is drawn.
    for i in np.flatnonzero(shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOLYGON):
        shapes[i] = max(shapes[i].geoms, key=shapely.area)
    corners, unit = shapely.get_coordinates(shapely.get_exterior_ring(shapes), return_index=True)
    limits = np.iinfo(np.int16)
    steps = np.rint((corners - xy_um[unit]) / OUTLINE_STEP_UM).clip(limits.min, limits.max)
    first = np.searchsorted(unit, np.arange(len(names) + 1))
    return {"corners": steps.astype(np.int16), "first": first.astype(np.uint32)}
