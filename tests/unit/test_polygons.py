import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from histoscribe.errors import UserError
from histoscribe.polygons import read_polygons, unit_kind


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


def read(tmp_path, polygons, um_per_px=1.0, size_um=(100, 50)):
    path = geojson(tmp_path / "n.geojson", polygons, range(len(polygons)))
    return read_polygons(path, um_per_px, size_um)


def test_geojson_pixels_become_um(tmp_path, boxes):
    nuclei, counts = read(tmp_path, boxes, um_per_px=0.5)
    assert nuclei.index.tolist() == ["0", "1", "2", "3", "4"]
    assert nuclei.geometry.iloc[0].bounds == (5, 2, 12, 8)
    assert nuclei["area_um2"].iloc[0] == pytest.approx(42)
    assert counts["read"] == counts["kept"] == 5


def test_geoparquet_is_in_um(tmp_path, boxes):
    gpd.GeoDataFrame({"cell_id": range(5)}, geometry=boxes).to_parquet(tmp_path / "n.parquet")
    nuclei, _ = read_polygons(tmp_path / "n.parquet", 0.5, (100, 50))
    assert nuclei.geometry.iloc[0].bounds == boxes[0].bounds
    assert nuclei.index.tolist() == ["0", "1", "2", "3", "4"]


def test_invalid_outlines_are_repaired_and_empty_ones_dropped(tmp_path, boxes):
    bow_tie = shapely.Polygon([(70, 10), (90, 30), (90, 10), (70, 28)])
    pair = shapely.MultiPolygon([shapely.box(5, 35, 9, 39), shapely.box(12, 35, 20, 43)])
    holed = shapely.box(72, 34, 80, 42) - shapely.box(74, 36, 76, 38)
    given = [*boxes, bow_tie, shapely.Polygon(), pair, holed]
    nuclei, counts = read(tmp_path, given)
    assert nuclei.index.tolist() == ["0", "1", "2", "3", "4", "5", "7", "8"]
    assert nuclei.geometry.is_valid.all()
    assert (nuclei.geometry.geom_type == "Polygon").all()
    assert nuclei["area_um2"].loc[["7", "8"]].tolist() == [64, 64]
    assert (counts["read"], counts["kept"]) == (9, 8)
    assert counts["repaired_invalid"] == counts["empty_dropped"] == counts["several_parts"] == 1


def test_the_smaller_of_two_that_cover_each_other_is_dropped(tmp_path, boxes):
    inner = shapely.box(11, 5, 20, 12)
    nuclei, counts = read(tmp_path, [inner, boxes[0], boxes[0], *boxes[1:]])
    assert nuclei.index.tolist() == ["1", "3", "4", "5", "6"]
    assert counts["duplicates_dropped"] == 2
    assert counts["overlapping_kept"] == 5  # each box shares a corner with the next


def test_the_less_probable_of_two_is_dropped(tmp_path):
    outlines = [shapely.box(0, 0, 10, 10), shapely.box(1, 1, 9, 9), shapely.box(30, 0, 40, 10)]
    frame = gpd.GeoDataFrame({"probability": [0.5, 0.9, 0.7]}, geometry=outlines)
    frame.to_parquet(tmp_path / "n.parquet")
    nuclei, counts = read_polygons(tmp_path / "n.parquet", 0.5, (50, 20))
    assert nuclei["probability"].tolist() == [0.9, 0.7]
    assert counts["duplicates_dropped"] == 1


def test_outside_is_dropped_and_over_the_edge_is_kept(tmp_path):
    grid = [shapely.box(x, y, x + 5, y + 5) for x in range(8, 92, 8) for y in range(8, 42, 8)]
    over, outside = shapely.box(-2, 20, 4, 26), shapely.box(97, 20, 105, 26)
    nuclei, counts = read(tmp_path, [*grid, over, outside])
    assert len(nuclei) == len(grid) + 1
    assert (counts["outside_dropped"], counts["reaching_over_edge"]) == (1, 1)


@pytest.mark.parametrize("scale", [0.01, 60.0])
def test_polygons_in_the_wrong_scale(tmp_path, boxes, scale):
    scaled = [shapely.affinity.scale(b, scale, scale, origin=(0, 0)) for b in boxes]
    with pytest.raises(UserError, match="The scale is wrong"):
        read(tmp_path, scaled)


def nuclei_over(width_um, height_um):
    x, y = np.meshgrid(np.arange(6, width_um - 12, 15.0), np.arange(6, height_um - 12, 15.0))
    return shapely.box(x, y, x + 6, y + 6).ravel()


def scaled(polygons, factor):
    return shapely.transform(polygons, lambda xy: xy * factor)


def test_um_where_pixels_are_expected(tmp_path):
    with pytest.raises(UserError, match=r"um where pixels are expected \(a factor of 4\)"):
        read(tmp_path, nuclei_over(400, 300), 0.25, (400, 300))


def test_um_at_half_a_um_a_pixel_are_told_by_the_corner_they_fill(tmp_path):
    x, y = np.meshgrid(np.arange(6, 385, 15.0), np.arange(6, 285, 15.0))
    with pytest.raises(UserError, match=r"um where pixels are expected \(a factor of 2\)"):
        read(tmp_path, shapely.box(x, y, x + 8, y + 8).ravel(), 0.5, (400, 300))


def test_pixels_where_um_are_expected(tmp_path):
    polygons = scaled(nuclei_over(400, 300), 4)
    gpd.GeoDataFrame(geometry=polygons).to_parquet(tmp_path / "n.parquet")
    with pytest.raises(UserError, match="looks like pixels where um are expected"):
        read_polygons(tmp_path / "n.parquet", 0.25, (400, 300))


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda xy: xy[:, ::-1], "x and y swapped"),
        (lambda xy: xy * (1, -1), "y pointing up"),
        (lambda xy: xy * 1e-6 + (4, 50), "longitude and latitude"),
    ],
)
def test_mistakes_of_the_frame_are_named(tmp_path, mistake, said):
    with pytest.raises(UserError, match=f"looks like {said}"):
        read(tmp_path, shapely.transform(nuclei_over(600, 200), mistake), 1.0, (600, 200))


def test_small_nuclei_all_over_the_image_are_no_mistake(tmp_path):
    polygons = shapely.transform(nuclei_over(400, 300), lambda xy: xy * 4 - xy % 15 * 2)
    nuclei, _ = read(tmp_path, polygons, 0.25, (400, 300))
    assert nuclei["area_um2"].median() < 10


def test_another_frame_is_brought_to_the_image(tmp_path):
    """Tables of vertices are in the platform's frame; GeoParquet is in that of the image."""
    polygons = nuclei_over(400, 300)
    quarter_turn = np.array([[0, -1, 300], [1, 0, 0], [0, 0, 1.0]])
    xy, owner = shapely.get_coordinates(polygons, return_index=True)
    pd.DataFrame({"cell_id": owner, "vertex_x": xy[:, 0], "vertex_y": xy[:, 1]}).to_parquet(
        tmp_path / "n.parquet"
    )
    gpd.GeoDataFrame(geometry=polygons).to_parquet(tmp_path / "geo.parquet")
    nuclei, _ = read_polygons(tmp_path / "geo.parquet", 0.25, (400, 300), um_to_image=quarter_turn)
    assert nuclei.geometry.iloc[0].bounds == polygons[0].bounds
    nuclei, _ = read_polygons(tmp_path / "n.parquet", 0.25, (300, 400), um_to_image=quarter_turn)
    assert nuclei.geometry.iloc[0].bounds == (288, 6, 294, 12)
    with pytest.raises(UserError, match="um_to_image"):
        read_polygons(tmp_path / "n.parquet", 0.25, (300, 400), um_to_image=np.eye(2))


def test_repeated_ids(tmp_path, boxes):
    with pytest.raises(UserError, match="the id 3 more than once"):
        read_polygons(geojson(tmp_path / "n.geojson", boxes, [1, 2, 3, 3, 4]), 1.0, (100, 50))


def test_damaged_geojson(tmp_path, boxes):
    path = geojson(tmp_path / "n.geojson", boxes, range(5))
    path.write_text(path.read_text()[:-40])
    with pytest.raises(UserError, match="no readable GeoJSON"):
        read_polygons(path, 1.0, (100, 50))


def test_cells_of_two_sections_are_one_kind_whatever_their_size():
    assert {unit_kind({"unit": "cell", "unit_size_um": size}) for size in (5.4, 6.1)} == {"cell"}
    assert unit_kind({"unit": "bin", "unit_size_um": 8}) == "bin of 8 um"
