import json

import geopandas as gpd
import pytest
import shapely

from histoscribe.errors import UserError
from histoscribe.polygons import read_polygons


def geojson(path, polygons, ids):
    features = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(polygon)),
            "properties": {"cell_id": i},
        }
        for polygon, i in zip(polygons, ids, strict=True)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def boxes():
    return [shapely.box(10 * i, 4 * i, 10 * i + 14, 4 * i + 12) for i in range(1, 6)]


def test_geojson_pixels_become_um(tmp_path, boxes):
    nuclei = read_polygons(geojson(tmp_path / "n.geojson", boxes, range(5)), 0.5, (100, 50))
    assert nuclei.index.tolist() == ["0", "1", "2", "3", "4"]
    assert nuclei.geometry.iloc[0].bounds == (5, 2, 12, 8)
    assert nuclei["area_um2"].iloc[0] == pytest.approx(42)


def test_geoparquet_is_in_um(tmp_path, boxes):
    gpd.GeoDataFrame({"cell_id": range(5)}, geometry=boxes).to_parquet(tmp_path / "n.parquet")
    nuclei = read_polygons(tmp_path / "n.parquet", 0.5, (100, 50))
    assert nuclei.geometry.iloc[0].bounds == boxes[0].bounds
    assert nuclei.index.tolist() == ["0", "1", "2", "3", "4"]


def test_invalid_outlines_are_repaired_and_empty_ones_dropped(tmp_path, boxes):
    bow_tie = shapely.Polygon([(10, 10), (30, 30), (30, 10), (10, 28)])
    given = [*boxes, bow_tie, shapely.Polygon()]
    nuclei = read_polygons(geojson(tmp_path / "n.geojson", given, range(7)), 1.0, (100, 50))
    assert len(nuclei) == 6
    assert nuclei.geometry.is_valid.all()
    assert (nuclei.geometry.geom_type == "Polygon").all()


@pytest.mark.parametrize("scale", [0.01, 60.0])
def test_polygons_in_the_wrong_scale(tmp_path, boxes, scale):
    scaled = [shapely.affinity.scale(b, scale, scale, origin=(0, 0)) for b in boxes]
    with pytest.raises(UserError, match="The scale is wrong"):
        read_polygons(geojson(tmp_path / "n.geojson", scaled, range(5)), 1.0, (100, 50))


def test_repeated_ids(tmp_path, boxes):
    with pytest.raises(UserError, match="the id 3 more than once"):
        read_polygons(geojson(tmp_path / "n.geojson", boxes, [1, 2, 3, 3, 4]), 1.0, (100, 50))


def test_damaged_geojson(tmp_path, boxes):
    path = geojson(tmp_path / "n.geojson", boxes, range(5))
    path.write_text(path.read_text()[:-40])
    with pytest.raises(UserError, match="no readable GeoJSON"):
        read_polygons(path, 1.0, (100, 50))
