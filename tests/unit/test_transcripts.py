"""Single molecules: Xenium's tables into one form, and into nuclei."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from section_files import tissue_image, write_10x_h5, write_tiff

from histoscribe.counting import count_table, count_transcripts, search_points
from histoscribe.errors import UserError
from histoscribe.image import open_slide
from histoscribe.platforms import measured_files, own_nuclei
from histoscribe.readers import open_section, write_transcript_section, xenium
from histoscribe.readers.transcript_table import open_transcripts

UM_PER_PX = 0.5
PIXEL_UM = 0.2125
TURNED = np.array([[0.0, -2.4, 900.0], [2.4, 0.0, 30.0], [0.0, 0.0, 1.0]])  # H&E px to Xenium px


@pytest.fixture
def slide(tmp_path):
    return open_slide(write_tiff(tmp_path / "he.tif", tissue_image(300, 400), None))


@pytest.fixture
def outs(tmp_path):
    """A Xenium folder of 3,000 transcripts on an image of 200 x 150 um."""
    folder = tmp_path / "run" / "outs"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = np.array(["EPCAM", "PTPRC", "VIM", "NegControlProbe_00012", "UnassignedCodeword_0001"])
    frame = pd.DataFrame(
        {
            "feature_name": names[rng.integers(0, 5, 3000)],
            "x_location": rng.uniform(0, 200, 3000).astype(np.float32),
            "y_location": rng.uniform(0, 150, 3000).astype(np.float32),
            "qv": rng.uniform(0, 40, 3000).astype(np.float32),
        }
    )
    frame["is_gene"] = frame["feature_name"].isin(names[:3])
    frame.to_parquet(folder / "transcripts.parquet", row_group_size=700)
    (folder / "experiment.xenium").write_text(json.dumps({"pixel_size": PIXEL_UM}))
    return folder


def align(outs, matrix=TURNED):
    np.savetxt(outs / "s_he_imagealignment.csv", matrix, delimiter=",")


def ingest(folder, slide, um_per_px=UM_PER_PX):
    files = measured_files("xenium", folder, "nucleus", 8)
    path = folder / "out.parquet"
    write_transcript_section(open_section("s", "xenium", slide.path, files, um_per_px), path)
    return open_transcripts(path)


def content(table):
    pieces = list(table.pieces())
    return np.concatenate([p for p, _ in pieces]), np.concatenate([g for _, g in pieces])


def test_genes_of_quality_are_kept_and_counted(outs, slide, caplog):
    frame = pd.read_parquet(outs / "transcripts.parquet")
    table = ingest(outs, slide)
    kept = frame[frame["is_gene"] & (frame["qv"] >= 20)]
    points, code = content(table)
    np.testing.assert_allclose(points, kept[["x_location", "y_location"]], rtol=1e-6)
    np.testing.assert_array_equal(np.array(table.genes)[code], kept["feature_name"])
    assert table.genes == ["EPCAM", "PTPRC", "VIM"]
    assert table.facts["accounting"] == {
        "transcripts_decoded": 3000,
        "transcripts_of_genes": int(frame["is_gene"].sum()),
        "transcripts_under_tissue": len(kept),
    }
    assert "no *imagealignment.csv" in caplog.text


def test_tables_without_is_gene_go_by_names_in_bytes(outs, slide):
    path = outs / "transcripts.parquet"
    table = pq.read_table(path).drop_columns("is_gene")
    expected = content(ingest(outs, slide))
    at = table.column_names.index("feature_name")
    names = table["feature_name"].cast(pa.binary())
    pq.write_table(table.set_column(at, "feature_name", names), path)
    for found, wanted in zip(content(ingest(outs, slide)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_the_panel_names_genes_that_nobody_saw(outs, slide):
    genes = ["ZZZ", "VIM", "EPCAM", "PTPRC"]
    counts = sparse.csr_matrix(np.ones((2, 4), dtype=int))
    write_10x_h5(outs / "cell_feature_matrix.h5", counts, ["a", "b"], genes)
    table = ingest(outs, slide)
    assert table.genes == genes
    assert table.var["gene_id"].iloc[0] == "ENSG00000000000"


def test_alignment_brings_transcripts_to_the_image(outs, slide):
    """A known spot of the H&E: 120, 80 px."""
    align(outs)
    files = measured_files("xenium", outs.parent, "cell", 8)
    um_per_px = open_section("s", "xenium", slide.path, files, None).um_per_px
    assert um_per_px == pytest.approx(2.4 * PIXEL_UM)
    spot_px = np.array([120.0, 80.0, 1.0])
    spot_xenium_um = (TURNED @ spot_px) * PIXEL_UM
    found = xenium.um_to_image(files, um_per_px) @ [*spot_xenium_um[:2], 1]
    np.testing.assert_allclose(found, [120 * um_per_px, 80 * um_per_px, 1])


def test_alignment_moves_the_whole_table(outs, slide):
    before, _ = content(ingest(outs, slide))
    # A pure shift, in H&E pixels as large as Xenium's: 40 and 20 px.
    align(outs, np.array([[1, 0, -40.0], [0, 1, -20.0], [0, 0, 1]]))
    large = open_slide(write_tiff(outs / "he.tif", tissue_image(1000, 1200), None))
    after, _ = content(ingest(outs, large, PIXEL_UM))
    np.testing.assert_allclose(
        after - before, [[40 * PIXEL_UM, 20 * PIXEL_UM]] * len(before), atol=1e-4
    )


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3)[:1], "1 x 3 numbers"),
        (np.diag([1.0, 0.0, 1.0]), "can't be inverted"),
        (np.array([[1, 0, 0], [0, 1, 0], [0.1, 0, 1]]), "not affine"),
    ],
)
def test_bad_alignments(outs, slide, matrix, message):
    align(outs, matrix)
    with pytest.raises(UserError, match=rf"imagealignment\.csv.*{message}"):
        ingest(outs, slide)


def test_an_alignment_may_lack_its_last_row(outs):
    align(outs)
    files = measured_files("xenium", outs, "cell", 8)
    whole = xenium.um_to_image(files, UM_PER_PX)
    align(outs, TURNED[:2])
    np.testing.assert_array_equal(xenium.um_to_image(files, UM_PER_PX), whole)


def test_several_alignments_are_named(outs):
    align(outs)
    np.savetxt(outs / "s_if_imagealignment.csv", TURNED, delimiter=",")
    with pytest.raises(UserError, match=r"s_he_imagealignment\.csv, s_if_imagealignment\.csv"):
        measured_files("xenium", outs, "nucleus", 8)


def test_transcripts_outside_the_image(outs, slide):
    with pytest.raises(UserError, match=r"% of the transcripts inside the image of 80 x 60 um"):
        ingest(outs, slide, 0.2)
    assert not (outs / "out.parquet").exists()


def test_a_table_of_another_kind(outs, slide):
    path = outs / "transcripts.parquet"
    pq.write_table(pq.read_table(path).drop_columns("qv"), path)
    with pytest.raises(UserError, match="also qv"):
        ingest(outs, slide)
    path.write_bytes(b"PAR1")
    with pytest.raises(UserError, match="unreadable table"):
        ingest(outs, slide)
    with pytest.raises(UserError, match="unreadable transcript table"):
        open_transcripts(path)


def test_own_polygons_go_by_unit(outs):
    assert own_nuclei("xenium", outs, "cell") == outs / "cell_boundaries.parquet"
    assert own_nuclei("xenium", outs.parent, "nucleus") == outs / "nucleus_boundaries.parquet"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), on_lattice=st.booleans())
def test_transcripts_are_counted_as_by_the_exact_search(seed, on_lattice):
    """On a lattice of 1 um many molecules lie on edges and corners of cells and outlines."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 60, (2000, 2))
    low, size = rng.uniform(-5, 60, (12, 2)), rng.uniform(1, 20, (12, 2))
    if on_lattice:
        points, low, size = points.round(), low.round(), size.round()
    nuclei = shapely.box(*low.T, *(low + size).T)
    nuclei[::2] = shapely.buffer(shapely.centroid(nuclei[::2]), 6.0)
    gene = rng.integers(0, 3, len(points))
    counts = count_transcripts(*points.T, gene, ["a", "b", "c"], nuclei).toarray()
    nucleus = search_points(nuclei, points)
    for i in range(len(nuclei)):
        np.testing.assert_array_equal(counts[i], np.bincount(gene[nucleus == i], minlength=3))
    assert counts.sum() == (nucleus >= 0).sum()


def test_nuclei_from_a_table(outs, slide):
    table = ingest(outs, slide)
    nuclei = shapely.box([10, 50, 80], [10, 20, 30], [40, 90, 130], [60, 70, 90])
    frame = gpd.GeoDataFrame(
        {"area_um2": shapely.area(nuclei)}, geometry=nuclei, index=["a", "b", "c"]
    )
    units, accounting = count_table(table, frame)
    points, code = content(table)
    expected = count_transcripts(*points.T, code, table.genes, nuclei)
    assert (expected != units.X).nnz == 0
    assert units.X.dtype == np.int32
    assert list(units.var_names) == table.genes
    overlap = shapely.contains_xy(nuclei[1], *points.T) & shapely.contains_xy(nuclei[2], *points.T)
    assert accounting["transcripts_in_several_nuclei"] == overlap.sum() > 0
    assert accounting["transcripts_assigned"] == units.X.sum()
    assert accounting["transcripts_in_nuclei"] == units.X.sum() + overlap.sum()
    np.testing.assert_array_equal(units.obsm["spatial"][0], [25.0, 35.0])
    area, _ = count_table(table, frame, "area")
    assert (area.X != units.X).nnz == 0


def test_no_transcript_in_any_nucleus_is_an_error(outs, slide):
    far = shapely.box(500, 500, 510, 510)
    frame = gpd.GeoDataFrame({"area_um2": [100.0]}, geometry=[far], index=["a"])
    with pytest.raises(UserError, match=r"none of \d+ transcripts inside any of 1 nuclei"):
        count_table(ingest(outs, slide), frame)
