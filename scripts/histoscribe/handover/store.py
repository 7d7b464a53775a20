"""A section as a SpatialData store: image, shapes and tables in one coordinate system, in um."""

import warnings
from pathlib import Path

import dask
import geopandas as gpd
import numpy as np
import shapely
from spatialdata import SpatialData
from spatialdata.models import ShapesModel, TableModel
from spatialdata.transformations import Identity

from histoscribe.handover.pyramid import image_pyramid
from histoscribe.handover.section import Section
from histoscribe.handover.tables import (
    INSTANCE_KEY,
    REGION_KEY,
    SHAPES,
    measured_table,
    units_table,
)
from histoscribe.storage import folder_written_whole

IMAGE, UNITS, MEASURED = "he", "units", "measured"


def build_spatialdata(
    section: Section,
    outlines: np.ndarray,
    image: Path,
    image_um_per_px: float,
    colours: dict[str, str],
) -> SpatialData:
    """Image `he`, shapes of the units, tables `units` and, where measured, `measured`.

    `outlines` (n_units,) are polygons in um. Spots are circles: points with a radius.
    """
    tables = {UNITS: units_table(section, colours)}
    if section.is_measured:
        tables[MEASURED] = measured_table(section)
    keys = {"region": SHAPES[section.unit], "region_key": REGION_KEY, "instance_key": INSTANCE_KEY}
    return SpatialData(
        images={IMAGE: image_pyramid(image, image_um_per_px)},
        shapes={SHAPES[section.unit]: _shapes(section, outlines)},
        tables={name: TableModel.parse(table, **keys) for name, table in tables.items()},
        attrs={"sample": section.sample},
    )


def write_store(data: SpatialData, path: Path, threads: int) -> None:
    """Write the store whole, in place of one that is there."""
    with (
        dask.config.set(scheduler="threads", num_workers=threads),
        warnings.catch_warnings(),
        folder_written_whole(path) as partial,
    ):
        warnings.filterwarnings("ignore", message="zarr v3 autosharding")  # once for every array
        data.write(partial)


def _shapes(section: Section, outlines: np.ndarray) -> gpd.GeoDataFrame:
    columns: dict[str, object] = {"geometry": outlines}
    if section.unit_shape == "circle":
        xy_um = np.asarray(section.units.obsm["spatial"], dtype=np.float64)
        columns = {"geometry": shapely.points(xy_um), "radius": section.unit_size_um / 2}
    frame = gpd.GeoDataFrame(columns, index=section.units.obs_names.rename(None))
    return ShapesModel.parse(frame, transformations={"global": Identity()})
