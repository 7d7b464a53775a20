"""Stereo-seq: GEM and GEF to bins, molecules and cells, against independent counts."""

import gzip
import logging

import geopandas as gpd
import h5py
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from section_files import tissue_image, write_tiff
from stereoseq_files import CELL_OF_NONE, N_DNBS, molecules, write_cell_gef, write_gef, write_gem

import import_nuclei
from histoscribe.counting import count_given, count_table
from histoscribe.errors import UserError
from histoscribe.platforms import measured_files, own_nuclei
from histoscribe.provenance import recall
from histoscribe.readers import (
    gef,
    gem,
    open_section,
    read_section,
    stereoseq,
    write_transcript_section,
)
from histoscribe.readers.dnb_counts import KeySums
from histoscribe.readers.transcript_table import open_transcripts

UM_PER_DNB = 0.5
# Pixels of another image to DNBs: turned by a right angle, two pixels a DNB.
TURNED = np.array([[0.0, 0.5, 0.0], [-0.5, 0.0, N_DNBS], [0.0, 0.0, 1.0]])


@pytest.fixture
def rows():
    return molecules()


@pytest.fixture
def image(tmp_path):
    return write_tiff(tmp_path / "regist.tif", tissue_image(210, 210), UM_PER_DNB)


def source_of(path, image, bin_um=None, um_per_px=None):
    return open_section(
        "s", "stereoseq", image, measured_files("stereoseq", path, "bin", 8), um_per_px, bin_um
    )


def read_bins(path, image, bin_um):
    return read_section(source_of(path, image, bin_um))


def summed(rows, size):
    """Counts by row, column and gene, as pandas sums them."""
    keys = [rows["y"] // size, rows["x"] // size, rows["geneName"]]
    return rows.groupby(keys)["MIDCount"].sum().to_numpy(), rows.groupby(keys).ngroups


def entries(adata, *names):
    """The counts above 0 as a table with the columns of `obs` that are named."""
    found = adata.X.tocoo()
    table = pd.DataFrame({name: adata.obs[name].to_numpy()[found.row] for name in names})
    table["gene"] = adata.var_names.to_numpy()[found.col]
    table["count"] = found.data
    return table.sort_values([*names, "gene"]).reset_index(drop=True)


def expected_entries(rows, size):
    keyed = rows.assign(array_row=rows["y"] // size, array_col=rows["x"] // size)
    keys = ["array_row", "array_col", "geneName"]
    table = keyed.groupby(keys, as_index=False)["MIDCount"].sum()
    return table.set_axis(["array_row", "array_col", "gene", "count"], axis=1)


@pytest.mark.parametrize("bin_um", [0.5, 10, 25, 7.5])
@pytest.mark.parametrize("name", ["s.gem", "s.gem.gz", "s.gef"])
def test_bins_agree_with_an_independent_count(tmp_path, image, rows, name, bin_um):
    write = write_gef if name == "s.gef" else write_gem
    bins = read_bins(write(tmp_path / name, rows), image, bin_um)
    size = int(bin_um / UM_PER_DNB)
    found = entries(bins, "array_row", "array_col")
    pd.testing.assert_frame_equal(found, expected_entries(rows, size), check_dtype=False)
    assert bins.X.has_canonical_format
    assert bins.X.dtype == np.int32
    centre = bins.obs[["array_col", "array_row"]].to_numpy() + 0.5
    np.testing.assert_allclose(bins.obsm["spatial"], centre * bin_um)
    facts = recall(bins.uns)
    assert (facts["unit_shape"], facts["unit_size_um"]) == ("square", bin_um)


def test_ids_are_kept_beside_symbols(tmp_path, image, rows):
    by_format = [
        read_bins(write_gem(tmp_path / "a.gem", rows), image, 10),
        read_bins(write_gef(tmp_path / "b.gef", rows), image, 10),
    ]
    for bins in by_format:
        number = bins.var_names.str.removeprefix("GENE").astype(int)
        assert list(bins.var["gene_id"]) == [f"ENSG{n:05d}" for n in number]
    old = read_bins(write_gef(tmp_path / "c.gef", rows, names=False), image, 10)
    assert list(old.var["gene_id"]) == list(old.var_names)


def test_symbols_of_several_ids_stay_apart(tmp_path, image, rows):
    doubled = rows.assign(geneName=rows["geneName"].replace("GENE1", "GENE0"))
    bins = read_bins(write_gem(tmp_path / "a.gem", doubled), image, 10)
    assert {"GENE0", "GENE0-1"} <= set(bins.var_names)
    assert bins.X.sum() == rows["MIDCount"].sum()


@pytest.mark.parametrize("column", ["MIDCounts", "UMICount"])
def test_other_names_of_columns(tmp_path, image, rows, column):
    plain = rows.rename(columns={"MIDCount": column}).drop(columns=["geneName", "CellID"])
    path = tmp_path / "s.gem"
    path.write_text(plain.assign(ExonCount=0).to_csv(sep="\t", index=False))
    bins = read_bins(path, image, 25)
    assert bins.X.sum() == rows["MIDCount"].sum()
    assert list(bins.var["gene_id"]) == list(bins.var_names)


@pytest.mark.parametrize("name", ["s.gem.gz", "s.gef"])
def test_the_size_of_pieces_changes_nothing(tmp_path, image, rows, name, monkeypatch):
    path = (write_gef if name == "s.gef" else write_gem)(tmp_path / name, rows)
    whole = read_bins(path, image, 10)
    monkeypatch.setattr(gem, "BYTES_AT_ONCE", 1500)
    monkeypatch.setattr(gef, "ROWS_AT_ONCE", 77)
    parts = read_bins(path, image, 10)
    assert (parts.X != whole.X).nnz == 0
    pd.testing.assert_frame_equal(parts.var, whole.var)
    pd.testing.assert_frame_equal(parts.obs, whole.obs)


@settings(max_examples=50, deadline=None)
@given(
    pieces=st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=30), max_size=12
    )
)
def test_sums_of_keys(pieces):
    sums = KeySums()
    expected = np.zeros(41, dtype=int)
    for piece in pieces:
        key, count = np.array(piece, dtype=np.int64).reshape(-1, 2).T
        sums.add(key, count.astype(np.int32))
        np.add.at(expected, key, count)
    key, count = sums.total()
    np.testing.assert_array_equal(key, np.flatnonzero(expected))
    np.testing.assert_array_equal(count, expected[key])


def test_bins_of_a_coarser_gef_are_summed_further(tmp_path, image, rows):
    path = write_gef(tmp_path / "s.gef", rows, size=10)
    bins = read_bins(path, image, 25)
    found = entries(bins, "array_row", "array_col")
    pd.testing.assert_frame_equal(found, expected_entries(rows, 50), check_dtype=False)
    with pytest.raises(UserError, match="bins of 10 DNBs; expected counts in bins that fill bins"):
        read_bins(path, image, 7.5)
    with pytest.raises(UserError, match="bins of 10 DNBs; expected counts DNB by DNB"):
        write_transcript_section(source_of(path, image), tmp_path / "t.parquet")


def test_the_distance_of_dnbs_is_that_of_the_gef(tmp_path, rows):
    path = write_gef(tmp_path / "s.gef", rows)
    with h5py.File(path, "a") as file:
        file["geneExp/bin1/expression"].attrs["resolution"] = np.array([715], dtype=np.uint32)
    image = write_tiff(tmp_path / "he.tif", tissue_image(N_DNBS, N_DNBS), None)
    source = source_of(path, image, 14.3)
    assert source.um_per_px == pytest.approx(0.715)
    bins = read_section(source)
    assert bins.X.nnz == summed(rows, 20)[1]
    with pytest.raises(UserError, match=r"10 um; expected a multiple of 0\.715 um"):
        read_bins(path, image, 10)


def test_molecules_lie_in_the_middle_of_their_dnb(tmp_path, image, rows):
    path = write_gem(tmp_path / "s.gem.gz", rows)
    write_transcript_section(source_of(path, image), tmp_path / "t.parquet")
    table = open_transcripts(tmp_path / "t.parquet")
    points, code = (np.concatenate(parts) for parts in zip(*table.pieces(), strict=True))
    each = rows.loc[np.repeat(rows.index, rows["MIDCount"])]
    np.testing.assert_allclose(points, (each[["x", "y"]] + 0.5) * UM_PER_DNB)
    np.testing.assert_array_equal(np.array(table.genes)[code], each["geneName"])
    assert table.facts["accounting"] == {"transcripts_under_tissue": len(each)}


def test_nuclei_from_molecules(tmp_path, image, rows):
    path = write_gef(tmp_path / "s.gef", rows)
    write_transcript_section(source_of(path, image), tmp_path / "t.parquet")
    boxes = shapely.box([5, 40], [5, 40], [25, 70], [20, 60])
    nuclei = gpd.GeoDataFrame({"area_um2": shapely.area(boxes)}, geometry=boxes, index=["a", "b"])
    units, accounting = count_table(open_transcripts(tmp_path / "t.parquet"), nuclei)
    x, y = ((rows[axis] + 0.5) * UM_PER_DNB for axis in ("x", "y"))
    for i, box in enumerate(boxes):
        inside = rows[shapely.contains_xy(box, x, y)].groupby("geneName")["MIDCount"].sum()
        counts = units.to_df().iloc[i]
        pd.testing.assert_series_equal(
            counts[counts > 0].sort_index(), inside, check_names=False, check_dtype=False
        )
    assert accounting["transcripts_assigned"] == units.X.sum()
    assert accounting["transcripts_under_tissue"] == rows["MIDCount"].sum()


@pytest.mark.parametrize("name", ["s.gem.gz", "s.cellbin.gef"])
def test_given_cells_agree_with_an_independent_count(tmp_path, image, rows, name):
    path = (write_cell_gef if name.endswith("gef") else write_gem)(tmp_path / name, rows)
    assert own_nuclei("stereoseq", path, "cell") == path
    assert own_nuclei("stereoseq", path, "nucleus") is None
    source = source_of(path, image)
    measured = read_section(source)
    import_nuclei.main(source, path, "cell", tmp_path / "cells.parquet", tmp_path / "repairs.tsv")
    cells = gpd.read_parquet(tmp_path / "cells.parquet")
    units, accounting = count_given(measured, cells)
    of_cells = rows[rows["CellID"] != CELL_OF_NONE]
    expected = of_cells.groupby([of_cells["CellID"].astype(str), "geneName"])["MIDCount"].sum()
    assert accounting["umi_assigned"] == expected.sum()
    found = units.to_df().stack()
    found = found[found > 0].sort_index()
    pd.testing.assert_series_equal(
        found, expected.sort_index(), check_names=False, check_dtype=False, check_index_type=False
    )
    total = rows if name.endswith("gem.gz") else of_cells  # a cell GEF holds no others
    assert accounting["umi_under_tissue"] == total["MIDCount"].sum()
    number = units.obs_names.astype(int) - 1
    centre = np.column_stack([number % 10, number // 10]) * 20 + 10.5
    np.testing.assert_allclose(units.obsm["spatial"], centre * UM_PER_DNB, atol=1.5)
    assert units.obs["area_um2"].max() <= (9 * UM_PER_DNB) ** 2
    assert recall(measured.uns)["unit_shape"] == "polygon"


def test_cell_0_is_a_cell_where_all_rows_are_of_cells(tmp_path, image, rows):
    path = write_gem(tmp_path / "s.gem", rows, BinType="CellBin", BinSize="Cell")
    source = source_of(path, image)
    assert str(CELL_OF_NONE) in read_section(source).obs_names
    labelled = rows.rename(columns={"CellID": "label"})
    source = source_of(write_gem(tmp_path / "t.gem", labelled), image)
    assert str(CELL_OF_NONE) not in read_section(source).obs_names


def test_cells_without_an_outline_are_left_out(tmp_path, image, rows):
    path = write_cell_gef(tmp_path / "s.gef", rows)
    with h5py.File(path, "a") as file:
        border = file["cellBin/cellBorder"][:]
        border[3] = np.iinfo(np.int16).max
        file["cellBin/cellBorder"][...] = border
    source = source_of(path, image)
    measured = read_section(source)
    import_nuclei.main(source, path, "cell", tmp_path / "cells.parquet", tmp_path / "repairs.tsv")
    units, _ = count_given(measured, gpd.read_parquet(tmp_path / "cells.parquet"))
    assert "4" not in units.obs_names
    assert units.n_obs == len(np.unique(rows["CellID"])) - 2


def test_an_alignment_leads_from_the_image_to_dnbs(tmp_path, rows):
    """DNB (x, y) lies at pixel (2 (200 - y), 2 x) of the image that is turned."""
    path = write_gem(tmp_path / "s.gem", rows)
    np.savetxt(tmp_path / "s_imagealignment.csv", TURNED[:2], delimiter=",")
    image = write_tiff(tmp_path / "he.tif", tissue_image(400, 400), None)
    source = source_of(path, image, 10)
    assert source.um_per_px == pytest.approx(0.25)
    bins = read_section(source)
    column, row = (bins.obs[name].to_numpy() for name in ("array_col", "array_row"))
    expected_px = np.column_stack([2 * (N_DNBS - 20 * (row + 0.5)), 40 * (column + 0.5)])
    np.testing.assert_allclose(bins.obsm["spatial"], expected_px * 0.25)
    write_transcript_section(source, tmp_path / "t.parquet")
    points, _ = next(open_transcripts(tmp_path / "t.parquet").pieces())
    outlines, names = stereoseq.read_cell_outlines(source.files, source.um_per_px)
    number = names.astype(int) - 1
    centre_px = 2 * (N_DNBS - 20 * (number // 10) - 10), 2 * (20 * (number % 10) + 10)
    found = shapely.get_coordinates(shapely.centroid(outlines))
    np.testing.assert_allclose(found, np.column_stack(centre_px) * 0.25, atol=2)
    first_px = 2 * (N_DNBS - rows["y"][0] - 0.5), 2 * (rows["x"][0] + 0.5)
    np.testing.assert_allclose(points[0], np.multiply(first_px, 0.25))


@pytest.mark.parametrize("as_molecules", [False, True])
def test_an_inverted_alignment_is_recognised(tmp_path, image, rows, as_molecules):
    """An image of the DNBs from (1000, 2000) on."""
    path = write_gem(tmp_path / "s.gem", rows.assign(x=rows["x"] + 1000, y=rows["y"] + 2000))
    alignment = np.array([[1.0, 0.0, 1000.0], [0.0, 1.0, 2000.0], [0.0, 0.0, 1.0]])
    np.savetxt(tmp_path / "s_imagealignment.csv", alignment, delimiter=",")
    source = source_of(path, image, 10)
    assert read_section(source).obsm["spatial"].min() == 5.0
    np.savetxt(tmp_path / "s_imagealignment.csv", np.linalg.inv(alignment), delimiter=",")
    with pytest.raises(UserError, match=r"inside if .*s_imagealignment\.csv were inverted"):
        if as_molecules:
            write_transcript_section(source, tmp_path / "t.parquet")
        else:
            read_section(source)
    assert not (tmp_path / "t.parquet").exists()


def test_a_registered_image_is_said_to_be_taken(tmp_path, image, rows, caplog):
    with caplog.at_level(logging.INFO):
        read_bins(write_gem(tmp_path / "s.gem", rows, OffsetX=2, OffsetY=3), image, 10)
    assert "s.gem: the image is taken to be registered" in caplog.text


def test_the_path_is_a_file_or_a_folder_of_one(tmp_path, rows):
    folder = tmp_path / "outs"
    path = write_gem(folder / "SN1.tissue.gem.gz", rows)
    assert measured_files("stereoseq", folder, "bin", 8) == {"molecules": path}
    assert measured_files("stereoseq", path, "bin", 8) == {"molecules": path}
    alignment = folder / "SN1_imagealignment.csv"
    np.savetxt(alignment, np.eye(3), delimiter=",")
    for given_path in (folder, path):
        files = measured_files("stereoseq", given_path, "bin", 8)
        assert files == {"molecules": path, "alignment": alignment}
    other = write_gem(folder / "SN10.gem", rows)
    assert measured_files("stereoseq", other, "bin", 8) == {"molecules": other}
    with pytest.raises(UserError, match=r"several matrices: SN1\.tissue\.gem\.gz, SN10\.gem"):
        measured_files("stereoseq", folder, "bin", 8)


def gzip_cut(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"MIDCount": "-1"}, "found count -1; expected raw counts"),
        ({"MIDCount": "1.5"}, r"invalid value '1\.5'"),
        ({"x": "-7"}, "found x -7"),
        ({"y": "9999999"}, "found y 9999999; expected raw counts and positions from 0"),
        ({"x": ""}, "rows that can't be read"),
    ],
)
def test_bad_rows(tmp_path, image, rows, change, message):
    rows = rows.astype(str)
    for column, value in change.items():
        rows.loc[3, column] = value
    path = write_gem(tmp_path / "s.gem", rows)
    for read in (
        lambda: read_bins(path, image, 10),
        lambda: write_transcript_section(source_of(path, image), tmp_path / "t.parquet"),
    ):
        with pytest.raises(UserError, match=message):
            read()
    assert not list(tmp_path.glob("*t.parquet"))


def test_bad_files(tmp_path, image, rows):
    cut = write_gem(tmp_path / "cut.gem.gz", rows)
    gzip_cut(cut)
    with pytest.raises(UserError, match=r"cut\.gem\.gz: found a damaged file \(Truncated"):
        read_bins(cut, image, 10)
    for name, text, message in (
        ("a.gem", "gene\tx\ty\n", "found the columns gene, x, y; expected x, y, geneID or"),
        ("b.gem", "geneID\tx\ty\tMIDCount\n", "no row with a count"),
        ("c.gem", "", "found the columns of nothing"),
        ("d.gem", "geneID\tx\ty\tMIDCount\nA\t1\t2\t1\nA\t1\n", "Expected 4 columns, got 2"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=message):
            read_bins(tmp_path / name, image, 10)
    (tmp_path / "e.gem").write_bytes(b"\xff\xfe\x00\x81" * 30)
    with pytest.raises(UserError, match=r"e\.gem: found an unreadable file.*a GEM .* or a GEF"):
        read_bins(tmp_path / "e.gem", image, 10)
    (tmp_path / "f.gem.gz").write_bytes(gzip.compress(b"#BinSize=1\n" * 9)[:-9])
    with pytest.raises(UserError, match=r"f\.gem\.gz: found an unreadable file"):
        read_bins(tmp_path / "f.gem.gz", image, 10)
    with pytest.raises(UserError, match=r"10\.2 um; expected a multiple of 0\.5 um"):
        read_bins(write_gem(tmp_path / "g.gem", rows), image, 10.2)
    no_cells = write_gem(tmp_path / "h.gem", rows.drop(columns="CellID"))
    assert own_nuclei("stereoseq", no_cells, "cell") is None
    with pytest.raises(UserError, match="no column CellID"):
        read_section(source_of(no_cells, image))
    empty = write_gem(tmp_path / "i.gem", rows.assign(CellID=CELL_OF_NONE))
    with pytest.raises(UserError, match="no row of a cell"):
        read_section(source_of(empty, image))


def test_bad_gefs(tmp_path, image, rows):
    path = write_gef(tmp_path / "s.gef", rows)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match="unreadable GEF"):
        read_bins(path, image, 10)
    with h5py.File(path, "w") as file:
        file["matrix"] = [1]
    with pytest.raises(UserError, match="the groups matrix; expected geneExp/bin1 or cellBin"):
        read_bins(path, image, 10)
    with pytest.raises(UserError, match="cells alone; expected the group geneExp/bin1"):
        read_bins(write_cell_gef(tmp_path / "c.gef", rows), image, 10)
    path.unlink()
    write_gef(path, rows)
    with h5py.File(path, "a") as file:
        genes = file["geneExp/bin1/gene"][:]
        genes["count"][0] -= 1
        file["geneExp/bin1/gene"][...] = genes
    with pytest.raises(UserError, match="genes that do not share out the rows"):
        read_bins(path, image, 10)
