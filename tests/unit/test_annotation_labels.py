"""Labels that a user gives for units: by name, by place, from tables and .h5ad."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from histoscribe.annotation.labels import read_labels
from histoscribe.errors import UserError

UM_PER_PX = 0.5


@pytest.fixture
def units():
    x, y = np.meshgrid(np.arange(10) * 20 + 10.0, np.arange(6) * 20 + 10.0)
    names = [f"s_{i:03d}" for i in range(60)]
    return ad.AnnData(
        obs=pd.DataFrame(index=names), obsm={"spatial": np.column_stack([x.ravel(), y.ravel()])}
    )


@pytest.fixture
def regions(units):
    return pd.Series(np.where(units.obsm["spatial"][:, 0] < 100, "in situ", "stroma; fat"))


def read(path, units, unit_um=20.0):
    return read_labels(path, units, unit_um, UM_PER_PX)


def saved(table, folder, ending):
    path = folder / f"labels{ending}"
    if ending == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, sep={".tsv": "\t", ".csv": ",", ".txt": ";"}[ending], index=False)
    return path


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".txt", ".parquet"])
@pytest.mark.parametrize("column", ["Region", "cell_type"])
def test_by_names_in_any_order(units, regions, tmp_path, ending, column):
    table = pd.DataFrame({"Barcode": units.obs_names, column: regions})[::-1]
    found = read(saved(table[:50], tmp_path, ending), units)
    assert list(found.index) == list(units.obs_names)
    assert found.isna().sum() == 10
    assert list(found[10:]) == list(regions[10:])


@pytest.mark.parametrize("order", [["id", "label"], ["label", "id"]])
def test_names_of_digits_stay_as_written(units, regions, tmp_path, order):
    units.obs_names = [f"{i:04d}" for i in range(60)]
    table = pd.DataFrame({"id": units.obs_names, "label": regions})[order]
    assert list(read(saved(table, tmp_path, ".tsv"), units)) == list(regions)


@pytest.mark.parametrize("ending", [".tsv", ".parquet"])
@pytest.mark.parametrize(("columns", "scale"), [(["x_um", "y_um"], 1), (["pixel_x", "pixel_y"], 2)])
def test_by_positions(units, regions, tmp_path, columns, scale, ending):
    rng = np.random.default_rng(0)
    place = units.obsm["spatial"] + rng.uniform(-4, 4, (60, 2))
    table = pd.DataFrame(place * scale, columns=columns).assign(label=regions)
    table.loc[3, columns] = np.nan
    table.loc[4, columns[0]] += 15 * scale  # too far from any unit
    found = read(saved(table, tmp_path, ending), units)
    assert found.iloc[[3, 4]].isna().all()
    rest = np.setdiff1d(np.arange(60), [3, 4])
    assert list(found.iloc[rest]) == list(regions[rest])


def test_small_units_find_labels_within_five_um(units, regions, tmp_path):
    table = pd.DataFrame(units.obsm["spatial"] + [0, 4.5], columns=["x_um", "y_um"])
    path = saved(table.assign(label=regions), tmp_path, ".csv")
    assert read(path, units, unit_um=2.0).notna().all()
    table["y_um"] += 1
    with pytest.raises(UserError, match="positions within 5 um"):
        read(saved(table.assign(label=regions), tmp_path, ".csv"), units, unit_um=2.0)


def test_from_another_anndata(units, regions, tmp_path):
    given = ad.AnnData(np.ones((60, 2)), obs=pd.DataFrame(index=units.obs_names))
    given.obs["domain"] = pd.Categorical(regions)
    given.obs["unit"] = "bin"  # the names are in the index all the same
    given[::-1].copy().write_h5ad(tmp_path / "labels.h5ad")
    assert list(read(tmp_path / "labels.h5ad", units)) == list(regions)


def test_names_of_other_kinds_give_way_to_positions(units, regions, tmp_path):
    table = pd.DataFrame(units.obsm["spatial"], columns=["x_um", "y_um"])
    table = table.assign(id=np.arange(60), label=regions)
    assert list(read(saved(table, tmp_path, ".csv"), units)) == list(regions)


@pytest.mark.parametrize("word", ["undetermined", "Undetermined", " ", "NA", "nan", "None"])
def test_units_without_a_label(units, regions, tmp_path, word):
    regions[:7] = word
    table = pd.DataFrame({"unit": units.obs_names, "label": regions})
    found = read(saved(table, tmp_path, ".tsv"), units)
    assert found[:7].isna().all() and found[7:].notna().all()


def test_other_ids_are_refused(units, regions, tmp_path):
    table = pd.DataFrame({"barcode": [f"AAAC-{i}" for i in range(60)], "label": regions})
    with pytest.raises(UserError, match=r"0 of 60 units, by names such as AAAC-0.*s_000"):
        read(saved(table, tmp_path, ".tsv"), units)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "the columns a, b"),
        ("unit\tname\n1\t2\n", "one of labels"),
        ("label\nx\n", "one of units' names"),
        ("unit,label\n", "0 of 60"),
        ("", "no readable labels"),
    ],
)
def test_files_that_are_no_labels(units, tmp_path, text, words):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read(path, units)


@pytest.mark.parametrize("ending", [".h5ad", ".parquet", ".csv"])
def test_files_that_are_something_else(units, tmp_path, ending):
    path = tmp_path / f"labels{ending}"
    with pytest.raises(UserError, match="no readable labels"):
        read(path, units)
    path.write_bytes(b"\x89PNG\xff\xfe\x00\x01" * 40)
    with pytest.raises(UserError, match=str(path)):
        read(path, units)
