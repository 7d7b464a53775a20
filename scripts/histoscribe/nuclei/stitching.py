"""Nuclei of many blocks made one table, each nucleus once."""

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

SAME_NUCLEUS = 0.5  # share of the smaller outline that two sightings of one nucleus share
COLUMNS = ["probability", "area_um2", "geometry"]


def stitch_nuclei(
    parts: list[gpd.GeoDataFrame], tissue: gpd.GeoDataFrame | None = None
) -> gpd.GeoDataFrame:
    """One table of nuclei from the tables of `segment_blocks`, sorted by row and column.

    Two blocks may see one nucleus near their seam. Of sightings by different blocks that share
    more than half of the smaller outline one is kept: that of the block which holds its centre
    before others, the more probable before the less. Nuclei whose middle lies outside `tissue`
    (um; None: keep all) are dropped. The index stays unique and the result does not depend on the
    order of `parts`.
    """
    seen = pd.concat(parts) if len(parts) > 1 else parts[0]
    order = np.lexsort((seen["block"], seen.index, -seen["probability"], ~seen["is_own"]))
    seen = seen.iloc[order]
    outlines = np.asarray(seen.geometry)
    # Only nuclei that reach into another block's sightings can have a twin.
    first, second = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    block = seen["block"].to_numpy()
    pairs = (first < second) & (block[first] != block[second])
    first, second = first[pairs], second[pairs]
    shared = shapely.area(shapely.intersection(outlines[first], outlines[second]))
    area = seen["area_um2"].to_numpy()
    is_twin = shared > SAME_NUCLEUS * np.minimum(area[first], area[second])
    twins = np.column_stack([first[is_twin], second[is_twin]])
    kept = np.ones(len(seen), dtype=bool)
    # From the best on: a sighting that itself was dropped drops no other.
    for better, worse in twins[np.lexsort(twins.T[::-1])].tolist():
        if kept[better]:
            kept[worse] = False
    seen = seen[kept]
    if tissue is not None and len(seen):
        middle = shapely.get_coordinates(shapely.centroid(np.asarray(seen.geometry)))
        whole = shapely.union_all(np.asarray(tissue.geometry))
        shapely.prepare(whole)
        seen = seen[shapely.contains_xy(whole, middle)]
    return seen.loc[~seen.index.duplicated(), COLUMNS].sort_index()
