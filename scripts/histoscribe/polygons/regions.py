"""Regions that someone drew on a section, with what is said of each."""

import json
import zlib
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from shapely.geometry import shape

from histoscribe.errors import UserError, problem

from .geojson import EXPECTED, features_of, properties_of
from .tables import open_text

GEOMETRY = "geometry"


def is_geoparquet(path: Path) -> bool:
    """Whether a file is parquet with geometries, rather than a plain table or another file."""
    try:
        return b"geo" in (pq.read_schema(path).metadata or {})
    except (OSError, pa.ArrowException):
        return False


def read_regions(path: Path, um_per_px: float) -> gpd.GeoDataFrame:
    """Regions in um of the image, in the file's order, with their properties as columns.

    GeoJSON, QuPath's annotations too, in pixels of the full-resolution image of `um_per_px`; or
    GeoParquet in um. Unlike outlines of nuclei they keep their holes and parts. Raises UserError
    for unreadable files and those without a polygon.
    """
    try:
        if is_geoparquet(path):
            frame = gpd.read_parquet(path).reset_index(drop=True)
            others = pd.DataFrame(frame.drop(columns=frame.geometry.name))
            regions = gpd.GeoDataFrame(others, geometry=np.asarray(frame.geometry))
        else:
            with open_text(path) as file:
                features = features_of(json.loads(file.read()), path)
            shapes = [f.get("geometry") and shape(f["geometry"]) for f in features]
            regions = gpd.GeoDataFrame(list(map(properties_of, features)), geometry=shapes)
            scaled = shapely.transform(np.asarray(regions.geometry), lambda xy: xy * um_per_px)
            regions = regions.set_geometry(scaled)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError,
            IndexError, pa.ArrowException, shapely.errors.ShapelyError) as error:  # fmt: skip
        raise UserError(
            problem(
                str(path),
                f"no readable regions ({error})",
                f"{EXPECTED}, or GeoParquet",
                "Export it again.",
            )
        ) from error
    # Lines crossing themselves are common in what is drawn by hand.
    whole = shapely.make_valid(np.asarray(regions.geometry))
    regions = regions.set_geometry(whole)[shapely.area(whole) > 0].reset_index(drop=True)
    if regions.empty:
        raise UserError(
            problem(str(path), "no polygon", f"{EXPECTED}, or GeoParquet", "Export areas.")
        )
    return regions
