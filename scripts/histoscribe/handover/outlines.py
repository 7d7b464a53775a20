"""The outline of every unit, with the slant of the grid that bins and spots lie on."""

import geopandas as gpd
import numpy as np
import shapely
from scipy.spatial import cKDTree

from histoscribe.errors import UserError, problem
from histoscribe.handover.section import Section

N_SAMPLED = 20_000  # units from which the slant is read
COHERENT = 0.8  # of directions between neighbours: 1 on a perfect grid, about 0 at random
LEAST_SLANT = np.radians(0.02)  # smaller ones move no corner of a bin by a hundredth of its edge
SPOT_SEGMENTS = 8  # a quarter circle


def unit_outlines(section: Section, nuclei: gpd.GeoDataFrame | None) -> np.ndarray:
    """Polygons in um, (n_units,), in the order of `section.units`.

    Nuclei and cells have their own, bins a square that is turned as the grid is, spots a disc.
    Raises UserError for units that `nuclei` lacks.
    """
    names = section.units.obs_names
    if nuclei is not None:
        absent = ~names.isin(nuclei.index)
        if absent.any():
            raise UserError(
                problem(
                    f"sample {section.sample}, outlines",
                    f"none for {absent.sum()} units (such as {names[absent][0]})",
                    "an outline for each",
                    "Delete units.h5ad of this section and run again.",
                )
            )
        return np.asarray(nuclei.geometry.loc[names])
    xy_um = np.asarray(section.units.obsm["spatial"], dtype=np.float64)
    if section.unit_shape == "circle":
        points, radius = shapely.points(xy_um), section.unit_size_um / 2
        return shapely.buffer(points, radius, quad_segs=SPOT_SEGMENTS)
    return squares(xy_um, section.unit_size_um, grid_slant(xy_um, section.unit_size_um))


def squares(centre_um: np.ndarray, edge_um: float, slant: float) -> np.ndarray:
    """Squares (n,) of `edge_um` about `centre_um` (n, 2), turned by `slant` radians (x to y)."""
    corner = edge_um / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)
    cos, sin = np.cos(slant), np.sin(slant)
    turned = corner @ np.array([[cos, sin], [-sin, cos]])
    return shapely.polygons(centre_um[:, None, :] + turned)


def grid_slant(xy_um: np.ndarray, pitch_um: float) -> float:
    """The angle, in radians from -pi/4 to pi/4, by which a square grid is turned in the image.

    From the directions between units one pitch apart; 0 where they agree on none.
    """
    if len(xy_um) < 4:
        return 0.0
    step = max(len(xy_um) // N_SAMPLED, 1)
    tree = cKDTree(xy_um)
    _, neighbour = tree.query(xy_um[::step], k=5, distance_upper_bound=1.3 * pitch_um)
    own = np.repeat(np.arange(len(xy_um))[::step], 4)
    other = neighbour[:, 1:].ravel()
    found = other < len(xy_um)
    if not found.any():
        return 0.0
    dx, dy = (xy_um[other[found]] - xy_um[own[found]]).T
    # A quarter turn leaves a grid as it is: four times the angle is the same for all neighbours.
    mean = np.exp(4j * np.arctan2(dy, dx)).mean()
    slant = float(np.angle(mean)) / 4
    return slant if abs(mean) >= COHERENT and abs(slant) >= LEAST_SLANT else 0.0
