"""Nuclei predicted on a Visium section and held against its spots, through the real DAG."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from histoscribe.evaluation.scores import pearson
from histoscribe.simulation import SimulationSettings, simulate_section, write_section
from histoscribe.simulation.visium import spot_counts, write_visium

pytestmark = pytest.mark.slow
EDGE_UM = 600
COLUMNS = "sample donor platform path image um_per_px unit split polygons"


@pytest.fixture(scope="module")
def visium():
    """A section of another donor, whose spots are what is measured."""
    return simulate_section(
        SimulationSettings("vis", seed=7, donor_seed=7, width_um=EDGE_UM, height_um=EDGE_UM)
    )


@pytest.fixture(scope="module")
def workplace(new_workplace, visium):
    """A Visium HD section to train on, and a Visium one whose nuclei are predicted."""
    workplace = new_workplace("spots")
    workplace.keep_baselines("training-mean")
    write_section(visium, workplace.folder / "vis")
    write_visium(visium, workplace.folder / "vis/outs", space_ranger=1)
    hd = "results/spots/simulated/hd"
    rows = [
        f"hd d1 visium_hd {hd} {hd}/image.tif - nucleus train -",
        "vis d2 visium vis vis/image.tif - nucleus predict "
        "vis/segmented_outputs/nucleus_segmentations.geojson",
    ]
    lines = [COLUMNS, *rows]
    text = "\n".join("\t".join("" if c == "-" else c for c in line.split()) for line in lines)
    (workplace.folder / "samples.tsv").write_text(text + "\n")
    (workplace.folder / "experiments.yaml").write_text("full: {}\n")
    workplace.config = workplace.write_config(
        "spots",
        run="spots",
        samples="samples.tsv",
        experiments="experiments.yaml",
        simulation={"hd": {"seed": 1, "donor_seed": 1, "width_um": EDGE_UM, "height_um": EDGE_UM}},
        genes={"max_genes": 120},
        model={"kind": "ridge", "ridge": {"block_um": 150}},
        training={"block_um": 150},
        prediction={"intervals": False},
    )
    figure = "results/spots/figures/spots/full/holdout/vis"
    workplace.targets = [f"{figure}.{ending}" for ending in ("pdf", "png", "tsv")]
    workplace.run(*workplace.targets, "--configfile", workplace.config)
    workplace.results = workplace.folder / "results/spots"
    return workplace


def test_spots_are_those_of_the_instrument(workplace, visium):
    counts, positions = spot_counts(visium)
    spots = ad.read_h5ad(workplace.results / "sections/vis/spots.h5ad")
    assert (counts != spots.X).nnz == 0
    centre_um = (
        positions.query("in_tissue == 1")[["pxl_col_in_fullres", "pxl_row_in_fullres"]] * 0.5
    )
    np.testing.assert_allclose(spots.obsm["spatial"], centre_um, atol=0.01)
    units = ad.read_h5ad(workplace.results / "sections/vis/units.h5ad")
    assert units.n_vars == 0  # molecules of spots belong to no nucleus
    assert not (workplace.results / "sections/vis/alignment.tsv").exists()


def test_predicted_sums_agree_with_the_measured_spots(workplace, visium):
    folder = workplace.results / "spots/full/holdout"
    tables = ("genes", "spots", "section")
    genes, spots, section = (pd.read_csv(folder / f"vis.{t}.tsv", sep="\t") for t in tables)
    row = section.iloc[0]
    assert (row["experiment"], row["fold"], row["sample"]) == ("full", "holdout", "vis")
    assert row["donor_trained_on"] == "no"
    assert row["n_genes"] == len(genes) == 120
    assert row["pcc_mean"] == pytest.approx(genes["pcc"].mean(), abs=1e-4)
    assert row["n_spots_compared"] == (spots["n_units"] > 0).sum()
    # True nuclei over true spots, one by one.
    centre = visium.truth.obsm["spatial"]
    predicted = ad.read_h5ad(workplace.results / "full/holdout/predicted/vis.h5ad")
    distance = np.linalg.norm(
        predicted.obsm["spatial"][:, None] - spots[["x_um", "y_um"]].to_numpy(), axis=2
    )
    assert spots["n_units"].tolist() == (distance < 27.5).sum(axis=0).tolist()
    assert row["n_units"] <= len(centre)
    # What the truth scores over the same spots is the reference.
    share = visium.truth.X / visium.truth.X.sum(axis=1, keepdims=True)
    inside = np.linalg.norm(centre[:, None] - spots[["x_um", "y_um"]].to_numpy(), axis=2) < 27.5
    own = pd.Index(visium.truth.var_names).get_indexer(genes["gene"])
    rate = inside.T.astype(float) @ share[:, own]
    measured = ad.read_h5ad(folder / "vis.h5ad").layers["measured"]
    kept = (rate.sum(axis=1) > 0) & spots["is_compared"].to_numpy()
    expected = np.log1p(rate[kept] / rate[kept].sum(axis=1, keepdims=True) * 1000)
    reference = pearson(measured[kept], expected).mean()
    assert reference > 0.3
    assert row["pcc_mean"] > 0.4 * reference
    assert 0.05 < row["within_share"] < 1


def test_the_figure_shows_the_tables(workplace):
    figure = workplace.results / "figures/spots/full/holdout/vis"
    plotted = pd.read_csv(f"{figure}.tsv", sep="\t")
    genes = pd.read_csv(workplace.results / "spots/full/holdout/vis.genes.tsv", sep="\t")
    shown = plotted[plotted["kind"] == "gene"]
    np.testing.assert_allclose(shown["pcc"], genes["pcc"], atol=1e-4)
    best = genes.sort_values("pcc")["gene"].iloc[-1]
    assert f"measured_{best}" in plotted
    predicted = ad.read_h5ad(workplace.results / "full/holdout/predicted/vis.h5ad")
    units = plotted[plotted["kind"] == "unit"].set_index("name")
    units.index = units.index.astype(str)
    own = predicted[units.index, best].X.ravel()
    np.testing.assert_allclose(units[f"predicted_{best}"], own, atol=1e-3)
    for ending in ("pdf", "png"):
        assert figure.with_suffix(f".{ending}").stat().st_size > 10_000


def test_a_second_run_does_nothing_and_settings_reach_the_comparison(workplace):
    words = workplace.run(*workplace.targets, "--configfile", workplace.config)
    assert "Nothing to be done" in words
    settings = {"diameter_um": 80, "weights": "area"}
    other = workplace.write_config("other", base=workplace.config, spots=settings)
    words = workplace.run("-n", "--configfile", other)
    assert "rule compare_spots" in words and "rule plot_spots" in words
    words = workplace.run(*workplace.targets, "-n", "--configfile", other)
    assert "rule compare_spots" in words
    for rule in ("predict_expression", "ingest_spots", "train_model"):
        assert f"rule {rule}" not in words
