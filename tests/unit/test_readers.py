import gzip
import json

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from section_files import tissue_image, write_10x_h5, write_tiff, write_visium_hd

from histoscribe.errors import UserError
from histoscribe.image import Slide, open_slide
from histoscribe.platforms import measured_files
from histoscribe.provenance import recall
from histoscribe.readers import SectionSource, legacy_st, open_section, read_section
from histoscribe.readers.hdf5_10x import read_10x_matrix


@pytest.fixture
def slide(tmp_path):
    return open_slide(write_tiff(tmp_path / "image.tif", tissue_image(400, 600), 0.5))


def read(folder, slide, um_per_px=0.5):
    files = measured_files("visium_hd", folder, "bin", 8)
    return read_section(SectionSource("sample", "visium_hd", files, slide, um_per_px))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("compression", ["gzip", None])
def test_visium_hd_positions_and_counts(tmp_path, slide, version, compression):
    folder = write_visium_hd(tmp_path / "outs", version=version, compression=compression)
    adata = read(folder, slide)
    assert adata.shape == (600, 12)
    assert adata.X.dtype == np.int32
    assert sparse.isspmatrix_csr(adata.X)
    x, y = adata.obsm["spatial"].T
    in_row_0 = adata[:, "ROW0"].X.toarray().ravel() > 0
    in_column_0 = adata[:, "COL0"].X.toarray().ravel() > 0
    # The first bin's corner is at (40, 20) px = (20, 10) um; bins measure 8 um.
    np.testing.assert_allclose(y[in_row_0], 14.0)
    np.testing.assert_allclose(x[in_column_0], 24.0)
    assert in_row_0.sum() == 30
    assert in_column_0.sum() == 20
    facts = recall(adata.uns)
    assert (facts["platform"], facts["unit_size_um"], facts["um_per_px"]) == ("visium_hd", 8.0, 0.5)


@pytest.mark.parametrize("given", [".", "binned_outputs"])
def test_outs_or_binned_outputs(tmp_path, given):
    folder = write_visium_hd(tmp_path / "outs")
    for base in (folder / given, tmp_path):
        assert all(p.is_file() for p in measured_files("visium_hd", base, "bin", 8).values())


def test_repeated_symbols_become_unique(tmp_path):
    counts = sparse.csr_matrix(np.eye(3, dtype=int))
    path = write_10x_h5(tmp_path / "m.h5", counts, ["a", "b", "c"], ["X", "X", "Y"])
    assert list(read_10x_matrix(path).var.index) == ["X", "X-1", "Y"]


def test_positions_just_outside_the_image_are_left_out(tmp_path, slide, caplog):
    folder = write_visium_hd(tmp_path / "outs")
    whole = read(folder, slide)
    # 16 um a bin: the right edge of the image now runs between the last two columns of bins.
    right_um = np.unique(whole.obsm["spatial"][:, 0])[-2:].mean()
    cropped = Slide(slide.path, np.asarray(tissue_image(400, round(right_um / 0.5))), 0.5)
    adata = read(folder, cropped)
    inside = whole.obsm["spatial"][:, 0] < right_um
    np.testing.assert_array_equal(adata.obsm["spatial"], whole.obsm["spatial"][inside])
    assert (whole.X[inside] != adata.X).nnz == 0
    assert "20 of 600 positions lie outside the image and are left out" in caplog.text


@pytest.mark.parametrize("value", [0.5, -1.0])
def test_what_is_no_count_is_refused(tmp_path, slide, value):
    folder = write_visium_hd(tmp_path / "outs")
    with h5py.File(measured_files("visium_hd", folder, "bin", 8)["matrix"], "a") as file:
        values = file["matrix/data"][:].astype(np.float64)
        values[3] = value
        del file["matrix/data"]
        file["matrix/data"] = values
    with pytest.raises(UserError, match=f"not raw counts: {value:g} and 0 more"):
        read(folder, slide)


def test_hdf5_cut_in_half(tmp_path, slide):
    folder = write_visium_hd(tmp_path / "outs")
    matrix = measured_files("visium_hd", folder, "bin", 8)["matrix"]
    matrix.write_bytes(matrix.read_bytes()[: matrix.stat().st_size // 2])
    with pytest.raises(UserError, match=r"filtered_feature_bc_matrix\.h5.*truncated"):
        read(folder, slide)


def test_positions_of_another_section(tmp_path, slide):
    folder = write_visium_hd(tmp_path / "outs")
    positions = measured_files("visium_hd", folder, "bin", 8)["positions"]
    frame = pd.read_parquet(positions)
    frame["barcode"] = frame["barcode"].str.replace("-1", "-2")
    frame.to_parquet(positions)
    with pytest.raises(UserError, match="no position for 600 of 600 barcodes"):
        read(folder, slide)


def test_positions_outside_the_image(tmp_path, slide):
    folder = write_visium_hd(tmp_path / "outs", origin_px=(5000, 5000))
    with pytest.raises(UserError, match="0% of the positions inside"):
        read(folder, slide)


def test_positions_in_an_image_of_another_scale(tmp_path, slide):
    """A shrunken image holds most of the positions, and yet all of them are wrong."""
    folder = write_visium_hd(tmp_path / "outs", um_per_px=0.37, origin_px=(10, 10))
    with pytest.raises(UserError, match=r"81% of the positions .*; expected at least 95%"):
        read(folder, slide)


def test_resolution_in_conflict(tmp_path, slide):
    files = measured_files("visium_hd", write_visium_hd(tmp_path / "outs"), "bin", 8)
    assert open_section("a", "visium_hd", slide.path, files, None).um_per_px == 0.5
    with pytest.raises(UserError, match=r"0\.55 um/px in the sample sheet but 0\.5 um/px"):
        open_section("a", "visium_hd", slide.path, files, 0.55)


@pytest.fixture
def legacy(tmp_path):
    folder = tmp_path / "S1"
    folder.mkdir()
    spots = [(x, y) for x in range(4, 9) for y in range(10, 13)]
    frame = pd.DataFrame(
        {"A": range(len(spots)), "B": 1, "MT-X": 2}, index=[f"{x}x{y}" for x, y in spots]
    )
    frame.loc["99x99"] = 7  # outside the selection
    with gzip.open(folder / "S1.tsv.gz", "wt") as file:
        frame.to_csv(file, sep="\t")
    selection = pd.DataFrame(spots, columns=["x", "y"]).assign(
        new_x=lambda f: f.x + 0.01,
        new_y=lambda f: f.y - 0.02,
        pixel_x=lambda f: f.new_x * 40,
        pixel_y=lambda f: f.new_y * 40,
        selected=1,
    )
    selection.to_csv(folder / "S1_selection.tsv", sep="\t", index=False)
    return folder


def test_legacy_st(legacy, slide):
    files = measured_files("legacy_st", legacy, "spot", 8)
    write_tiff(slide.path, tissue_image(600, 400), 5.0)
    assert legacy_st.um_per_px(files) == pytest.approx(5.0)
    adata = read_section(open_section("s", "legacy_st", slide.path, files, 5.0))
    assert adata.shape == (15, 3)
    spot = adata["5x11"]
    np.testing.assert_allclose(spot.obsm["spatial"], [[5.01 * 200, 10.98 * 200]])
    assert spot[:, "A"].X.toarray().item() == 4


def test_legacy_st_with_a_mirrored_axis(legacy):
    path = legacy / "S1_selection.tsv"
    selection = pd.read_csv(path, sep="\t")
    selection["pixel_y"] = 1000 - selection["pixel_y"]
    selection.to_csv(path, sep="\t", index=False)
    files = measured_files("legacy_st", legacy, "spot", 8)
    assert legacy_st.um_per_px(files) == pytest.approx(5.0)


def test_legacy_st_of_two_sections(legacy, slide):
    path = legacy / "S1_selection.tsv"
    selection = pd.read_csv(path, sep="\t")
    selection["x"] += 100
    selection.to_csv(path, sep="\t", index=False)
    files = measured_files("legacy_st", legacy, "spot", 8)
    with pytest.raises(UserError, match="no spot of the count table"):
        read_section(SectionSource("s", "legacy_st", files, slide, 5.0))


def test_damaged_scalefactors(tmp_path, slide):
    folder = write_visium_hd(tmp_path / "outs")
    files = measured_files("visium_hd", folder, "bin", 8)
    files["scalefactors"].write_text(json.dumps({"spot_diameter_fullres": 3})[:-4])
    with pytest.raises(UserError, match="JSON"):
        read(folder, slide)
