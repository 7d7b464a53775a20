"""A Xenium folder with its H&E through the rules: outlines, molecules, figures."""

import json
import shutil

import anndata as ad
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from section_files import tissue_image, write_tiff

pytestmark = pytest.mark.slow
CENTRES_UM = np.array([(x, y) for x in range(30, 330, 30) for y in range(30, 240, 30)], float)


def write_xenium(folder):
    """Square nuclei of 10 um; five molecules in each, of gene A, and one between, of gene B."""
    folder.mkdir(parents=True)
    (folder / "experiment.xenium").write_text(json.dumps({"pixel_size": 0.2125}))
    corner = np.array([(-5, -5), (5, -5), (5, 5), (-5, 5), (-5, -5)])
    xy = (CENTRES_UM[:, None] + corner).reshape(-1, 2)
    names = [f"cell-{i}" for i in range(len(CENTRES_UM))]
    pd.DataFrame(
        {"cell_id": np.repeat(names, 5), "vertex_x": xy[:, 0], "vertex_y": xy[:, 1]}
    ).to_parquet(folder / "nucleus_boundaries.parquet")
    inside = np.repeat(CENTRES_UM, 5, axis=0) + np.tile(np.linspace(-4, 4, 5)[:, None], (70, 2))
    between = CENTRES_UM + 12
    position = np.concatenate([inside, between])
    pd.DataFrame(
        {
            "x_location": position[:, 0],
            "y_location": position[:, 1],
            "feature_name": ["A"] * len(inside) + ["B"] * len(between),
            "qv": 40.0,
            "is_gene": True,
        }
    ).to_parquet(folder / "transcripts.parquet")
    return names


def test_xenium_from_folder_to_figures(new_workplace):
    workplace = new_workplace("xenium")
    names = write_xenium(workplace.folder / "outs")
    write_tiff(workplace.folder / "he.tif", tissue_image(520, 720), 0.5)
    (workplace.folder / "samples.tsv").write_text(
        "sample\tdonor\tplatform\tpath\timage\tum_per_px\tunit\tsplit\n"
        "x\td\txenium\touts\the.tif\t\tnucleus\tnone\n"
    )
    cuts = {"umi_above": 0, "mito_fraction_below": None}
    config = workplace.write_config(
        "xenium", run="xenium", samples="samples.tsv", units={"filter": {"nucleus": cuts}}
    )
    words = workplace.run("--configfile", config)
    assert "no *imagealignment.csv" in words
    results = workplace.folder / "results/xenium"
    units = ad.read_h5ad(results / "sections/x/units.h5ad")
    assert sorted(units.obs_names) == sorted(names)
    counts = units.to_df()
    assert (counts["A"] == 5).all()
    assert (counts["B"] == 0).all()
    steps = pd.read_csv(results / "figures/quality/x.tsv", sep="\t").set_index("label")["share"]
    assert steps["transcripts_in_nuclei"] == pytest.approx(5 / 6, abs=1e-4)
    assert steps["umi_kept"] == pytest.approx(5 / 6, abs=1e-4)
    assert (results / "figures/nuclei/x.png").is_file()


def test_cells_are_given_or_grown_from_given_nuclei(new_workplace):
    """Section `both` has cells of its own, `nuclei` has none; nothing is segmented anew."""
    workplace = new_workplace("xenium_cells")
    rows = ""
    for sample in ("both", "nuclei"):
        outs = workplace.folder / sample
        write_xenium(outs)
        write_tiff(outs / "he.tif", tissue_image(520, 720), 0.5)
        rows += f"{sample}\td\txenium\t{sample}\t{sample}/he.tif\t\tcell\tnone\n"
    both = workplace.folder / "both"
    shutil.copy(both / "nucleus_boundaries.parquet", both / "cell_boundaries.parquet")
    (workplace.folder / "samples.tsv").write_text(
        "sample\tdonor\tplatform\tpath\timage\tum_per_px\tunit\tsplit\n" + rows
    )
    config = workplace.write_config("cells", run="cells", samples="samples.tsv")
    sections = "results/cells/sections"
    targets = [f"{sections}/{sample}/cells.parquet" for sample in ("both", "nuclei")]
    words = workplace.run(*targets, "--configfile", config)
    assert "rule segment_nuclei" not in words
    given, grown = (gpd.read_parquet(workplace.folder / target) for target in targets)
    np.testing.assert_allclose(given["area_um2"], 100)
    np.testing.assert_allclose(grown["nucleus_area_um2"], 100)
    # Grown by 4 um: the nucleus, four sides and the corners' quarter discs.
    np.testing.assert_allclose(grown["area_um2"], 100 + 4 * 40 + np.pi * 16, rtol=0.01)
