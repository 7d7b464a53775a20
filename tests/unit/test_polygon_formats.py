"""Every format that polygons are read from, as its software writes it."""

import gzip
import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from scipy import ndimage

from histoscribe.errors import UserError
from histoscribe.polygons import read_polygons
from histoscribe.polygons.labels import read_labels
from histoscribe.raster import covered_pixels

SIZE_UM = (100.0, 60.0)
BOXES = shapely.box([10, 30, 50, 70], [10, 20, 30, 40], [18, 39, 60, 81], [18, 29, 40, 51])


def shape(polygon):
    return json.loads(shapely.to_geojson(polygon))


def feature(polygon, **extra):
    return {"type": "Feature", "geometry": shape(polygon), "properties": {}, **extra}


def written(path, content):
    path.write_text(json.dumps(content))
    return path


def read(path, **options):
    return read_polygons(path, 1.0, SIZE_UM, **options)


def collection(features):
    return {"type": "FeatureCollection", "features": features}


@pytest.mark.parametrize("wrapped", [collection, list])
def test_features_in_a_collection_or_a_bare_list(tmp_path, wrapped):
    path = written(tmp_path / "n.json", wrapped([feature(b) for b in BOXES]))
    nuclei, _ = read(path)
    assert nuclei.index.tolist() == ["1", "2", "3", "4"]
    assert shapely.equals(np.asarray(nuclei.geometry), BOXES).all()


def test_one_feature(tmp_path):
    nuclei, _ = read(written(tmp_path / "n.geojson", feature(BOXES[1], id="a")))
    assert nuclei.index.tolist() == ["a"]


def test_zipped_with_a_third_coordinate(tmp_path):
    features = [feature(b) for b in BOXES]
    for f in features:
        f["geometry"]["coordinates"] = [[[*p, 0] for p in f["geometry"]["coordinates"][0]]]
    (tmp_path / "n.geojson.gz").write_bytes(gzip.compress(json.dumps(features).encode()))
    nuclei, _ = read(tmp_path / "n.geojson.gz")
    assert shapely.equals(np.asarray(nuclei.geometry), BOXES).all()


def qupath(i, polygon, kind, **extra):
    properties = {"objectType": kind, "classification": {"name": "Tumor", "color": [200, 0, 0]}}
    return feature(polygon, id=f"7d0e-{i}", **extra) | {"properties": properties}


def test_qupath_annotations_are_no_nuclei(tmp_path):
    region = qupath(9, shapely.box(0, 0, 100, 60), "annotation")
    detections = [qupath(i, b, "detection") for i, b in enumerate(BOXES)]
    nuclei, counts = read(written(tmp_path / "q.geojson", collection([region, *detections])))
    assert nuclei.index.tolist() == ["7d0e-0", "7d0e-1", "7d0e-2", "7d0e-3"]
    assert (counts["read"], counts["annotations_dropped"], counts["kept"]) == (5, 1, 4)
    with pytest.raises(UserError, match=r"only annotation objects \(1\)"):
        read(written(tmp_path / "q.geojson", [region]))


def test_qupath_cells_give_their_nucleus_or_themselves(tmp_path):
    cells = [
        qupath(i, b.buffer(2, join_style="mitre"), "cell", nucleusGeometry=shape(b))
        for i, b in enumerate(BOXES)
    ]
    bare = qupath(9, shapely.box(80, 10, 90, 20), "cell")
    path = written(tmp_path / "q.geojson", [*cells, bare])
    nuclei, counts = read(path)
    assert shapely.equals(np.asarray(nuclei.geometry), BOXES).all()
    assert counts["without_nucleus_dropped"] == 1
    grown, _ = read(path, kind="cell")
    assert grown["area_um2"].tolist() == [144, 169, 196, 225, 100]
    with pytest.raises(UserError, match="1 cells without a nucleus"):
        read(written(tmp_path / "q.geojson", [bare]))


@pytest.mark.parametrize(
    "measured",
    [
        lambda p: {"Detection probability": p},
        lambda p: [{"name": "Area", "value": 3.0}, {"name": "Detection probability", "value": p}],
    ],
)
def test_qupath_measurements_hold_the_probability(tmp_path, measured):
    features = [qupath(i, b, "detection") for i, b in enumerate(BOXES)]
    for i, f in enumerate(features):
        f["properties"]["measurements"] = measured(0.5 + i / 10)
    nuclei, _ = read(written(tmp_path / "q.geojson", features))
    assert nuclei["probability"].tolist() == pytest.approx([0.5, 0.6, 0.7, 0.8])


def test_qupath_before_its_objects_had_ids(tmp_path):
    features = [feature(b, id="PathDetectionObject") for b in BOXES]
    region = feature(shapely.box(0, 0, 100, 60), id="PathAnnotationObject")
    nuclei, counts = read(written(tmp_path / "q.json", [region, *features]))
    assert nuclei.index.tolist() == ["1", "2", "3", "4"]
    assert counts["annotations_dropped"] == 1


def test_collections_of_geometries(tmp_path):
    nested = feature(BOXES[0])
    nested["geometry"] = {
        "type": "GeometryCollection",
        "geometries": [shape(shapely.MultiPolygon(list(BOXES[:2]))), shape(shapely.Point(3, 3))],
    }
    nuclei, counts = read(written(tmp_path / "n.json", [nested, feature(BOXES[2])]))
    assert nuclei["area_um2"].tolist() == [81, 100]
    assert counts["several_parts"] == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"type": "Polygon", "coordinates": []}, r"no readable GeoJSON \(a Polygon\)"),
        ([1, 2], "a bare list"),
        ({"features": [{"type": "Feature", "geometry": 3}]}, "no readable GeoJSON"),
        ([feature(shapely.Point(3, 4))], "Point and no polygon"),
        (collection([]), "no polygon"),
        (
            [feature(BOXES[0]) | {"geometry": {"type": "Polygon", "coordinates": [[["a", 1]]]}}],
            "no",
        ),
    ],
)
def test_json_without_nuclei(tmp_path, content, said):
    with pytest.raises(UserError, match=said):
        read(written(tmp_path / "n.geojson", content))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("n.geojson", b"", "an empty file"),
        ("n.parquet", b"PAR1 nothing", "no readable parquet"),
        ("n.geojson.gz", b"\x1f\x8b nothing", "unreadable"),
        ("n.txt", b"x y\n1 2\n", "no known kind"),
        ("n.csv", b"x,y\n1,2\n", "a table of x, y"),
        ("n.npy", b"\x93NUMPY nothing", "no readable label image"),
        ("n.png", b"\x89PNG\r\n\x1a\n nothing", "no readable label image"),
        ("n.tif", b"II*\0 nothing", "no readable label image"),
    ],
)
def test_damaged_and_foreign_files(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        read(tmp_path / name)


@pytest.mark.parametrize("compression", ["deflate", "lzw", "zstd"])
def test_a_damaged_label_image(tmp_path, compression):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 900, (256, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "l.tif", labels, tile=(64, 64), compression=compression)
    data = bytearray((tmp_path / "l.tif").read_bytes())
    data[len(data) // 2 :] = rng.bytes(len(data) - len(data) // 2)
    (tmp_path / "l.tif").write_bytes(data)
    with pytest.raises(UserError, match="no readable label image"):
        read_polygons(tmp_path / "l.tif", 1.0, (256, 256))


@pytest.mark.parametrize("name", ["n.geojson.gz", "n.csv.gz"])
def test_damaged_gzip(tmp_path, name):
    """Some damage shows as zlib's own error, which is no OSError."""
    packed = bytearray(gzip.compress(np.random.default_rng(0).bytes(4000)))
    packed[10] = 0xFF  # a block of no known kind
    (tmp_path / name).write_bytes(packed)
    with pytest.raises(UserError, match="Error -3"):
        read(tmp_path / name)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="unreadable file"):
        read(tmp_path / "none.geojson")


def boundaries():
    """Xenium's table: cell b has two nuclei, and its vertices do not stand together."""
    rows = [
        (cell, x, y, label)
        for label, (cell, box) in enumerate(zip("abbc", BOXES, strict=True), 1)
        for x, y in shapely.get_coordinates(box)
    ]
    table = pd.DataFrame(rows, columns=["cell_id", "vertex_x", "vertex_y", "label_id"])
    return pd.concat([table.iloc[::2], table.iloc[1::2]]).sort_index(kind="stable")


@pytest.mark.parametrize("name", ["nucleus_boundaries.parquet", "nucleus_boundaries.csv.gz"])
def test_xenium_boundaries(tmp_path, name):
    table = boundaries()
    if name.endswith("parquet"):
        table.to_parquet(tmp_path / name)
    else:
        table.to_csv(tmp_path / name, index=False)
    nuclei, _ = read(tmp_path / name)
    assert nuclei.index.tolist() == ["a", "b_2", "b_3", "c"]
    assert shapely.equals(np.asarray(nuclei.geometry), BOXES).all()


def test_xenium_boundaries_without_labels(tmp_path):
    table = boundaries().drop(columns="label_id").query("cell_id != 'b'")
    table.assign(cell_id=table["cell_id"].map({"a": 1, "c": 2})).to_parquet(tmp_path / "b.parquet")
    nuclei, _ = read(tmp_path / "b.parquet")
    assert nuclei.index.tolist() == ["1", "2"]


def test_our_own_table_is_read_back(tmp_path):
    frame = gpd.GeoDataFrame(
        {"probability": [0.5, 0.6, 0.7, 0.8], "area_um2": shapely.area(BOXES)},
        geometry=BOXES,
        index=pd.Index([f"00{i}-01" for i in range(4)], name="nucleus"),
    )
    frame.to_parquet(tmp_path / "n.parquet")
    nuclei, _ = read(tmp_path / "n.parquet")
    pd.testing.assert_frame_equal(pd.DataFrame(nuclei), pd.DataFrame(frame))


@pytest.mark.parametrize("change", [lambda f: f[f.index != 1], lambda f: pd.concat([f[2:], f[:2]])])
def test_ids_outlive_filtering_and_joining(tmp_path, change):
    frame = gpd.GeoDataFrame({"cell_id": list("abcd")}, geometry=BOXES)
    changed = change(frame)
    changed.to_parquet(tmp_path / "n.parquet")
    nuclei, _ = read(tmp_path / "n.parquet")
    assert sorted(nuclei.index) == sorted(changed["cell_id"])


def test_a_parquet_table_of_something_else(tmp_path):
    pd.DataFrame({"gene": ["A"]}).to_parquet(tmp_path / "n.parquet")
    with pytest.raises(UserError, match="a table of gene"):
        read(tmp_path / "n.parquet")


def label_image():
    labels = np.zeros((60, 100), dtype=np.int32)
    labels[10:18, 10:18] = 7
    labels[20:29, 18:27] = 70_000
    labels[30:40, 50:60] = 300
    labels[34, 60:63] = 300
    return labels


def drawn_again(nuclei, shape_px, um_per_px=1.0):
    labels = np.zeros(shape_px, dtype=np.int64)
    outlines = np.asarray(nuclei.geometry)
    centres = shapely.get_coordinates(shapely.centroid(outlines))
    pixels = covered_pixels(outlines, centres, um_per_px, (0, 0, shape_px[1], shape_px[0]))
    labels[pixels.row, pixels.column] = nuclei.index.to_numpy().astype(int)[pixels.owner]
    return labels


@pytest.mark.parametrize(
    "name", ["l.tif", "tiled.tif", "l.npy", "float.npy", "l.png", "palette.png"]
)
def test_label_images(tmp_path, name):
    labels, path = label_image(), tmp_path / name
    if name.endswith("png"):
        labels[labels == 70_000] = 255
        labels[labels == 300] = 40
    match name:
        case "l.tif":
            tifffile.imwrite(path, labels)
        case "tiled.tif":
            tifffile.imwrite(path, labels, tile=(16, 16), compression="zlib")
        case "l.npy":
            np.save(path, labels)
        case "float.npy":
            np.save(path, labels.astype(np.float32))
        case "l.png":
            Image.fromarray(labels.astype(np.uint16)).save(path)
        case "palette.png":
            image = Image.fromarray(labels.astype(np.uint8)).convert("P")
            image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
            image.save(path)
    nuclei, _ = read(path)
    assert set(nuclei.index) == {str(k) for k in np.unique(labels)} - {"0"}
    np.testing.assert_array_equal(drawn_again(nuclei, labels.shape), labels)


def test_a_label_image_of_half_the_size(tmp_path):
    np.save(tmp_path / "l.npy", label_image())
    nuclei, _ = read_polygons(tmp_path / "l.npy", 0.5, (100.5, 60.0))  # an image of 201 x 120 px
    assert nuclei.geometry.loc["7"].bounds == (10, 10, 18, 18)


@pytest.mark.parametrize("size", [(101, 60), (60, 100), (200, 60), (103, 70), (150, 90)])
def test_a_label_image_of_another_size(tmp_path, size):
    np.save(tmp_path / "l.npy", label_image())
    with pytest.raises(UserError, match=f"100 x 60 px.*{size[0]} x {size[1]} px"):
        read_polygons(tmp_path / "l.npy", 1.0, size)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.where(label_image() > 0, 255, 0), "a mask: the value 255 in 3 pieces"),
        (label_image() > 0, "a mask"),
        (label_image() / 7, "fractions"),
        (-label_image(), "below 0"),
        (np.zeros((60, 100, 3), dtype=np.uint8), "60 x 100 x 3"),
        (np.zeros((60, 100), dtype=np.int32), "no polygon"),
        (np.array([["a", "b"]]), "of type"),
        (np.array([[{}]]), "no readable label image"),
    ],
)
def test_images_without_labels(tmp_path, labels, said):
    np.save(tmp_path / "l.npy", labels, allow_pickle=True)
    with pytest.raises(UserError, match=said):
        read(tmp_path / "l.npy")


def test_pieces_of_a_label(tmp_path):
    labels = label_image()
    labels[50:52, 90:93] = 7
    np.save(tmp_path / "l.npy", labels)
    nuclei, counts = read(tmp_path / "l.npy")
    assert counts["several_parts"] == 1
    assert nuclei["area_um2"].loc["7"] == 64


@settings(max_examples=200, deadline=None)
@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)
    ),
    st.integers(1, 30),
)
def test_outlines_follow_the_pixels(tmp_path_factory, labels, band_px):
    """Each label becomes its 4-connected pieces with their holes filled."""
    path = tmp_path_factory.mktemp("labels") / "l.npy"
    masks = [
        ndimage.label(labels == k)[0] == p + 1
        for k in (1, 2, 3)
        for p in range(ndimage.label(labels == k)[1])
    ]
    np.save(path, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("histoscribe.polygons.labels.BAND_PX", band_px)
        try:
            given = read_labels(path, labels.shape[::-1])
        except UserError:
            assert len(np.unique(labels[labels > 0])) == 1 < len(masks)
            return
    parts = shapely.make_valid(given.parts)
    assert len(parts) == len(masks)
    # A hole that touches the outside at a corner stays open in the outline.
    least = sorted(mask.sum() for mask in masks)
    most = sorted(ndimage.binary_fill_holes(mask).sum() for mask in masks)
    areas = sorted(shapely.area(parts))
    assert (np.array(least) <= areas).all()
    assert (areas <= np.array(most)).all()
