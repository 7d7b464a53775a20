"""Polygons from tables in um: GeoParquet, and Xenium boundaries with a row a vertex."""

import gzip
import zlib
from pathlib import Path
from typing import IO

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from histoscribe.errors import UserError, problem

from .given import ID_NAMES, GivenPolygons, as_text
from .rings import polygons_of_vertices

VERTEX_COLUMNS = ["cell_id", "vertex_x", "vertex_y"]


def read_parquet(path: Path) -> GivenPolygons:
    """Polygons in um from GeoParquet or from a Xenium boundary table.

    Raises UserError for damaged files and for tables that are neither.
    """
    try:
        schema = pq.read_schema(path)
        if b"geo" in (schema.metadata or {}):
            return _read_geoparquet(path)
        if set(VERTEX_COLUMNS) <= set(schema.names):
            columns = [*VERTEX_COLUMNS, *({"label_id"} & set(schema.names))]
            return _outlines_of_vertices(pq.read_table(path, columns=columns).to_pandas())
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise UserError(_unreadable(path, f"no readable parquet file ({error})")) from error
    except shapely.errors.ShapelyError as error:
        raise UserError(_unreadable(path, f"damaged outlines ({error})")) from error
    raise UserError(_unreadable(path, f"a table of {', '.join(schema.names[:8])}"))


def read_csv(path: Path) -> GivenPolygons:
    """Polygons in um from a Xenium boundary table as csv or csv.gz.

    Raises UserError for damaged files and other tables.
    """
    try:
        with open_text(path) as file:
            table = pd.read_csv(file, dtype={"cell_id": str})
        if set(VERTEX_COLUMNS) <= set(table):
            return _outlines_of_vertices(table)
    except (OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise UserError(_unreadable(path, f"no readable table ({error})")) from error
    raise UserError(_unreadable(path, f"a table of {', '.join(map(str, table.columns[:8]))}"))


def open_text(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked where it is gzipped, whatever its name."""
    with path.open("rb") as file:
        is_gzipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if is_gzipped else path.open("rb")


def _read_geoparquet(path: Path) -> GivenPolygons:
    frame = gpd.read_parquet(path)
    name = next((n for n in ID_NAMES if n in frame), None)
    # Numbers without a name are what filtering or joining tables leaves.
    has_ids = frame.index.name is not None or frame.index.dtype.kind not in "iu"
    ids = frame.index if has_ids or name is None else frame[name]
    # A collection may hold multipolygons, so parts are taken twice.
    parts, owner = shapely.get_parts(np.asarray(frame.geometry), return_index=True)
    parts, whole = shapely.get_parts(parts, return_index=True)
    is_polygon = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    probability = (
        frame["probability"].to_numpy(dtype=np.float64) if "probability" in frame else None
    )
    return GivenPolygons(
        parts[is_polygon], owner[whole][is_polygon], as_text(ids), False, probability
    )


def _outlines_of_vertices(table: pd.DataFrame) -> GivenPolygons:
    """One polygon a `cell_id` and, where a cell has several nuclei, a `label_id`."""
    keys = [k for k in ("cell_id", "label_id") if k in table]
    ring = table.groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
    order = np.argsort(ring, kind="stable")
    ring = ring[order]
    first = order[np.flatnonzero(np.diff(ring, prepend=-1))]
    owners = table.iloc[first]
    ids = as_text(owners["cell_id"])
    if "label_id" in table:
        is_one_of_many = owners["cell_id"].duplicated(keep=False).to_numpy()
        labels = as_text(owners["label_id"])
        ids = np.where(is_one_of_many, ids + "_" + labels, ids)
    xy = table[["vertex_x", "vertex_y"]].to_numpy(dtype=np.float64)[order]
    n = len(first)
    return GivenPolygons(
        polygons_of_vertices(xy, ring, n), np.arange(n), ids, False, in_own_frame=True
    )


def _unreadable(path: Path, found: str) -> str:
    return problem(
        str(path),
        found,
        "GeoParquet with polygons in um, or Xenium boundaries "
        f"({', '.join(VERTEX_COLUMNS)}; a row a vertex)",
        "Write it again.",
    )
