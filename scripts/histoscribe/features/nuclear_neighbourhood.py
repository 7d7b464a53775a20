"""The `nuclei` encoder: what the nuclei around a unit look like.

A spot or a large bin covers dozens of cells; means and spreads of the morphology of its nuclei say
more of them than the texture of the whole. The features of a nucleus are the local ones of
`morphology`.
"""

import numpy as np
import shapely
from scipy import sparse
from scipy.spatial import cKDTree

from histoscribe.features import UnitFeatures
from histoscribe.features.morphology import describe_nuclei_alone
from histoscribe.image import Slide

VERSION = 1
LIMIT = 5.0  # SDs at which a nucleus' feature is cut, so that one artefact does not rule a mean


def describe_neighbourhoods(
    slide: Slide,
    um_per_px: float,
    xy_um: np.ndarray,
    nuclei: np.ndarray,
    tile_um: float,
    radius_um: float,
) -> UnitFeatures:
    """Count, means and SDs of the nuclei within the tile (local) and within `radius_um` (global).

    `xy_um` (n_units, 2) are the units' centres, `nuclei` polygons in um. Features of nuclei are
    first put in SDs of the section's own nuclei, so that sections compare.
    """
    own, names = describe_nuclei_alone(slide, um_per_px, nuclei)
    spread = own.std(axis=0, dtype=np.float64)
    own = (own - own.mean(axis=0, dtype=np.float64)) / np.where(spread > 1e-6, spread, 1.0)
    own = np.clip(own, -LIMIT, LIMIT).astype(np.float32)
    centre_um = shapely.get_coordinates(shapely.centroid(nuclei))
    local, local_names = _summarise(own, names, centre_um, xy_um, tile_um / 2)
    context, context_names = _summarise(own, names, centre_um, xy_um, radius_um)
    return UnitFeatures(local, context, local_names, context_names)


def _summarise(
    features: np.ndarray,
    names: tuple[str, ...],
    centre_um: np.ndarray,
    xy_um: np.ndarray,
    radius_um: float,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """log1p of the count, then means, then SDs of features around units; 0 where there is none."""
    near = _within(xy_um, centre_um, radius_um)
    count = np.diff(near.indptr).astype(np.float32)[:, None]
    mean = near @ features / np.maximum(count, 1)
    square = near @ features**2 / np.maximum(count, 1)
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    table = np.hstack([np.log1p(count), mean, spread]).astype(np.float32)
    at = f"nuclei_{radius_um:g}um"
    columns = (
        f"{at}_log_count",
        *(f"{at}_{name}_mean" for name in names),
        *(f"{at}_{name}_std" for name in names),
    )
    return table, columns


def _within(xy_um: np.ndarray, centre_um: np.ndarray, radius_um: float) -> sparse.csr_matrix:
    """(n_units, n_nuclei) float32, 1 where a nucleus' centre lies within the radius of a unit."""
    lists = cKDTree(centre_um).query_ball_point(xy_um, radius_um, return_sorted=True)
    counts = np.fromiter((len(found) for found in lists), dtype=np.int64, count=len(lists))
    columns = np.concatenate([np.asarray(found, dtype=np.int64) for found in lists])
    pointer = np.concatenate([[0], np.cumsum(counts)])
    ones = np.ones(len(columns), dtype=np.float32)
    return sparse.csr_matrix((ones, columns, pointer), shape=(len(xy_um), len(centre_um)))
