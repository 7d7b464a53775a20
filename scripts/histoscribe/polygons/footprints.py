"""The footprint of every kind of unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely

from histoscribe.platforms import OUTLINED
from histoscribe.provenance import recall

if TYPE_CHECKING:
    import anndata as ad


def unit_kind(facts: dict) -> str:
    """What a unit is, in words that two sections share when their units are of one kind."""
    if facts["unit"] in OUTLINED:
        return facts["unit"]
    return f"{facts['unit']} of {facts['unit_size_um']:g} um"


def footprints(units: ad.AnnData, nuclei: gpd.GeoDataFrame | None) -> np.ndarray:
    """The area that each unit covers, (n_units,) polygons in um, in the order of `units`.

    Nuclei have their outline, bins a square, spots a disc, each around `obsm["spatial"]`.
    """
    if nuclei is not None:
        return np.asarray(nuclei.geometry.loc[units.obs_names])
    facts = recall(units.uns)
    x, y = np.asarray(units.obsm["spatial"], dtype=np.float64).T
    radius = facts["unit_size_um"] / 2
    if facts["unit_shape"] == "circle":
        return shapely.buffer(shapely.points(x, y), radius)
    return shapely.box(x - radius, y - radius, x + radius, y + radius)
