"""Counting bins in nuclei: label raster and sparse product against the spatial join of the guide.

Both run on the same bins in this process; the printed numbers are a ratio of times and each one's
peak of traced memory. Nothing is asserted about seconds.
"""

import time
import tracemalloc

import geopandas as gpd
import numpy as np
import shapely
from scipy import sparse

from histoscribe.counting import assign_bins, sum_bins

N_SIDE = 1000  # bins a side; 2 um each
N_NUCLEI = 8000
N_GENES = 500


def simulated():
    rng = np.random.default_rng(0)
    row, col = (a.ravel() for a in np.indices((N_SIDE, N_SIDE)))
    centre = np.column_stack([col, row]) * 2.0 + 1.0
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    middle = rng.uniform(10, 2 * N_SIDE - 10, (N_NUCLEI, 1, 2))
    size = rng.uniform(2.5, 5, (N_NUCLEI, 1, 2))
    outlines = shapely.polygons(middle + ring[None] * size)
    counts = sparse.random(len(centre), N_GENES, density=0.01, format="csr", rng=0)
    counts.data = np.ceil(counts.data * 3).astype(np.int32)
    return outlines, centre, row, col, counts.astype(np.int32)


def by_spatial_join(outlines, centre, counts):
    points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(*centre.T))
    nuclei = gpd.GeoDataFrame({"nucleus": range(len(outlines))}, geometry=outlines)
    joined = gpd.sjoin(points, nuclei, how="left", predicate="within")
    once = ~joined.index.duplicated(keep=False) & joined["nucleus"].notna()
    kept = joined[once]
    table = counts[kept.index]
    group = kept["nucleus"].to_numpy(int)
    indicator = sparse.csr_matrix(
        (np.ones(len(group), np.int32), (group, np.arange(len(group)))),
        shape=(len(outlines), len(group)),
    )
    return indicator @ table


def by_raster(outlines, centre, row, col, counts):
    return sum_bins(counts, assign_bins(outlines, centre, row, col), len(outlines))


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    seconds = time.perf_counter() - start
    tracemalloc.start()
    function(*arguments)
    peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return result, seconds, peak_mb


def test_raster_against_spatial_join():
    outlines, centre, row, col, counts = simulated()
    by_raster(outlines[:10], centre, row, col, counts)  # imports and caches
    ours, our_s, our_mb = timed(by_raster, outlines, centre, row, col, counts)
    theirs, their_s, their_mb = timed(by_spatial_join, outlines, centre, counts)
    assert (ours != theirs).nnz == 0
    print(
        f"\n{len(centre):,} bins in {len(outlines):,} nuclei, {counts.shape[1]} genes: raster "
        f"{their_s / our_s:.1f} times faster than the spatial join, "
        f"{our_mb:.0f} against {their_mb:.0f} MB; matrices equal"
    )
