"""DNA that a user gives for units: by name, place or region, from tables, .h5ad and polygons."""

import json
import logging

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from histoscribe.errors import UserError
from histoscribe.genome.dna import read_dna, segment_name

UM_PER_PX = 0.5
SEGMENT = "chr17:35000000-45000000"
N = 300


@pytest.fixture(scope="module")
def units():
    """300 units in 20 columns and 15 rows, 20 um apart, from 10 um on."""
    x, y = np.meshgrid(np.arange(20) * 20 + 10.0, np.arange(15) * 20 + 10.0)
    return ad.AnnData(
        obs=pd.DataFrame(index=[f"s_{i:03d}" for i in range(N)]),
        obsm={"spatial": np.column_stack([x.ravel(), y.ravel()])},
    )


@pytest.fixture
def dna(units):
    """A clone on the left and one on the right, a mutation and copies of a segment."""
    is_left = units.obsm["spatial"][:, 0] < 200
    return pd.DataFrame(
        {
            "clone": np.where(is_left, "A", "B"),
            "TP53": np.where(is_left, "WT", "mut"),
            "17:35000000-45000000": np.where(is_left, 2, 6.5),
            "chr8": np.arange(N) % 4,
        }
    )


def saved(table, folder, ending=".tsv"):
    path = folder / f"dna{ending}"
    if ending == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, sep="\t" if "tsv" in ending else ",", index=False)
    return path


def read(path, units, regions=None):
    return read_dna(path, units, 20.0, UM_PER_PX, regions)


def read_text(text, units, folder, regions=None, name="dna.csv"):
    (folder / name).write_text(text)
    return read(folder / name, units, regions)


def column(units, values, name="x"):
    return pd.DataFrame({"unit": units.obs_names, name: values})


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".tsv.gz", ".parquet"])
def test_a_table_of_units(units, dna, tmp_path, ending):
    dna.insert(0, "Barcode", units.obs_names)
    dna["Sample"] = "a"
    found = read(saved(dna[20:][::-1], tmp_path, ending), units)
    assert found.kinds == {"clone": "clone", "TP53": "mutation", SEGMENT: "segment",
                           "chr8": "segment"}  # fmt: skip
    assert found.table.index.equals(units.obs_names)
    assert not found.is_known[:20].any() and found.is_known[20:].all()
    assert list(found.table["clone"][20:]) == list(dna["clone"][20:])
    assert list(found.table["TP53"][20:]) == list((dna["TP53"] == "mut")[20:])
    assert list(found.of_kind("segment")["chr8"][20:]) == list(dna["chr8"][20:])
    assert found.table.dtypes.drop("clone").eq(np.float64).all()
    segments = found.segments
    assert list(segments["chromosome"]) == ["chr17", "chr8"]
    assert list(segments.loc[SEGMENT][1:]) == [35_000_000, 45_000_000]
    assert segments.loc["chr8"].isna().sum() == 2


@pytest.mark.parametrize(("columns", "scale"), [(["x_um", "y_um"], 1), (["pixel_x", "pixel_y"], 2)])
def test_a_table_of_positions(units, dna, tmp_path, columns, scale):
    shifts = np.random.default_rng(0).uniform(-4, 4, (N, 2))
    dna[columns] = (units.obsm["spatial"] + shifts) * scale
    found = read(saved(dna[::-1], tmp_path, ".csv"), units)
    assert list(found.table["clone"]) == list(dna["clone"])


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**31))
def test_joining_hangs_on_names_and_not_on_order(units, dna, tmp_path, seed):
    rng = np.random.default_rng(seed)
    table = dna.assign(unit=units.obs_names)[rng.random(N) < 0.8]
    straight = read(saved(table, tmp_path), units)
    order = rng.permutation(len(table))
    shuffled = read(saved(table.iloc[order][rng.permutation(table.columns)], tmp_path), units)
    pd.testing.assert_frame_equal(shuffled.table[list(straight.table)], straight.table)
    assert shuffled.kinds == straight.kinds
    assert list(straight.table.index[straight.is_known]) == list(table["unit"])


@pytest.mark.parametrize("to_matrix", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
def test_an_anndata(units, dna, tmp_path, to_matrix):
    names = [SEGMENT, "KRAS G12D"]
    matrix = np.column_stack([dna["17:35000000-45000000"], np.arange(N) % 2])
    obs = pd.DataFrame({"clone_id": np.arange(N) % 3, "leiden": "7", "depth": 0.3,
                        "chr8": 2.0}, index=units.obs_names)  # fmt: skip
    file = ad.AnnData(to_matrix(matrix), obs=obs, var=pd.DataFrame(index=names))
    file[::-1].copy().write_h5ad(tmp_path / "dna.h5ad")
    found = read(tmp_path / "dna.h5ad", units)
    assert found.kinds == {"clone_id": "clone", "chr8": "segment", SEGMENT: "segment",
                           "KRAS G12D": "mutation"}  # fmt: skip
    assert list(found.table["clone_id"][:4]) == ["0", "1", "2", "0"]
    assert list(found.table[SEGMENT]) == list(matrix[:, 0])
    ad.AnnData(obs=obs).write_h5ad(tmp_path / "dna.h5ad")
    assert list(read(tmp_path / "dna.h5ad", units).table) == ["clone_id", "chr8"]


LEFT, RIGHT = shapely.box(0, 0, 195, 400), shapely.box(195, 0, 400, 400)


def write_polygons(folder, shapes, properties, scale=1 / UM_PER_PX):
    """GeoJSON in pixels, or in um where `scale` is 1."""
    features = [
        {"type": "Feature", "properties": p,
         "geometry": json.loads(shapely.to_geojson(shapely.transform(s, lambda xy: xy * scale)))}
        for s, p in zip(shapes, properties, strict=True)
    ]  # fmt: skip
    path = folder / "dna.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


CLONES = [{"clone": "A", "TP53": False, "chr17": 2}, {"clone": "B", "TP53": True, "chr17": 6.5}]


def test_polygons_in_px_and_in_um_agree(units, tmp_path):
    ring = LEFT - shapely.box(50, 50, 150, 150)  # a hole is not of it
    in_px = read(write_polygons(tmp_path, [ring, RIGHT], CLONES), units)
    frame = gpd.GeoDataFrame(CLONES, geometry=[ring, RIGHT], index=pd.Index(["r", "s"], name="id"))
    frame.assign(area_um2=frame.area, probability=0.7).to_parquet(tmp_path / "dna.parquet")
    in_um = read(tmp_path / "dna.parquet", units)
    pd.testing.assert_frame_equal(in_px.table, in_um.table)
    assert in_px.kinds == in_um.kinds
    assert in_px.kinds == {"clone": "clone", "TP53": "mutation", "chr17": "segment"}
    x, y = units.obsm["spatial"].T
    is_hole = (abs(x - 100) < 50) & (abs(y - 100) < 50)
    assert (in_px.is_known == ~is_hole).all()
    assert (in_px.table["chr17"][~is_hole] == np.where(x < 195, 2, 6.5)[~is_hole]).all()


def test_qupath_annotations_name_clones_by_their_class(units, tmp_path):
    properties = [
        {"objectType": "annotation", "name": f"sketch {c}", "isLocked": True,
         "classification": {"name": c, "color": [1, 2, 3]}, "measurements": {"Area": 5}}
        for c in "AB"
    ]  # fmt: skip
    found = read(write_polygons(tmp_path, [LEFT, RIGHT], properties), units)
    assert found.kinds == {"clone": "clone"}
    assert list(found.table["clone"][:20]) == ["A"] * 10 + ["B"] * 10
    properties = [{**p, "chr8": i} for i, p in enumerate(properties)]
    assert read(write_polygons(tmp_path, [LEFT, RIGHT], properties), units).kinds == {
        "chr8": "segment"
    }


def test_layers_of_polygons_add_up(units, tmp_path):
    path = write_polygons(tmp_path, [LEFT, shapely.box(0, 0, 400, 100)], [{"clone": "A"}, {"K": 1}])
    found = read(path, units).table
    assert found["clone"].notna().sum() == 150 and found["K"].sum() == 100
    assert list(found.loc["s_000", ["clone", "K"]]) == ["A", 1]


def test_polygons_that_overlap(units, tmp_path, caplog):
    wide = shapely.union(LEFT, shapely.box(195, 0, 225, 35))  # reaches over two units of RIGHT
    path = write_polygons(tmp_path, [wide, RIGHT], CLONES)
    assert list(read(path, units).table["clone"][9:12]) == ["A", "A", "B"]
    assert "2 units in two polygons take the first's DNA" in caplog.text
    path = write_polygons(tmp_path, [shapely.box(0, 0, 225, 400), RIGHT], CLONES)
    with pytest.raises(UserError, match="15 of 300 units in several polygons that disagree"):
        read(path, units)
    same = [{**CLONES[0], "TP53": None}, CLONES[0]]
    assert read(write_polygons(tmp_path, [wide, RIGHT], same), units).is_known.all()


def test_polygons_of_another_scale_or_section(units, tmp_path, caplog):
    corner = shapely.box(380, 280, 400, 300)
    path = write_polygons(tmp_path, [corner], CLONES[:1], scale=100)
    with pytest.raises(UserError, match=r"0 of 300 units in 1 polygons.*another section"):
        read(path, units)
    inner = write_polygons(tmp_path, [shapely.box(21, 21, 59, 59)], CLONES[:1], scale=1)
    with pytest.raises(UserError, match="This looks like um where pixels are expected"):
        read(inner, units)
    read(write_polygons(tmp_path, [shapely.box(0, 0, 390, 290)], CLONES[:1], scale=1), units)
    assert "is it in um where pixels are expected?" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"type": "Point"}', "no readable GeoJSON"),
        ("{", "no readable regions"),
        ('{"type": "FeatureCollection", "features": []}', "no polygon"),
        (
            '{"type": "Feature", "properties": null, '
            '"geometry": {"type": "LineString", "coordinates": [[0, 0], [9, 9]]}}',
            "no polygon",
        ),
        (
            '{"type": "Feature", "properties": {"name": "a"}, "geometry": '
            '{"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]]}}',
            "no DNA in the columns",
        ),
    ],
)
def test_polygons_that_are_none(units, tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        read_text(text, units, tmp_path, name="dna.geojson")


@pytest.fixture
def regions(units):
    """Labels of the units, by name in another order; the first row of units has none."""
    x, y = units.obsm["spatial"].T
    labels = pd.Series(np.where(x < 195, "in situ", "invasive"), index=units.obs_names)
    return labels.mask(y < 20)[::-1]


TABLE = "region,clone,chr17\ninvasive ,B,6.5\nin situ,A,2\nlymph node,C,2\n"


def test_regions_that_were_sequenced_in_bulk(units, regions, tmp_path, caplog):
    found = read_text(TABLE, units, tmp_path, regions)
    assert not found.is_known[:20].any() and found.is_known[20:].all()
    assert list(found.table["clone"][20:40]) == ["A"] * 10 + ["B"] * 10
    assert "no unit lies in the regions lymph node" in caplog.text


@pytest.mark.parametrize(
    ("labels", "text", "words"),
    [
        (None, TABLE, "regions such as invasive , in situ, lymph node, and no regions of the sec"),
        (
            {"in situ": "DCIS", "invasive": "IDC"},
            TABLE,
            "regions invasive , in situ, lymph node; expected regions of the section: .*DCIS",
        ),
        ({}, TABLE + "in situ,A,3\n", "disagree for 140 units, such as 2.0 and 3.0 in the column"),
    ],
)
def test_regions_that_do_not_join(units, regions, tmp_path, labels, text, words):
    given_regions = None if labels is None else regions.replace(labels)
    with pytest.raises(UserError, match=words):
        read_text(text, units, tmp_path, given_regions)


@pytest.mark.parametrize(
    ("values", "kind", "first"),
    [
        ([0, 1], "mutation", 0),
        ([True, False], "mutation", 1),
        (["Mut", "wt"], "mutation", 1),
        (["no", "YES"], "mutation", 0),
        (["1.0", "0.0"], "mutation", 1),
        (["A", "B"], "clone", "A"),
        (["1", "2a"], "clone", "1"),
    ],
)
@pytest.mark.parametrize("ending", [".tsv", ".parquet"])
def test_kinds_by_values(units, tmp_path, values, kind, first, ending):
    table = column(units, pd.Series(np.resize(values, N), dtype=object))
    table.loc[5, "x"] = None
    found = read(saved(table, tmp_path, ending), units)
    assert found.kinds == {"x": kind}
    assert found.table["x"].iloc[0] == first and found.table["x"].isna().sum() == 1


@pytest.mark.parametrize("name", ["clone", "Subclone", "clones", "cnv_clone", "clone_id"])
@pytest.mark.parametrize("values", [[1, 2], [0, 1], [1.0, 2.0]])
def test_numbers_name_clones_in_a_column_of_that_name(units, tmp_path, name, values):
    path = saved(column(units, np.resize(values, N), name), tmp_path, ".parquet")
    found = read(path, units)
    assert found.kinds == {name: "clone"}
    assert list(found.table[name][:2]) == [f"{value:g}" for value in values]


@pytest.mark.parametrize("ending", [".tsv", ".parquet"])
@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("VAF", [0.31, 0.5], "column VAF: found values such as 0.31; expected copies"),
        ("TP53", [0.0, 0.5], "column TP53: found values such as 0.5"),
        ("depth", [0, 1, 2], "column depth: found values such as 2"),
        ("chr17", [2, -1], "column chr17: found values such as -1"),
        (SEGMENT, ["2", "gain"], "column chr17:35000000-45000000: found values such as gain"),
        ("chr17:9-1", [0.5, 2], "column chr17:9-1: found values such as 0.5"),
    ],
)
def test_values_of_no_kind(units, tmp_path, name, values, words, ending):
    with pytest.raises(UserError, match=words):
        read(saved(column(units, np.resize(values, N), name), tmp_path, ending), units)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("17:1-9", "chr17:1-9"),
        ("chrX:0100-200", "chrX:100-200"),
        ("chrM", "chrM"),
        ("MT:1-2", "chrM:1-2"),
        ("17", None),
        ("chr17p", None),
        ("chr17:9-1", None),
        ("TP53", None),
    ],
)
def test_names_of_segments(name, expected):
    assert segment_name(name) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("barcode,clone\nAAAC-1,A\n", "DNA for 0 of 300 units, by names such as AAAC-1.*s_000"),
        ("x_um,y_um,clone\n9000,9000,A\n", "DNA for 0 of 300 units, by positions within 10 um"),
        ("unit,x_um\ns_000,1\n", "no DNA in the columns unit, x_um"),
        ("unit,clone\ns_000,\n", "no DNA in the columns unit, clone"),
        ("name,clone\ns_000,A\n", "the columns name, clone; expected one of units'.*, or region"),
        ("unit,17:1-9,chr17:1-9\ns_000,1,1\n", "the feature chr17:1-9 in two columns"),
        ("", "no readable DNA"),
    ],
)
def test_files_that_are_no_dna_of_the_section(units, tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        read_text(text, units, tmp_path)


@pytest.mark.parametrize("ending", [".h5ad", ".parquet", ".csv.gz", ".geojson"])
def test_files_that_are_something_else(units, tmp_path, ending):
    path = tmp_path / f"dna{ending}"
    words = "no readable (DNA|regions)"
    with pytest.raises(UserError, match=words):
        read(path, units)
    path.write_bytes(b"\x89PNG\xff\xfe\x00\x01" * 40)
    with pytest.raises(UserError, match=words):
        read(path, units)


def test_rows_of_one_unit(units, dna, tmp_path):
    table = dna.assign(unit=units.obs_names)
    gaps = table[:9].assign(clone=None)
    found = read(saved(pd.concat([gaps, table]), tmp_path), units)
    assert list(found.table["clone"]) == list(dna["clone"])
    table.loc[7, "clone"] = "C"
    path = saved(pd.concat([table, dna.assign(unit=units.obs_names)]), tmp_path)
    with pytest.raises(
        UserError, match="for 1 units, such as C and A in the column clone for s_007"
    ):
        read(path, units)
    places = pd.DataFrame(units.obsm["spatial"], columns=["x_um", "y_um"])
    both = pd.concat([places.assign(K=0), places[3:5].assign(K=1)])
    with pytest.raises(
        UserError, match=r"for 2 units, such as 0.0 and 1.0 in the column K for s_003"
    ):
        read(saved(both, tmp_path), units)


def test_the_same_everywhere_is_said(units, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert read(saved(column(units, "A", "clone"), tmp_path), units).is_known.all()
    assert "nothing can be compared: clone" in caplog.text
