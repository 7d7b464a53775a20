"""Nucleus polygons that the user already has, and the footprint of every kind of unit.

Polygons are kept as a GeoDataFrame in um, indexed by `nucleus` (the id as text).
"""

import json
from pathlib import Path

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from histoscribe.errors import UserError, problem
from histoscribe.provenance import recall

ID_PROPERTIES = ("cell_id", "nucleus_id", "id")
MIN_SHARE_IN_IMAGE = 0.95


def read_polygons(
    path: Path, um_per_px: float, image_size_um: tuple[float, float]
) -> gpd.GeoDataFrame:
    """Read nuclei from GeoJSON (full-resolution pixels) or GeoParquet (um).

    Returns columns `area_um2` and geometry in um, index `nucleus`. Invalid outlines are repaired
    to their largest part, empty ones dropped. Raises UserError for unreadable files, repeated ids
    and polygons that do not lie on the image (a wrong scale).
    """
    if path.suffix == ".parquet":
        frame = _read_geoparquet(path)
    else:
        frame = _read_geojson(path)
        frame["geometry"] = shapely.transform(np.asarray(frame.geometry), lambda xy: xy * um_per_px)
    outlines = _whole_outlines(np.asarray(frame.geometry))
    kept = ~shapely.is_empty(outlines)
    nuclei = gpd.GeoDataFrame(
        {"area_um2": shapely.area(outlines[kept])},
        geometry=outlines[kept],
        index=pd.Index(frame.index[kept].astype(str), name="nucleus"),
    )
    repeated = nuclei.index[nuclei.index.duplicated()]
    if len(repeated):
        raise UserError(
            problem(str(path), f"the id {repeated[0]} more than once", "unique ids", "Rename them.")
        )
    require_on_image(nuclei, image_size_um, str(path))
    return nuclei


def require_on_image(
    nuclei: gpd.GeoDataFrame, image_size_um: tuple[float, float], where: str
) -> None:
    """Raise UserError unless nuclei lie on the image and have the size of nuclei."""
    if nuclei.empty:
        raise UserError(problem(where, "no polygon", "at least one", "Check the file."))
    centre = shapely.get_coordinates(shapely.centroid(np.asarray(nuclei.geometry)))
    inside = np.all((centre >= 0) & (centre <= np.asarray(image_size_um)), axis=1).mean()
    area_um2 = float(nuclei["area_um2"].median())
    extent_um = np.ptp(centre, axis=0).max()
    if inside < MIN_SHARE_IN_IMAGE or not 2 < area_um2 < 5000:
        raise UserError(
            problem(
                where,
                f"{inside:.0%} of {len(nuclei)} polygons on the image of "
                f"{image_size_um[0]:.0f} x {image_size_um[1]:.0f} um; they span {extent_um:.0f} um "
                f"and their median area is {area_um2:.3g} um2",
                "nuclei on the tissue, 2 to 5000 um2",
                "The scale is wrong: GeoJSON must be in full-resolution pixels of the image, "
                "GeoParquet in um.",
            )
        )


def _read_geojson(path: Path) -> gpd.GeoDataFrame:
    try:
        content = json.loads(path.read_text())
        features = content["features"]
        geometry = shapely.from_geojson([json.dumps(f["geometry"]) for f in features])
        properties = [f.get("properties") or {} for f in features]
    except (OSError, ValueError, KeyError, TypeError, shapely.errors.GEOSException) as error:
        raise UserError(
            problem(
                str(path),
                f"no readable GeoJSON ({error})",
                "a FeatureCollection",
                "Export it again.",
            )
        ) from error
    name = next((p for p in ID_PROPERTIES if properties and p in properties[0]), None)
    ids = [str(p.get(name, i + 1)) for i, p in enumerate(properties)]
    return gpd.GeoDataFrame(geometry=np.asarray(geometry), index=pd.Index(ids))


def _read_geoparquet(path: Path) -> gpd.GeoDataFrame:
    try:
        frame = gpd.read_parquet(path)
    except Exception as error:  # pyarrow and geopandas raise many kinds for damaged files
        raise UserError(
            problem(
                str(path), f"no readable GeoParquet ({error})", "polygons in um", "Write it again."
            )
        ) from error
    if isinstance(frame.index, pd.RangeIndex):
        name = next((p for p in ID_PROPERTIES if p in frame), None)
        frame = frame.set_index(name) if name else frame
    return frame


def _whole_outlines(geometry: np.ndarray) -> np.ndarray:
    """Valid single outlines: repaired where invalid, the largest part of several, no holes."""
    geometry = np.where(shapely.is_missing(geometry), shapely.Polygon(), geometry)
    broken = ~shapely.is_valid(geometry)
    geometry[broken] = shapely.make_valid(geometry[broken])
    for i in np.flatnonzero(shapely.get_type_id(geometry) != shapely.GeometryType.POLYGON):
        parts = shapely.get_parts(geometry[i])
        parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
        geometry[i] = parts[np.argmax(shapely.area(parts))] if len(parts) else shapely.Polygon()
    return shapely.polygons(shapely.get_exterior_ring(geometry))


def unit_kind(facts: dict) -> str:
    """What a unit is, in words that two sections share when their units are of one kind."""
    if facts["unit"] == "nucleus":
        return "nucleus"
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
