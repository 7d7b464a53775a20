import json
import re
from dataclasses import asdict

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from PIL import Image
from viewer_section import UM_PER_PX, SmallSection

from histoscribe.block_split import BlockSplit
from histoscribe.errors import UserError
from histoscribe.expression import targets
from histoscribe.image import open_slide, write_rescaled
from histoscribe.splits import TEST, unit_roles
from histoscribe.storage import read_h5ad, write_h5ad
from histoscribe.viewer.predictions import open_predictions
from histoscribe.viewer.tiles import TILE_PX, write_tiles
from histoscribe.viewer.units import OUTLINE_STEP_UM, grid_angle, stored_outlines
from histoscribe.viewer.vendored import TABLE, copy_vendored, vendored_files


def facts_of(page, name="section"):
    text = (page.parent / f"data/{name}.js").read_text()
    return json.loads("[" + text[len("HistoScribe.receive(") : -3] + "]")[1]


def write_pyramid(folder, pixels):
    source, path = folder / "slide.png", folder / "image.ome.tif"
    Image.fromarray(pixels).save(source)
    write_rescaled(open_slide(source), UM_PER_PX, UM_PER_PX, path)
    return path


def stitched(folder, level, width, height):
    whole = np.zeros((height, width, 3), dtype=np.uint8)
    for path in (folder / str(level)).glob("*.jpg"):
        column, row = map(int, path.stem.split("_"))
        tile = np.asarray(Image.open(path))
        top, left = row * TILE_PX, column * TILE_PX
        whole[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return whole


def test_tiles_lie_where_their_pixels_belong_at_every_level(tmp_path):
    """A dot is where it was drawn, to a part of a pixel of each level, at odd sizes too."""
    pixels = np.full((2301, 3103, 3), 255, dtype=np.uint8)
    x, y = 2512, 1744  # px of the dot's corner; it is 32 px wide
    pixels[y : y + 32, x : x + 32] = (200, 0, 0)
    pyramid = write_tiles(write_pyramid(tmp_path, pixels), UM_PER_PX, tmp_path / "tiles", 95)
    assert pyramid.max_level == 2
    assert (pyramid.width_px, pyramid.height_px) == (3104, 2304)
    for level in range(pyramid.max_level + 1):
        shrink = 2 ** (pyramid.max_level - level)
        size = pyramid.width_px // shrink, pyramid.height_px // shrink
        whole = stitched(tmp_path / "tiles", level, *size)
        darkness = 255.0 - whole[:, :, 1]
        darkness[darkness < 40] = 0
        rows, columns = np.indices(darkness.shape)
        centre = [
            (darkness * (where + 0.5)).sum() / darkness.sum() * shrink for where in (columns, rows)
        ]
        assert centre == pytest.approx([x + 16, y + 16], abs=0.1 * shrink)
    n_tiles = len(list((tmp_path / "tiles/2").iterdir()))
    assert n_tiles == 7 * 5


def test_the_angle_of_a_grid_is_found():
    row, column = np.indices((20, 30))
    grid = 8.0 * np.column_stack([column.ravel(), row.ravel()])
    for degrees in (0.0, 12.0, -30.0, 44.0):
        turn = np.radians(degrees)
        turned = grid @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        assert grid_angle(turned) == pytest.approx(degrees, abs=1e-6)
    assert grid_angle(np.zeros((1, 2))) == 0


def test_outlines_are_stored_relative_to_their_units():
    square = shapely.box(10, 20, 14, 26)
    two = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(50, 50, 53, 53)])
    outlines = gpd.GeoDataFrame(geometry=[two, square], index=["b", "a"])
    xy_um = np.array([[12.0, 23.0], [0.0, 0.0], [51.5, 51.5]])
    stored = stored_outlines(outlines, ["a", "none", "b"], xy_um)
    assert stored["first"].tolist() == [0, 5, 5, 10]
    corners = stored["corners"] * OUTLINE_STEP_UM
    assert np.abs(corners[:5]).max(axis=0).tolist() == pytest.approx([2, 3])
    assert np.abs(corners[5:]).max(axis=0).tolist() == pytest.approx([1.5, 1.5])


def test_the_folder_holds_a_script_a_gene_and_says_what_is_left_out(tmp_path):
    page = SmallSection(tmp_path).write_viewer(n_genes=3)
    facts = facts_of(page)
    assert [gene["name"] for gene in facts["genes"]] == ["GENE0", "GENE1", "GENE2"]
    assert facts["genesLeftOut"] == [f"GENE{i}" for i in range(3, 8)]
    assert facts["nUnits"] == 300
    assert facts["warnings"] == []
    assert sorted(p.name for p in (page.parent / "data/genes").iterdir()) == [
        "0.js",
        "1.js",
        "2.js",
    ]
    gene = facts_of(page, "genes/0")
    assert set(gene["arrays"]) == {"predicted", "measured", "probability", "width"}
    assert set(gene["cut"]) == {"predicted", "measured", "probability", "width", "difference"}


def test_nothing_measured_is_shown_where_nothing_was(tmp_path):
    section = SmallSection(tmp_path, is_measured=False, has_intervals=False)
    page = section.write_viewer()
    facts = facts_of(page)
    assert not facts["isMeasured"]
    assert facts["genes"][0]["name"] == "GENE7"  # by what the model scored in training
    assert set(facts_of(page, "genes/0")["arrays"]) == {"predicted", "probability"}
    assert "umi" not in facts_of(page, "units")["arrays"]


def test_doubts_are_warned_of(tmp_path):
    section = SmallSection(tmp_path)
    verdict = {"verdict": ["shifted"], "detail": ["by 40 um"]}
    pd.DataFrame(verdict).to_csv(tmp_path / "alignment.tsv", sep="\t", index=False)
    path = tmp_path / "fold-1/predicted.h5ad"
    prediction = read_h5ad(path)
    prediction.obs["out_of_domain"] = True
    write_h5ad(prediction, path)
    titles = [warning["title"] for warning in facts_of(section.write_viewer())["warnings"]]
    assert "shifted" in titles[0]
    assert "100%" in titles[1]


def test_types_are_those_of_the_folds_that_are_shown(tmp_path):
    """Where donors take turns, a test row is predicted, and annotated, by every fold's model."""
    section = SmallSection(tmp_path, types=["podocyte", "fibroblast"], doubtful="fibroblast")
    section.write_annotation("full/fold-2")
    sources = ("measured", "full/fold-1", "full/fold-2")
    annotated = {(made_of, section.sample): section.annotation_path(made_of) for made_of in sources}
    facts = facts_of(section.write_viewer(annotated=annotated), "units")
    assert {"type_measured", "type_predicted"} <= {field["key"] for field in facts["fields"]}
    for field in facts["fields"]:
        if field["key"].startswith("type_"):
            said = {each["name"]: each["isDoubtful"] for each in field["categories"]}
            assert said == {"podocyte": False, "fibroblast": True}


def test_each_unit_of_a_cut_section_comes_from_the_fold_that_tested_it(tmp_path):
    section = SmallSection(tmp_path)
    section.predicted = section.predicted + 10
    section.write_prediction("fold-2")
    cuts = [BlockSplit(fold, 2, 40.0, 0.0, 0) for fold in (0, 1)]
    units = read_h5ad(tmp_path / "units.h5ad")
    paths = [tmp_path / f"fold-{fold}/predicted.h5ad" for fold in (1, 2)]
    with open_predictions(paths, [asdict(cut) for cut in cuts], units) as prediction:
        shown = prediction.predicted(section.genes)
        assert sorted(prediction.units.obs_names) == sorted(units.obs_names)
        is_second = unit_roles(prediction.units.obsm["spatial"], cuts[1]) == TEST
        assert 0 < is_second.sum() < len(is_second)
        assert ((shown >= 10).all(axis=1) == is_second).all()
        # Scaled to the median of the section, not of either part.
        own = targets(units, ["GENE3", "GENE0"], "median")
        order = units.obs_names.get_indexer(prediction.units.obs_names)
        np.testing.assert_array_equal(prediction.measured(["GENE3", "GENE0"]), own[order])
        assert len(prediction.obs) == 300


def test_genes_are_read_in_the_order_asked_for(tmp_path):
    section = SmallSection(tmp_path)
    units = read_h5ad(tmp_path / "units.h5ad")
    with open_predictions([tmp_path / "fold-1/predicted.h5ad"], [None], units) as prediction:
        asked = ["GENE5", "GENE1", "GENE6"]
        assert (prediction.predicted(asked) == section.predicted[:, [5, 1, 6]]).all()
        measured = prediction.measured(asked)
        assert ((measured > 0) == (section.counts[:, [5, 1, 6]] > 0)).all()


def test_a_prediction_of_other_units_is_refused(tmp_path):
    section = SmallSection(tmp_path)
    path = tmp_path / "fold-1/predicted.h5ad"
    write_h5ad(read_h5ad(path)[:-1].copy(), path)
    with pytest.raises(UserError, match="299 units that are not those"):
        section.write_viewer()
    assert not (tmp_path / "viewer").exists()


def test_libraries_are_as_released(repository, tmp_path):
    vendor = repository / "resources/viewer/vendor"
    table = vendored_files(vendor)
    assert set(table.index) | {TABLE} == {path.name for path in vendor.iterdir()}
    assert table["integrity"].str.startswith("sha512-").all()
    copy_vendored(vendor, tmp_path / "vendor")
    (tmp_path / "vendor/deck.gl.min.js").write_text("changed")
    with pytest.raises(UserError, match="make vendor"):
        vendored_files(tmp_path / "vendor")


def test_the_page_builds_its_text_without_markup(repository):
    """What comes from sheets and files reaches the page as text alone."""
    for path in (repository / "resources/viewer").glob("app/*.js"):
        code = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", code), (
            path
        )
    page = (repository / "resources/viewer/index.html").read_text()
    assert not re.search(r"\son\w+=", page)
    assert "http" not in page
