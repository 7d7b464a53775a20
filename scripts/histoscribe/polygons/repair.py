"""Repairs of polygons that a file gives: one valid outline an object, no object twice."""

import geopandas as gpd
import numpy as np
import shapely

DUPLICATE_COVER = 0.5
ROUNDING = 1e-6  # of an area: what is shared by outlines that only touch
PAIRS_AT_ONCE = 200_000


def whole_outlines(
    parts: np.ndarray, owner: np.ndarray, n: int
) -> tuple[np.ndarray, dict[str, int]]:
    """One valid polygon without holes for each of n objects: (n,) polygons, and what was mended.

    `parts` (n_parts,) are polygons and `owner` (n_parts,) their objects. Invalid parts are
    repaired, and the largest part is kept; an object without area is empty.
    """
    parts = parts.copy()
    has_points = ~shapely.is_empty(parts)
    several = np.bincount(owner[has_points], minlength=n) > 1
    broken = np.flatnonzero(~shapely.is_valid(parts))
    repaired, whole = shapely.get_parts(shapely.make_valid(parts[broken]), return_index=True)
    repaired, again = shapely.get_parts(repaired, return_index=True)
    is_polygon = shapely.get_type_id(repaired) == shapely.GeometryType.POLYGON
    repaired, source = repaired[is_polygon], broken[whole[again]][is_polygon]
    is_mended = np.zeros(n, dtype=bool)
    is_mended[owner[broken]] = True
    sound = np.delete(np.arange(len(parts)), broken)
    parts = np.concatenate([parts[sound], repaired])
    owner = np.concatenate([owner[sound], owner[source]])
    holed = shapely.get_num_interior_rings(parts) > 0
    parts[holed] = shapely.polygons(shapely.get_exterior_ring(parts[holed]))
    area = shapely.area(parts)
    order = np.lexsort((area, owner))
    largest = order[np.flatnonzero(np.diff(owner[order], append=-1))]
    largest = largest[area[largest] > 0]
    outlines = np.full(n, shapely.Polygon())
    outlines[owner[largest]] = parts[largest]
    is_kept = ~shapely.is_empty(outlines)
    return outlines, {
        "empty_dropped": int(n - is_kept.sum()),
        "repaired_invalid": int((is_mended & is_kept).sum()),
        "several_parts": int((several & is_kept).sum()),
    }


def drop_duplicates(nuclei: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, dict[str, int]]:
    """Keep one of objects that cover each other to more than half of the smaller one.

    The less probable is dropped where `nuclei` has a `probability`, else the smaller one (of equal
    ones the later), greedily from the best one down. Counts the dropped, and the kept that still
    overlap another.
    """
    outlines = np.asarray(nuclei.geometry)
    area = nuclei["area_um2"].to_numpy()
    first, second, shared_um2 = overlaps(outlines)
    merit = nuclei["probability"].to_numpy() if "probability" in nuclei else area
    rank = np.empty(len(nuclei), dtype=np.int64)
    rank[np.lexsort((np.arange(len(nuclei)), -area, -merit))] = np.arange(len(nuclei))
    is_double = shared_um2 > DUPLICATE_COVER * np.minimum(area[first], area[second])
    better = np.where(rank[first] < rank[second], first, second)[is_double]
    worse = (first + second)[is_double] - better
    kept = np.ones(len(nuclei), dtype=bool)
    for pair in np.argsort(rank[better], kind="stable"):
        if kept[better[pair]]:
            kept[worse[pair]] = False
    both = kept[first] & kept[second]
    overlapping = np.union1d(first[both], second[both])
    return nuclei[kept], {
        "duplicates_dropped": int((~kept).sum()),
        "overlapping_kept": len(overlapping),
    }


def overlaps(outlines: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of polygons that share an area: the lower and the higher number, and the area."""
    first, second = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    each_once = first < second
    first, second = first[each_once], second[each_once]
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    shared = np.zeros(len(first))
    for start in range(0, len(first), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        meet = shapely.intersection(outlines[first[part]], outlines[second[part]])
        shared[part] = shapely.area(meet)
    area = shapely.area(outlines)
    real = shared > ROUNDING * np.minimum(area[first], area[second])
    return first[real], second[real], shared[real]
