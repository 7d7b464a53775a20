"""Shapes of nuclei, and the company they keep."""

import numpy as np
import shapely
from scipy.spatial import cKDTree

NEIGHBOURS = (1, 3, 5)
SHAPE_NAMES = (
    "area",
    "log_area",
    "perimeter",
    "eccentricity",
    "elongation",
    "solidity",
    "circularity",
    "minor_axis",
    "major_axis",
)


def describe_shapes(footprints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shape of polygons in um: (n, len(SHAPE_NAMES)), and their long axis' angle (n,) in rad.

    Axes are those of the ellipse with the polygon's second moments; elongation is major over
    minor, circularity 4 pi area / perimeter^2, solidity area / area of the convex hull. An
    empty or degenerate polygon counts as a round one of its area.
    """
    footprints = np.asarray(footprints)
    area, major, minor, angle = _moments(footprints)
    perimeter = shapely.length(footprints)
    hull = shapely.area(shapely.convex_hull(footprints))
    ratio = np.divide(minor, major, out=np.ones_like(minor), where=major > 0)
    shapes = np.column_stack(
        [
            area,
            np.log1p(area),
            perimeter,
            np.sqrt(np.clip(1.0 - ratio**2, 0.0, 1.0)),
            1.0 / np.clip(ratio, 0.05, 1.0),
            np.divide(area, hull, out=np.ones_like(area), where=hull > 0),
            np.divide(4 * np.pi * area, perimeter**2, out=np.ones_like(area), where=perimeter > 0),
            minor,
            major,
        ]
    )
    return np.nan_to_num(shapes, posinf=0.0, neginf=0.0), angle


def _moments(footprints: np.ndarray) -> tuple[np.ndarray, ...]:
    """Area, major and minor axis (full length) and long axis' angle, by Green's theorem."""
    n = len(footprints)
    rings = shapely.get_exterior_ring(np.asarray(shapely.convex_hull(footprints), dtype=object))
    simple = shapely.get_type_id(footprints) == shapely.GeometryType.POLYGON
    rings = np.where(simple, shapely.get_exterior_ring(footprints), rings)
    points, owner = shapely.get_coordinates(rings, return_index=True)
    area = shapely.area(footprints)
    if len(points) < 2:
        return area, np.zeros(n), np.zeros(n), np.zeros(n)
    first = np.zeros((n, 2))
    first[owner[::-1]] = points[::-1]  # moments about a corner keep their digits
    x, y = (points - first[owner]).T
    same = owner[1:] == owner[:-1]
    x0, x1, y0, y1 = x[:-1][same], x[1:][same], y[:-1][same], y[1:][same]
    owner = owner[1:][same]
    cross = x0 * y1 - x1 * y0

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(owner, values, minlength=n)

    signed = total(cross) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x = total((x0 + x1) * cross) / (6 * signed)
        mean_y = total((y0 + y1) * cross) / (6 * signed)
        xx = total((x0**2 + x0 * x1 + x1**2) * cross) / (12 * signed) - mean_x**2
        yy = total((y0**2 + y0 * y1 + y1**2) * cross) / (12 * signed) - mean_y**2
        xy = (
            total((x0 * y1 + 2 * x0 * y0 + 2 * x1 * y1 + x1 * y0) * cross) / (24 * signed)
            - mean_x * mean_y
        )
    spread = np.hypot((xx - yy) / 2, xy)
    middle = (xx + yy) / 2
    major = 4 * np.sqrt(np.clip(middle + spread, 0.0, None))
    minor = 4 * np.sqrt(np.clip(middle - spread, 0.0, None))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    return tuple(
        np.nan_to_num(values, posinf=0.0, neginf=0.0) for values in (area, major, minor, angle)
    )


def describe_company(
    xy_um: np.ndarray,
    extent_um: np.ndarray,
    angle: np.ndarray,
    traits: dict[str, np.ndarray],
    radii_um: tuple[float, ...],
    reach_um: float,
) -> dict[str, np.ndarray]:
    """What surrounds every nucleus: distances, densities, and its neighbours' mean traits.

    A neighbour counts only when it lies wholly within `reach_um`: its distance and its own
    `extent_um` together. Means of a nucleus without neighbours are its own traits.
    """
    n = len(xy_um)
    tree = cKDTree(xy_um)
    company = _nearest(tree, xy_um, reach_um)
    one, other, apart = _pairs(tree, xy_um, min(max(radii_um), reach_um))
    whole = apart + extent_um[other] <= reach_um
    for radius in radii_um:
        within = min(radius, reach_um)
        near = apart <= within
        per_mm2 = 1e6 / (np.pi * within**2)
        company[f"nuclei_{radius:g}um_density"] = np.bincount(one[near], minlength=n) * per_mm2
        centre, neighbour = one[near & whole], other[near & whole]
        count = np.bincount(centre, minlength=n)

        def mean(values: np.ndarray, centre: np.ndarray = centre, count=count) -> np.ndarray:
            return np.bincount(centre, values, minlength=n) / np.maximum(count, 1)

        for name, values in traits.items():
            average = np.where(count > 0, mean(values[neighbour]), values)
            spread = mean((values[neighbour] - average[centre]) ** 2)
            company[f"nuclei_{radius:g}um_{name}_mean"] = average
            company[f"nuclei_{radius:g}um_{name}_std"] = np.sqrt(spread)
        double = 2 * angle[neighbour]
        company[f"nuclei_{radius:g}um_alignment"] = np.hypot(
            mean(np.cos(double)), mean(np.sin(double))
        )
    return company


def _nearest(tree: cKDTree, xy_um: np.ndarray, reach_um: float) -> dict[str, np.ndarray]:
    """Distances to the k-th nearest nucleus, cut at the reach."""
    n, most = len(xy_um), max(NEIGHBOURS) + 1
    distances = np.full((n, most), reach_um)
    if n > 1:
        found, _ = tree.query(xy_um, k=min(most, n))
        distances[:, : found.shape[1]] = np.minimum(found, reach_um)
    return {f"neighbour_{rank}_distance": distances[:, rank] for rank in NEIGHBOURS}


def _pairs(tree: cKDTree, xy_um: np.ndarray, within_um: float) -> tuple[np.ndarray, ...]:
    """Both directions of all pairs within a distance, in a fixed order, and how far apart."""
    pairs = tree.query_pairs(within_um, output_type="ndarray")
    one, other = np.concatenate([pairs, pairs[:, ::-1]]).T
    order = np.lexsort((other, one))
    one, other = one[order], other[order]
    return one, other, np.linalg.norm(xy_um[one] - xy_um[other], axis=1)
