"""Nucleus polygons that the user already has, and the footprint of every kind of unit.

Polygons are kept as a GeoDataFrame in um, indexed by `nucleus` (the id as text).
"""

from .footprints import footprints, unit_kind
from .reading import read_polygons, require_on_image

__all__ = ["footprints", "read_polygons", "require_on_image", "unit_kind"]
