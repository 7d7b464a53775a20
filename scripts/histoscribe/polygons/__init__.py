"""Nucleus polygons that the user already has, and the footprint of every kind of unit.

Polygons are kept as a GeoDataFrame in um, indexed by `nucleus` (the id as text).
"""

from .footprints import footprints, unit_kind
from .given import GivenPolygons
from .reading import mend_polygons, read_polygons, require_on_image

__all__ = [
    "GivenPolygons",
    "footprints",
    "mend_polygons",
    "read_polygons",
    "require_on_image",
    "unit_kind",
]
