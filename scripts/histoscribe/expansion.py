"""Nuclei grown into cells: each point belongs to the nearest nucleus, up to a distance.

The same rule as in Space Ranger 4, bin2cell and QuPath, but on outlines instead of pixels: the
outlines are sampled, more densely where nuclei are close, and the Voronoi regions of a nucleus's
samples are joined (Okabe et al., Spatial Tessellations, 2nd ed. 2000, section 3.5) and cut to its
buffer. The slide is taken block by block.
"""

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from scipy.spatial import Delaunay
from tqdm import tqdm

from histoscribe.errors import UserError, problem
from histoscribe.polygons.rings import follow_rings, polygons_of_vertices, signed_areas

QUADRANT_SEGMENTS = 8  # an arc of 5 um radius is then 24 nm off at most
FINEST_UM, COARSEST_UM = 0.2, 1.0  # between samples of an outline
ERROR_UM = 0.15  # by which a sampled outline may seem too far away, at the worst place
SIMPLIFY_UM = 0.05  # vertices nearer than this to the line through their neighbours say little
TOUCH_UM = 1e-6
NUCLEI_A_BLOCK = 4000


def expand_nuclei(nuclei: gpd.GeoDataFrame, expand_um: float) -> gpd.GeoDataFrame:
    """Cells of nuclei: every point nearer than `expand_um` goes to the nearest nucleus.

    `nuclei` has valid polygons in um and `area_um2`. Returns the same rows with the cells'
    geometry and `area_um2`, and `nucleus_area_um2`. A cell is one polygon and holds its nucleus;
    cells share no area but what nuclei share. Distances are exact to about 0.1 um. Outlines that
    lie wholly on others do not grow. Raises UserError for a negative distance.
    """
    if not np.isfinite(expand_um) or expand_um < 0:
        found, expected = f"{expand_um}", "a distance of 0 um or more"
        raise UserError(problem("expand_um", found, expected, "Correct it."))
    cells = nuclei.assign(nucleus_area_um2=nuclei["area_um2"])
    if expand_um == 0 or nuclei.empty:
        return cells
    crowd = _Crowd.of(np.asarray(nuclei.geometry), expand_um)
    grown = shapely.buffer(crowd.outlines, expand_um, quad_segs=QUADRANT_SEGMENTS)
    blocks = _blocks(crowd.outlines, np.flatnonzero(np.diff(crowd.first)))
    for block in tqdm(blocks, desc="expand nuclei", unit="block", disable=None):
        grown[block] = _share_out(crowd, block, grown[block])
    cells["area_um2"] = shapely.area(grown)
    return cells.set_geometry(gpd.GeoSeries(grown, index=nuclei.index, crs=nuclei.crs))


@dataclass(frozen=True)
class _Crowd:
    """All outlines (n,), their tree, and which are near enough to share an expansion.

    The neighbours of outline i are `neighbour[first[i] : first[i + 1]]`.
    """

    outlines: np.ndarray
    tree: shapely.STRtree
    first: np.ndarray
    neighbour: np.ndarray

    @classmethod
    def of(cls, outlines: np.ndarray, expand_um: float) -> "_Crowd":
        tree = shapely.STRtree(outlines)
        one, other = tree.query(outlines, predicate="dwithin", distance=2 * expand_um)
        one, other = one[one != other], other[one != other]
        first = np.concatenate([[0], np.cumsum(np.bincount(one, minlength=len(outlines)))])
        return cls(outlines, tree, first, other[np.argsort(one, kind="stable")])

    def with_neighbours(self, members: np.ndarray) -> np.ndarray:
        near = [self.neighbour[self.first[i] : self.first[i + 1]] for i in members]
        return np.unique(np.concatenate([members, *near]))


def _blocks(outlines: np.ndarray, members: np.ndarray) -> list[np.ndarray]:
    """Members that lie close together, about equally many in each block."""
    if not len(members):
        return []
    x, y = shapely.get_coordinates(shapely.centroid(outlines[members])).T
    n_strips = max(round((len(members) / NUCLEI_A_BLOCK) ** 0.5), 1)
    strips = np.array_split(np.argsort(x, kind="stable"), n_strips)
    return [
        members[part]
        for strip in strips
        for part in np.array_split(
            strip[np.argsort(y[strip], kind="stable")], -(-len(strip) // NUCLEI_A_BLOCK)
        )
    ]


def _share_out(crowd: _Crowd, block: np.ndarray, buffers: np.ndarray) -> np.ndarray:
    """Cells of the nuclei in a block: the buffers without what is nearer to another nucleus."""
    members = crowd.with_neighbours(block)
    xy, owner = _samples(crowd, members)
    regions = _nearest_regions(xy, np.searchsorted(members, owner), len(members))
    cells = shapely.intersection(regions[np.searchsorted(members, block)], buffers)
    # Where nuclei touch, the samples of one reach into the other.
    cell, intruded = crowd.tree.query(cells, predicate="intersects")
    foreign = intruded != block[cell]
    for turn in _turns(cell[foreign]):
        at, other = cell[foreign][turn], intruded[foreign][turn]
        cells[at] = shapely.difference(cells[at], crowd.outlines[other])
    own = crowd.outlines[block]
    lost = ~shapely.covers(cells, own)
    cells[lost] = shapely.union(cells[lost], own[lost])
    return _largest_parts(cells)


def _turns(groups: np.ndarray) -> list[np.ndarray]:
    """Positions of the first of each group, of the second, and so on (groups are sorted)."""
    order = np.argsort(groups, kind="stable")
    start = np.searchsorted(groups[order], groups[order])
    turn = np.arange(len(groups)) - start
    return [order[turn == t] for t in range(turn.max(initial=-1) + 1)]


def _samples(crowd: _Crowd, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) on the outlines of members and whose they are (n,).

    A point at distance r of a line seems, to samples s apart, up to s^2 / 8r too far away; where
    outlines have a gap g, r is g / 2 at least where it matters. Samples on or in another nucleus
    never decide and are left out. They depend on the whole crowd, not on the block.
    """
    rings = shapely.simplify(shapely.get_exterior_ring(crowd.outlines[members]), SIMPLIFY_UM)
    rings = shapely.segmentize(rings, COARSEST_UM)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    gap_um = _gaps(crowd, xy, members[ring], COARSEST_UM**2 / (4 * ERROR_UM))
    joined = ring[1:] == ring[:-1]
    start, step = xy[:-1][joined], np.diff(xy, axis=0)[joined]
    owner = members[ring[:-1][joined]]
    length_um = np.hypot(*step.T)
    gap_um = np.minimum(gap_um[:-1], gap_um[1:])[joined] - length_um / 2
    spacing_um = np.sqrt(4 * ERROR_UM * np.maximum(gap_um, 0)).clip(FINEST_UM, COARSEST_UM)
    n = np.ceil(length_um / spacing_um).astype(np.int64)
    edge = np.repeat(np.arange(len(n)), n)
    share = (np.arange(len(edge)) - np.repeat(np.cumsum(n) - n, n)) / n[edge]
    points = start[edge] + share[:, None] * step[edge]
    decides = np.ones(len(points), dtype=bool)
    close = np.flatnonzero(gap_um[edge] <= FINEST_UM)
    decides[close] = _gaps(crowd, points[close], owner[edge[close]], TOUCH_UM) > 0
    return points[decides], owner[edge][decides]


def _gaps(crowd: _Crowd, xy: np.ndarray, owner: np.ndarray, limit_um: float) -> np.ndarray:
    """Distance of points (n, 2) to the nearest nucleus but their owner (n,), at most the limit;
    0 within the rounding of coordinates."""
    points = shapely.points(xy)
    point, other = crowd.tree.query(points, predicate="dwithin", distance=limit_um)
    foreign = other != owner[point]
    point, other = point[foreign], other[foreign]
    gap_um = np.full(len(xy), limit_um)
    distance_um = shapely.distance(points[point], crowd.outlines[other])
    np.minimum.at(gap_um, point, np.where(distance_um < TOUCH_UM, 0, distance_um))
    return gap_um


def _nearest_regions(xy: np.ndarray, owner: np.ndarray, n: int) -> np.ndarray:
    """Regions (n,) of points nearest to the samples `xy` (n_samples, 2) of each of n owners.

    Edges are taken from the Delaunay triangulation, in whose triangles' circumcentres Voronoi
    regions meet: each step from a triangle to the next over an edge between two owners has the
    one on its left. Linking steps by triangle is exact, whatever the rounding of centres.
    """
    middle = (xy.min(axis=0) + xy.max(axis=0)) / 2 if len(xy) else np.zeros(2)
    reach = np.ptp(xy, axis=0).max(initial=1.0) * 10
    frame = reach * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    points = np.concatenate([xy - middle, frame])
    owner = np.concatenate([owner, [n] * 4])
    mesh = Delaunay(points)
    corners = mesh.simplices  # (n_triangles, 3), counter-clockwise
    right, left = np.roll(corners, -1, axis=1), np.roll(corners, -2, axis=1)
    triangle, side = np.nonzero(owner[right] != owner[left])
    of = owner[left[triangle, side]]
    goes_to = mesh.neighbors[triangle, side]
    leaving = np.lexsort((triangle, of))
    arriving = np.lexsort((goes_to, of))
    successor = np.empty(len(of), dtype=np.int64)
    successor[arriving] = leaving
    order, ring = follow_rings(successor)
    centres = _circumcentres(points[corners])[triangle[order]] + middle
    of = of[order][np.flatnonzero(np.diff(ring, prepend=-1))]
    return _join_rings(centres, ring, of, n)


def _circumcentres(triangles: np.ndarray) -> np.ndarray:
    """Centres (n, 2) of the circles through the corners of triangles (n, 3, 2)."""
    origin = triangles[:, 0]
    (bx, by), (cx, cy) = (triangles[:, 1] - origin).T, (triangles[:, 2] - origin).T
    twice_area = 2 * (bx * cy - by * cx)
    b2, c2 = bx**2 + by**2, cx**2 + cy**2
    x, y = (cy * b2 - by * c2) / twice_area, (bx * c2 - cx * b2) / twice_area
    return origin + np.stack([x, y], axis=1)


def _join_rings(xy: np.ndarray, ring: np.ndarray, of: np.ndarray, n: int) -> np.ndarray:
    """Regions (n,) from their rings: those that run clockwise are holes."""
    area = signed_areas(xy, ring)
    parts = shapely.make_valid(polygons_of_vertices(xy, ring, len(of)))
    regions = np.full(n, shapely.Polygon())
    n_rings = np.bincount(of, minlength=n + 1)[:n]
    is_single = (n_rings == 1)[np.minimum(of, n - 1)] & (of < n)
    regions[of[is_single]] = parts[is_single]
    for owner in np.flatnonzero(n_rings > 1):
        mine = of == owner
        shells = shapely.union_all(parts[mine & (area > 0)])
        regions[owner] = shapely.difference(shells, shapely.union_all(parts[mine & (area < 0)]))
    return regions


def _largest_parts(cells: np.ndarray) -> np.ndarray:
    """The largest polygon of each cell: rounding leaves slivers and lines beside it."""
    torn = np.flatnonzero(shapely.get_type_id(cells) != shapely.GeometryType.POLYGON)
    parts, whole = shapely.get_parts(cells[torn], return_index=True)
    order = np.lexsort((shapely.area(parts), whole))
    largest = order[np.flatnonzero(np.diff(whole[order], append=-1))]
    cells = cells.copy()
    cells[torn[whole[largest]]] = parts[largest]
    return cells
