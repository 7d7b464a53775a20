"""Stereo-seq as other versions, and other hands, write it."""

import h5py
import numpy as np
import pytest
from section_files import tissue_image, write_tiff
from stereoseq_files import molecules, write_cell_gef, write_gef, write_gem

from histoscribe.errors import UserError
from histoscribe.platforms import measured_files
from histoscribe.readers import open_section, read_section, stereoseq


@pytest.fixture
def rows():
    return molecules()


def read_bins(path, tmp_path, bin_um=10.0):
    image = write_tiff(tmp_path / "regist.tif", tissue_image(210, 210), 0.5)
    files = measured_files("stereoseq", path, "bin", 8)
    return read_section(open_section("s", "stereoseq", image, files, None, bin_um))


def test_molecules_between_cells_are_those_of_the_bins(tmp_path, rows):
    path = write_gef(tmp_path / "both.gef", rows)
    with (
        h5py.File(write_cell_gef(tmp_path / "cells.gef", rows)) as cells,
        h5py.File(path, "a") as f,
    ):
        cells.copy("cellBin", f)
    measured, _ = stereoseq.read_cells(measured_files("stereoseq", path, "cell", 8))
    assert measured.uns["umi_under_tissue"] == rows["MIDCount"].sum() > measured.X.sum()


def test_borders_of_an_early_version_are_refused(tmp_path, rows):
    path = write_cell_gef(tmp_path / "cells.gef", rows)
    with h5py.File(path, "a") as file:
        borders = file["cellBin/cellBorder"][:, :16]
        del file["cellBin/cellBorder"]
        file["cellBin/cellBorder"] = np.where(borders > 100, 0, borders).astype(np.int8)
    with pytest.raises(UserError, match="borders of 8 bits"):
        stereoseq.read_cells(measured_files("stereoseq", path, "cell", 8))


def test_genes_without_a_name_go_by_their_id(tmp_path, rows):
    named = rows.assign(geneName=rows["geneName"].where(rows["geneID"] != "ENSG00003", ""))
    found = read_bins(write_gem(tmp_path / "a.gem", named), tmp_path)
    assert "ENSG00003" in found.var_names
    assert "" not in found.var_names


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"BinSize": "bin20"}, "found #BinSize=bin20; expected a number of DNBs"),
        ({"count": 2_000_000_000}, "found count 2000000000; expected raw counts and positions"),
    ],
)
def test_odd_numbers_are_refused(tmp_path, rows, change, words):
    count = change.pop("count", None)
    if count is not None:
        rows.loc[3, "MIDCount"] = count
    with pytest.raises(UserError) as raised:
        read_bins(write_gem(tmp_path / "a.gem", rows, **change), tmp_path)
    assert words in str(raised.value)


@pytest.mark.parametrize(("fields", "words"), [("gene", "no field"), ("none", "no row")])
def test_odd_gefs_are_refused(tmp_path, rows, fields, words):
    path = write_gef(tmp_path / "a.gef", rows)
    with h5py.File(path, "a") as file:
        group = file["geneExp/bin1"]
        table, expression = group["gene"][:], group["expression"][:]
        resolution = group["expression"].attrs["resolution"]
        del group["gene"], group["expression"]
        if fields == "gene":
            kept = table[["offset", "count"]]
            group["gene"] = np.array(kept.tolist(), dtype=[("offset", "<u4"), ("count", "<u4")])
            group["expression"] = expression
        else:
            group["gene"], group["expression"] = table[:0], expression[:0]
        group["expression"].attrs["resolution"] = resolution
    with pytest.raises(UserError, match=words):
        read_bins(path, tmp_path)
