"""The `nuclei` encoder: what the nuclei around a unit look like.

A spot or a large bin covers dozens of cells; means and spreads of the morphology of its nuclei say
more of them than the texture of the whole. The features of a nucleus are the local ones of
`morphology`.
"""

import numpy as np
import shapely

from histoscribe.errors import UserError, problem
from histoscribe.features import UnitFeatures
from histoscribe.features.morphology import describe_units
from histoscribe.image import Slide
from histoscribe.neighbourhood import within

VERSION = 1
NUCLEAR_TILE_UM = 64.0  # beyond which a nucleus is cut off
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
    first put in SDs of the section's own nuclei, so that sections compare. Raises UserError where
    the section has no nucleus.
    """
    if len(nuclei) == 0:
        raise UserError(
            problem(
                f"the nuclei of {slide.path}",
                "none",
                "nuclei, which the encoder of that name describes",
                "Look at the section's nuclei figure, or leave the encoder nuclei out.",
            )
        )
    centre_um = shapely.get_coordinates(shapely.centroid(nuclei))
    described = describe_units(
        slide, um_per_px, centre_um, nuclei, True, NUCLEAR_TILE_UM, with_context=False
    )
    own, names = described.local, described.local_names
    spread = own.std(axis=0, dtype=np.float64)
    own = (own - own.mean(axis=0, dtype=np.float64)) / np.where(spread > 1e-6, spread, 1.0)
    own = np.clip(own, -LIMIT, LIMIT).astype(np.float32)
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
    near = within(xy_um, centre_um, radius_um)
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
