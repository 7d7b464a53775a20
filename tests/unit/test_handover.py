"""Sections as QuPath opens them, and what is brought together for every export."""

import json
import logging
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import replace

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from handover_section import GENES, PALETTE, SLIDE_UM_PER_PX, TYPES, write_section

from histoscribe.block_split import BlockSplit
from histoscribe.errors import UserError
from histoscribe.handover import qupath
from histoscribe.handover.outlines import grid_slant, squares
from histoscribe.handover.section import best_genes, gather_section
from histoscribe.image.vendor import scanned_corner
from histoscribe.polygons.geojson import read_geojson
from histoscribe.splits import TEST, units_in_role
from histoscribe.storage import folder_written_whole, read_h5ad, write_h5ad


def written(files, path, n_genes=3):
    section, outlines, colours = files.read()
    qupath.write_qupath(section, outlines, path, n_genes, colours)
    return section, outlines, strictly_parsed(path)


def strictly_parsed(path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.mark.parametrize("unit", ["nucleus", "cell"])
def test_qupath_outlines_come_back_through_our_own_reader(tmp_path, unit):
    files, _, _ = write_section(tmp_path, unit)
    path = tmp_path / "section.qupath.geojson"
    section, _, content = written(files, path)
    given = read_geojson(path.read_bytes(), path, unit)
    assert given.in_px and list(given.ids) == list(section.predicted.obs_names)
    truth = gpd.read_parquet(files.nuclei).geometry.loc[given.ids]
    back_um = shapely.transform(given.parts, lambda px: px * SLIDE_UM_PER_PX)
    assert shapely.hausdorff_distance(back_um, np.asarray(truth)).max() < 1e-3
    kinds = {feature["properties"]["objectType"] for feature in content["features"]}
    assert kinds == {"detection" if unit == "nucleus" else "cell"}


def test_qupath_rings_are_closed_and_the_squares_of_the_slide(tmp_path):
    files, _, slide = write_section(tmp_path)
    _, _, content = written(files, tmp_path / "a.geojson")
    import tifffile

    pixels = tifffile.imread(slide)[..., 0]
    for feature in content["features"]:
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1] and len(ring) == 5
        (left, top), (right, bottom) = np.min(ring, axis=0), np.max(ring, axis=0)
        inside = pixels[int(top) : int(bottom), int(left) : int(right)]
        around = pixels[int(top) - 1 : int(bottom) + 1, int(left) - 1 : int(right) + 1]
        assert inside.min() == 255 and (around == 255).sum() == inside.size


def test_qupath_measurements_and_classes_are_those_of_the_unit(tmp_path):
    files, _, _ = write_section(tmp_path)
    section, _, content = written(files, tmp_path / "a.geojson", n_genes=2)
    adata = read_h5ad(files.predictions[0])
    types = read_h5ad(files.annotations["predicted"][0]).obs["type"]
    for feature in content["features"]:
        properties = feature["properties"]
        name, measured = properties["name"], properties["measurements"]
        assert list(measured)[:2] == [f"{GENES[1]} predicted", "AQP2 predicted"]  # by PCC
        value = float(adata[name, "AQP2"].X[0, 0])
        assert measured["AQP2 predicted"] == pytest.approx(value, abs=1e-4)
        assert measured["Molecules measured"] == adata.obs["umi"][name]
        if name in types.index:
            assert properties["classification"]["name"] == types[name]
        else:
            assert "classification" not in properties
            assert "Type score" not in measured  # there is none, and NaN is not JSON
    assert section.predicted.n_obs == len(content["features"])


def test_a_type_has_one_colour_in_all_sections_of_a_run(tmp_path):
    one, _, _ = write_section(tmp_path / "one")
    two, _, _ = write_section(tmp_path / "two", sample="section-2")
    path = two.annotations["predicted"][0]
    podocytes = read_h5ad(path)
    podocytes = podocytes[podocytes.obs["type"] == "podocyte"].copy()
    podocytes.obs["type"] = podocytes.obs["type"].cat.remove_unused_categories()
    write_h5ad(podocytes, path)
    every = [*one.all_annotations, *two.all_annotations]
    colours = []
    for files in (one, two):
        files = replace(files, all_annotations=every)
        _, _, content = written(files, tmp_path / "a.geojson")
        classes = [f["properties"].get("classification") for f in content["features"]]
        colours.append({c["name"]: tuple(c["color"]) for c in classes if c})
    assert set(colours[0]) == set(TYPES) and set(colours[1]) == {"podocyte"}
    assert colours[0]["podocyte"] == colours[1]["podocyte"]
    listed = set(pd.read_csv(PALETTE, sep="\t")["colour"])
    assert "#{:02X}{:02X}{:02X}".format(*colours[0]["podocyte"]) in listed
    assert len(set(colours[0].values())) == len(TYPES)


def test_ids_are_uuids_that_stay_and_differ_between_samples(tmp_path):
    files, _, _ = write_section(tmp_path / "one")
    other, _, _ = write_section(tmp_path / "two", sample="section-2")
    ids = []
    for chosen in (files, files, other):
        _, _, content = written(chosen, tmp_path / "a.geojson")
        ids.append([str(uuid.UUID(feature["id"])) for feature in content["features"]])
    assert ids[0] == ids[1] and len(set(ids[0])) == len(ids[0])
    assert not set(ids[0]) & set(ids[2])


def test_bins_are_tiles_which_our_reader_does_not_take_for_nuclei(tmp_path):
    files, _, _ = write_section(tmp_path, "bin")
    path = tmp_path / "a.geojson"
    _, outlines, content = written(files, path)
    assert {f["properties"]["objectType"] for f in content["features"]} == {"tile"}
    assert np.allclose(shapely.area(outlines), 4.0)
    with pytest.raises(UserError, match="only tile objects"):
        read_geojson(path.read_bytes(), path, "nucleus")


def test_batches_meet(tmp_path, monkeypatch):
    files, _, _ = write_section(tmp_path)
    _, _, whole = written(files, tmp_path / "a.geojson")
    monkeypatch.setattr(qupath, "BATCH", 7)
    _, _, parts = written(files, tmp_path / "b.geojson")
    assert parts == whole


def test_too_many_units_are_left_out_and_said_so(tmp_path, monkeypatch, caplog):
    files, _, _ = write_section(tmp_path, "bin")
    monkeypatch.setattr(qupath, "MOST_OBJECTS", 39)
    with caplog.at_level(logging.WARNING):
        _, _, content = written(files, tmp_path / "a.geojson")
    assert content == {"type": "FeatureCollection", "features": []}
    assert "40 bins are more than QuPath can hold (39)" in caplog.text


def test_without_annotation_and_measurement(tmp_path):
    files, _, _ = write_section(tmp_path, platform="image", annotated=False)
    section, _, content = written(files, tmp_path / "a.geojson", n_genes=2)
    assert not section.is_measured and "measured" not in section.predicted.layers
    properties = content["features"][0]["properties"]
    # Grade A before B, and of two of one grade the better one.
    expected = ["AQP2 predicted", f"{GENES[1]} predicted", "Domain percentile"]
    assert list(properties["measurements"]) == expected
    assert "classification" not in properties


def test_best_genes_are_in_order_where_nothing_is_known():
    assert best_genes(pd.DataFrame(index=["b", "a", "c"]), 2) == ["b", "a"]
    var = pd.DataFrame({"pcc": [np.nan, 0.1, 0.2]}, index=["b", "a", "c"])
    assert best_genes(var, 5) == ["c", "a", "b"]


def test_annotations_follow_the_units_not_their_order(tmp_path):
    files, _, _ = write_section(tmp_path)
    section, _, colours = files.read()
    assert {*TYPES, "kidney"} <= set(colours)
    truth = read_h5ad(files.annotations["measured"][0]).obs
    obs = section.predicted.obs
    assert obs["measured_type"].isna().sum() == 1
    assert (obs.loc[truth.index, "measured_type"].astype(str) == truth["type"].astype(str)).all()
    assert np.allclose(obs.loc[truth.index, "measured_type_score"], truth["type_score"])


def test_folds_that_cut_a_section_give_their_tested_parts(tmp_path):
    files, _, _ = write_section(tmp_path, n_units=300, annotated=False)
    units, predicted = read_h5ad(files.units), read_h5ad(files.predictions[0])
    cuts = [vars(BlockSplit(held_out, 3, 60.0, 1.0, 0)) for held_out in range(3)]
    folds = []
    for number, _ in enumerate(cuts):
        fold = predicted[:, [g for g in GENES if g != GENES[number]]].copy()
        fold.X = fold.X + number
        fold.var["trust"] = pd.Categorical(["A", "B", "C", "D"])
        folds.append(fold)
    section = gather_section(units, folds, cuts, [], {})
    assert list(section.predicted.obs_names) == list(units.obs_names)
    assert list(section.predicted.var_names) == GENES[3:]
    assert list(section.predicted.var["trust"]) == ["C", "D"]
    for number, cut in enumerate(cuts):
        tested = units_in_role(predicted, cut, TEST).obs_names
        assert 0 < len(tested) < 300
        given = np.asarray(section.predicted[tested, GENES[3:]].X)
        assert np.allclose(given, np.asarray(predicted[tested, GENES[3:]].X) + number)


def test_scores_of_folds_are_averaged(tmp_path):
    files, _, _ = write_section(tmp_path)
    table = pd.read_csv(files.scores[0], sep="\t")
    table.assign(pcc=table["pcc"] + 0.2).to_csv(tmp_path / "other.tsv", sep="\t", index=False)
    section = replace(files, scores=[files.scores[0], tmp_path / "other.tsv"]).read()[0]
    assert section.predicted.var.loc["PODXL", "pcc"] == pytest.approx(0.2)


def test_predictions_of_other_units_are_refused(tmp_path):
    files, _, _ = write_section(tmp_path)
    adata = read_h5ad(files.predictions[0])
    adata.obs_names = [f"other-{i}" for i in range(adata.n_obs)]
    write_h5ad(adata, files.predictions[0])
    with pytest.raises(UserError, match=r"section-1, predictions: found 40 units.*other-0"):
        files.read()


def test_units_without_an_outline_are_refused(tmp_path):
    files, _, _ = write_section(tmp_path)
    gpd.read_parquet(files.nuclei).iloc[:10].to_parquet(files.nuclei)
    with pytest.raises(UserError, match="outlines: found none for 30 units"):
        files.read()


@pytest.mark.parametrize("degrees", [-40, -3, 0.5, 0, 12, 44])
def test_slant_of_a_grid_is_found(degrees):
    rng = np.random.default_rng(0)
    grid = 8.0 * np.stack(np.meshgrid(np.arange(60), np.arange(50)), axis=-1).reshape(-1, 2)
    grid = grid[rng.random(len(grid)) < 0.8]  # bins without tissue are missing
    turn = np.radians(degrees)
    cos, sin = np.cos(turn), np.sin(turn)
    xy = grid @ np.array([[cos, sin], [-sin, cos]]) + rng.normal(0, 0.01, grid.shape)
    found = grid_slant(xy, 8.0)
    assert np.degrees(found) == pytest.approx(degrees, abs=0.05)
    # Neighbouring squares that are turned alike neither overlap nor leave a gap.
    tiles = squares(grid @ np.array([[cos, sin], [-sin, cos]]), 8.0, found)
    assert shapely.area(tiles).sum() == pytest.approx(64 * len(grid))
    assert shapely.area(shapely.union_all(tiles)) == pytest.approx(64 * len(grid), rel=2e-3)


def test_no_slant_without_a_grid():
    rng = np.random.default_rng(0)
    assert grid_slant(rng.uniform(0, 500, (3000, 2)), 8.0) == 0
    assert grid_slant(np.zeros((2, 2)), 8.0) == 0
    assert grid_slant(np.arange(20.0).reshape(-1, 2) * 1000, 8.0) == 0


def test_scanned_corner_is_where_qupath_begins():
    bounds = {"x": "12", "y": "34", "width": "100", "height": "90"}
    properties = {f"openslide.bounds-{name}": value for name, value in bounds.items()}
    assert scanned_corner(properties, (200, 200)) == (12, 34)
    assert scanned_corner(properties, (100, 200)) == (0, 0)
    assert scanned_corner({}, (200, 200)) == (0, 0)


def test_qupath_counts_from_the_scanned_corner(tmp_path):
    files, _, _ = write_section(tmp_path)
    section, outlines, colours = files.read()
    rings = []
    for origin in ((0.0, 0.0), (12.0, 34.0)):
        path = tmp_path / "a.geojson"
        qupath.write_qupath(section, outlines, path, 1, colours, origin)
        features = strictly_parsed(path)["features"]
        rings.append(np.array([f["geometry"]["coordinates"][0] for f in features]))
    assert np.allclose(rings[0] - rings[1], (12, 34))


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "store"
    with folder_written_whole(target) as partial:
        partial.mkdir()
        (partial / "old").touch()
    with pytest.raises(ZeroDivisionError), folder_written_whole(target) as partial:
        partial.mkdir()
        (partial / "half").touch()
        raise ZeroDivisionError
    assert [p.name for p in target.iterdir()] == ["old"]
    with folder_written_whole(target) as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_a_killed_process_leaves_no_half_written_folder(tmp_path):
    code = (
        "import sys, time; from pathlib import Path;"
        "from histoscribe.storage import folder_written_whole\n"
        f"with folder_written_whole(Path({str(tmp_path / 'store')!r})) as partial:\n"
        "    partial.mkdir(); (partial / 'half').touch(); print('half', flush=True)\n"
        "    time.sleep(60)\n"
    )
    scripts = str(PALETTE.parent.parent / "scripts")
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={"PYTHONPATH": scripts}, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.1)
    assert not (tmp_path / "store").exists()


def test_units_of_both_orders_share_a_row(tmp_path):
    """Outlines are in the order of units.h5ad; predictions may be in another."""
    files, _, _ = write_section(tmp_path)
    adata = read_h5ad(files.predictions[0])
    write_h5ad(adata[::-1].copy(), files.predictions[0])
    section, outlines, _ = files.read()
    assert list(section.predicted.obs_names) == list(section.units.obs_names)
    centre = shapely.get_coordinates(shapely.centroid(outlines))
    assert np.allclose(centre, section.predicted.obsm["spatial"])
    assert isinstance(section.predicted, ad.AnnData)
