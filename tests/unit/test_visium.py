"""The reader of Visium (not HD): dialects, pitch, text matrices, damaged files."""

import gzip
import logging

import numpy as np
import pytest
from scipy import io, sparse
from section_files import visium_array, write_tiff, write_visium

from histoscribe.errors import UserError
from histoscribe.platforms import measured_files
from histoscribe.provenance import recall
from histoscribe.readers import open_section, read_section, visium

UM_PER_PX = 0.5  # of section_files.write_visium


def read(outs, tmp_path, um_per_px=None):
    slide = write_tiff(tmp_path / "image.tif", np.full((1800, 2600, 3), 200, np.uint8), None)
    files = measured_files("visium", outs, "spot", 8)
    return read_section(open_section("s", "visium", slide, files, um_per_px))


@pytest.mark.parametrize(
    "positions",
    ["tissue_positions.csv", "tissue_positions_list.csv", "tissue_positions.parquet"],
)
def test_dialects_of_positions(tmp_path, positions):
    adata = read(write_visium(tmp_path / "outs", positions), tmp_path)
    assert adata.n_obs == int((visium_array()["in_tissue"] == 1).sum())
    x, y = adata.obsm["spatial"].T
    np.testing.assert_allclose(y[adata[:, "ROW0"].X.toarray().ravel() > 0], 100)
    np.testing.assert_allclose(x[adata[:, "COL0"].X.toarray().ravel() > 0], 150)
    assert list(adata.var_names) == ["ROW0", "COL0", "DUP", "DUP-1", "MT-X"]
    facts = recall(adata.uns)
    assert (facts["unit_shape"], facts["unit_size_um"]) == ("circle", 55.0)
    assert facts["um_per_px"] == pytest.approx(UM_PER_PX)


def test_a_list_with_a_header_is_known_by_its_content(tmp_path):
    outs = write_visium(tmp_path / "outs")
    (outs / "spatial/tissue_positions.csv").rename(outs / "spatial/tissue_positions_list.csv")
    assert read(outs, tmp_path).n_obs > 0


@pytest.mark.parametrize("given", [".", "outs"])
def test_outs_or_one_above(tmp_path, given):
    write_visium(tmp_path / "outs")
    files = measured_files("visium", tmp_path / given, "spot", 8)
    assert all(path.is_file() for path in files.values())


@pytest.mark.parametrize("dialect", ["features", "genes"])
def test_text_matrices_equal_the_binary_one(tmp_path, dialect):
    binary = read(write_visium(tmp_path / "a"), tmp_path)
    text = read(write_visium(tmp_path / "b", matrix=dialect), tmp_path)
    # What is no gene expression is left out, where the table says what is.
    binary = binary[:, : text.n_vars]
    assert text.n_vars == (4 if dialect == "features" else 5)
    assert text.X.dtype == np.int32
    assert sparse.isspmatrix_csr(text.X)
    assert text.obs_names.equals(binary.obs_names)
    assert text.var_names.equals(binary.var_names)
    np.testing.assert_array_equal(text.X.toarray(), binary.X.toarray())
    assert text.var["gene_id"].tolist() == [f"ENSG{i}" for i in range(text.n_vars)]


@pytest.mark.parametrize("turn_deg", [0, 90, 31])
def test_the_pitch_tells_the_resolution(tmp_path, turn_deg):
    outs = write_visium(tmp_path / "outs", table=visium_array(turn_deg))
    files = measured_files("visium", outs, "spot", 8)
    assert visium.um_per_px(files) == pytest.approx(UM_PER_PX, rel=1e-6)


def test_the_pitch_wins_over_a_wrong_diameter_with_a_warning(tmp_path, caplog):
    outs = write_visium(tmp_path / "outs", diameter_um=130)
    with caplog.at_level(logging.WARNING):
        adata = read(outs, tmp_path)
    assert recall(adata.uns)["um_per_px"] == pytest.approx(UM_PER_PX)
    assert "260 px, 130 um at the 0.5 um/px of the array's pitch" in caplog.text


@pytest.mark.parametrize("diameter_um", [55, 65])
def test_both_stated_diameters_are_fine(tmp_path, caplog, diameter_um):
    read(write_visium(tmp_path / "outs", diameter_um=diameter_um), tmp_path)
    assert not caplog.text


def test_a_sheet_of_another_resolution_is_refused(tmp_path):
    outs = write_visium(tmp_path / "outs")
    with pytest.raises(
        UserError, match=r"0\.65 um/px in the sample sheet but 0\.5 um/px in the pl"
    ):
        read(outs, tmp_path, um_per_px=0.65)


def test_positions_of_a_square_array_are_refused(tmp_path):
    table = visium_array().assign(pxl_row_in_fullres=lambda t: t["array_row"] * 100.0)
    outs = write_visium(tmp_path / "outs", table=table)
    with pytest.raises(UserError, match="pixels that do not follow array_row and array_col"):
        read(outs, tmp_path)


def test_positions_without_a_column(tmp_path):
    table = visium_array().drop(columns="array_col")
    outs = write_visium(tmp_path / "outs", "tissue_positions_list.csv", table=table)
    with pytest.raises(UserError, match=r"5 columns.*tissue_positions\.csv .*_list\.csv"):
        read(outs, tmp_path)


def test_positions_of_another_section(tmp_path):
    table = visium_array().assign(barcode=lambda t: t["barcode"].str.replace("-1", "-2"))
    outs = write_visium(tmp_path / "outs", table=table)
    with pytest.raises(UserError, match="no position for 64 of 64 barcodes"):
        read(outs, tmp_path)


@pytest.mark.parametrize("content", ["", "barcode,in_tissue\n", "a,b,c,d,e,f\n"])
def test_damaged_positions(tmp_path, content):
    outs = write_visium(tmp_path / "outs")
    (outs / "spatial/tissue_positions.csv").write_text(content)
    with pytest.raises(UserError, match=r"tissue_positions\.csv"):
        read(outs, tmp_path)


def test_damaged_text_matrices(tmp_path):
    outs = write_visium(tmp_path / "outs", matrix="features")
    folder = outs / "filtered_feature_bc_matrix"
    whole = (folder / "matrix.mtx.gz").read_bytes()
    (folder / "matrix.mtx.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"matrix\.mtx\.gz"):
        read(outs, tmp_path)
    (folder / "matrix.mtx.gz").write_bytes(whole)
    with gzip.open(folder / "barcodes.tsv.gz", "at") as file:
        file.write("ONE-TOO-MANY\n")
    with pytest.raises(UserError, match="65 in barcodes"):
        read(outs, tmp_path)


def test_text_matrices_of_fractions(tmp_path):
    outs = write_visium(tmp_path / "outs", matrix="genes")
    path = outs / "filtered_feature_bc_matrix/matrix.mtx"
    io.mmwrite(path, sparse.coo_matrix(np.full((5, 64), 0.5)))
    with pytest.raises(UserError, match="raw counts"):
        read(outs, tmp_path)
