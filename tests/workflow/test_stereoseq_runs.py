"""Stereo-seq through the rules: bins, the file's own cells, and molecules in nuclei."""

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from section_files import tissue_image, write_tiff
from stereoseq_files import CELL_OF_NONE, molecules, write_gef, write_gem

pytestmark = pytest.mark.slow
COLUMNS = "sample\tdonor\tplatform\tpath\timage\tum_per_px\tunit\tsplit\tpolygons\n"
CUTS = {"umi_above": 0, "mito_fraction_below": None}


@pytest.fixture(scope="module")
def workplace(new_workplace):
    """A GEM, a GEF of the same rows, and an image in which they lie in the first corner."""
    workplace = new_workplace("stereoseq")
    write_gem(workplace.folder / "gem/SN1.tissue.gem.gz", molecules())
    write_gef(workplace.folder / "SN1.tissue.gef", molecules())
    write_tiff(workplace.folder / "he.tif", tissue_image(520, 720), 0.5)
    return workplace


def units_of(workplace, unit, path, polygons="", is_whole=False, **settings):
    """The kept units of a run on one section, their accounting, and the words on the screen."""
    row = f"s\td\tstereoseq\t{path}\the.tif\t\t{unit}\tnone\t{polygons}\n"
    (workplace.folder / "samples.tsv").write_text(COLUMNS + row)
    units = {"filter": {unit: CUTS}} | settings
    config = workplace.write_config(unit, run=unit, samples="samples.tsv", units=units)
    section = f"results/{unit}/sections/s"
    target = [] if is_whole else [f"{section}/units.h5ad"]
    words = workplace.run(*target, "--configfile", config)
    accounting = pd.read_csv(workplace.folder / section / "units.accounting.tsv", sep="\t")
    left = accounting.set_index("rule")["left"]
    return ad.read_h5ad(workplace.folder / section / "units.h5ad"), left, words


def test_bins(workplace):
    rows = molecules()
    units, left, _ = units_of(workplace, "bin", "gem", bin_um=12.5)
    assert units.n_obs == rows.groupby([rows["x"] // 25, rows["y"] // 25]).ngroups
    assert left["umi_under_tissue"] == left["umi_kept"] == rows["MIDCount"].sum()
    again, *_ = units_of(workplace, "bin", "SN1.tissue.gef", bin_um=12.5)
    pd.testing.assert_frame_equal(
        units.to_df().sort_index(axis=1), again.to_df().sort_index(axis=1)
    )


def test_the_files_own_cells(workplace):
    rows = molecules()
    units, left, words = units_of(workplace, "cell", "gem", is_whole=True)
    assert "rule segment_nuclei" not in words
    of_cells = rows[rows["CellID"] != CELL_OF_NONE]
    expected = of_cells.groupby(of_cells["CellID"].astype(str))["MIDCount"].sum()
    found = pd.Series(np.asarray(units.X.sum(axis=1)).ravel(), units.obs_names)
    np.testing.assert_array_equal(found, expected[found.index])
    assert left["umi_in_cells"] == of_cells["MIDCount"].sum()
    results = workplace.folder / "results/cell"
    assert (results / "sections/s/alignment.tsv").is_file()
    assert (results / "figures/nuclei/s.png").is_file()
    steps = pd.read_csv(results / "figures/quality/s.tsv", sep="\t").set_index("label")["share"]
    share = of_cells["MIDCount"].sum() / rows["MIDCount"].sum()
    assert steps["umi_in_cells"] == pytest.approx(share, abs=1e-4)


def test_molecules_in_nuclei(workplace):
    rows = molecules()
    box = shapely.box([5, 40], [5, 40], [25, 55], [20, 60])
    nuclei = gpd.GeoDataFrame(geometry=box, index=pd.Index(["a", "b"], name="nucleus"))
    nuclei.to_parquet(workplace.folder / "nuclei.parquet")
    units, left, _ = units_of(workplace, "nucleus", "SN1.tissue.gef", "nuclei.parquet")
    x, y = ((rows[axis] + 0.5) * 0.5 for axis in ("x", "y"))
    for name, outline in nuclei.geometry.items():
        inside = shapely.contains_xy(outline, x, y)
        assert units[name].X.sum() == rows["MIDCount"][inside].sum()
    assert left["transcripts_under_tissue"] == rows["MIDCount"].sum()
