"""An integration of files alone: from a config to all that it is made for, and the report."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

EDGE, N_GENES = 16, 32
PITCH_UM = 20.0
ANGLE = np.deg2rad(40)
MIRRORED = np.array([[-np.cos(ANGLE), -np.sin(ANGLE)], [-np.sin(ANGLE), np.cos(ANGLE)]])


@pytest.fixture(scope="module")
def workplace(new_workplace):
    """Two sections of one tissue in four regions; the other one lies upside down and turned."""
    place = new_workplace("integration")
    rng = np.random.default_rng(0)
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(EDGE), np.arange(EDGE)))
    region = 2 * (x < 7) + (y < np.where(x < 7, 11, 4))
    marked = np.arange(N_GENES) % 4 == region[:, None]
    xy_um = PITCH_UM * np.column_stack([x, y])
    turned_um = xy_um @ MIRRORED.T + [3000.0, -500.0]
    for name, given_um in (("one", xy_um), ("other", turned_um), ("third", xy_um)):
        units = ad.AnnData(rng.poisson(np.where(marked, 5, 1)).astype(np.float32))
        units.var_names = [f"GENE{i}" for i in range(N_GENES)]
        units.obsm["spatial"], units.obsm["true"] = given_um, xy_um
        units.obs["region"] = np.array(["cortex", "medulla", "papilla", "pelvis"])[region]
        units.write_h5ad(place.folder / f"{name}.h5ad")
    left, right = ([f"GENE{i}" for i in its] for its in (range(12), range(16, N_GENES)))
    lines = ["\t".join([name, "", *its]) for name, its in (("LEFT", left), ("RIGHT", right))]
    (place.folder / "sets.gmt").write_text("\n".join(lines))
    return place


def files(*names):
    return {name: {"path": f"{name}.h5ad", "unit": "cell"} for name in names}


@pytest.fixture(scope="module")
def results(workplace):
    training = {"n_steps": 300, "n_networks": 1, "n_factors": 4}
    settings = {"training": training, "domains": {"n_domains": 4}, "borrowing": {"n_hidden": 5}}
    settings["neighbours"] = {"n_nearest": {"cell": 6}}  # regions are 4 to 12 cells wide
    listed = files("one", "other", "third")
    for name, group in (("one", "early"), ("other", "late"), ("third", "late")):
        listed[name]["group"] = group
    entry = {"files": listed, "label": "region", "settings": settings}
    entry["gradient"] = ["early", "late"]
    entry["infer_genes"] = {"into": ["third"], "genes": ["GENE1"]}
    entry["stack"] = {"spacing_um": 12, "reference": "one"}
    config = workplace.write_config(
        "pair", run="pair", integrations={"pair": entry}, enrichment={"sets": ["sets.gmt"]}
    )
    workplace.run("--configfile", config)
    return workplace.folder / "results/pair"


def test_files_are_integrated_without_a_sheet(results):
    units = ad.read_h5ad(results / "integrated/pair/units.h5ad")
    assert list(units.obs["section"].value_counts()) == [EDGE**2] * 3
    assert units.obs_names[0] == "one/0"
    assert units.obsm["factors"].shape == (3 * EDGE**2, 4)
    assert not (results / "integrated/pair/network_1.safetensors").exists()
    measured = pd.read_csv(results / "integrated/pair/domains.tsv", sep="\t").set_index("section")
    assert measured.loc["all", "ari"] > 0.8
    mixing = pd.read_csv(results / "integrated/pair/mixing.tsv", sep="\t").set_index("space")
    assert mixing.loc["latent", "ilisi"] > 2  # of three sections
    loadings = pd.read_csv(results / "integrated/pair/loadings.tsv", sep="\t", index_col="gene")
    assert np.allclose(loadings.filter(like="factor_").sum(), 1, atol=1e-3)
    drawn = pd.read_csv(results / "figures/integrated/pair/domains.tsv", sep="\t")
    assert len(drawn) == 3 * EDGE**2
    assert (results / "report.html").is_file()


def test_factors_are_told(results):
    folder = results / "integrated/pair"
    factors = pd.read_csv(folder / "factors.tsv", sep="\t")
    assert factors["factor"].tolist() == [f"factor_{i + 1}" for i in range(4)]
    assert factors["mean"].sum() == pytest.approx(1, abs=1e-3)
    genes = pd.read_csv(folder / "factor_genes.tsv", sep="\t")
    assert np.allclose(genes.groupby("factor")["share"].sum(), 1, atol=1e-3)
    variable = pd.read_csv(folder / "variable_genes.tsv", sep="\t")
    left = variable["gene"].isin([f"GENE{i}" for i in range(N_GENES // 2)])
    assert len(variable) == 3 * N_GENES
    assert (variable.loc[left, "q"] < 0.05).all()
    assert {"group", "term", "adjusted_p"} <= set(pd.read_csv(folder / "enriched.tsv", sep="\t"))
    drawn = pd.read_csv(results / "figures/integrated/pair/factors.tsv", sep="\t")
    assert len(drawn) == 3 * EDGE**2
    assert len(drawn.filter(like="factor_").columns) == factors["is_used"].sum()


def test_the_gradient_is_followed(results):
    table = pd.read_csv(results / "integrated/pair/gradient.tsv", sep="\t")
    assert set(table["kind"]) == {"order", "factor", "domain", "gene"}
    assert (table["n_sections"] == 3).all()
    assert table["p"].min() >= 1 / 3 - 1e-6
    units = pd.read_csv(results / "integrated/pair/gradient_units.tsv.gz", sep="\t")
    unseen = units.groupby("section")["gradient"].count()
    assert unseen.tolist() == [0, EDGE**2, EDGE**2]  # without the one early section, all are late
    drawn = pd.read_csv(results / "figures/integrated/pair/gradient.tsv", sep="\t")
    assert drawn["section"].tolist() == ["one", "other", "third"]
    assert (results / "figures/integrated/pair/gradient.png").is_file()


def test_labels_and_genes_are_borrowed(results):
    folder = results / "integrated/pair"
    scores = pd.read_csv(folder / "label_transfer.tsv", sep="\t")
    latent = scores[scores["space"] == "latent"].set_index("section")
    assert list(latent.index) == ["one", "other", "third", "all"]
    assert latent.loc["all", "accuracy"] > 0.8
    assert len(pd.read_csv(folder / "labels.tsv.gz", sep="\t")) == 3 * EDGE**2
    inferred = ad.read_h5ad(folder / "inferred/third.h5ad")
    assert inferred.shape == (EDGE**2, 1)
    hidden = pd.read_csv(folder / "inference.tsv", sep="\t")
    assert hidden["gene"].nunique() == len(hidden) == 5
    assert hidden["pcc"].mean() > 0.4
    for name in ("labels", "inference"):
        drawn = pd.read_csv(results / f"figures/integrated/pair/{name}.tsv", sep="\t")
        assert drawn.notna().all(axis=None)


def test_adjacent_sections_are_stacked(workplace, results):
    stack = ad.read_h5ad(results / "integrated/pair/stack.h5ad")
    assert stack.obs["is_placed"].all()
    true_um = ad.read_h5ad(workplace.folder / "one.h5ad").obsm["true"]
    for depth_um, name, most_um in ((0, "one", 1e-6), (12, "other", 20), (24, "third", 20)):
        placed_um = stack[stack.obs["section"] == name].obsm["spatial_3d"]
        assert np.median(np.linalg.norm(placed_um[:, :2] - true_um, axis=1)) < most_um
        assert (placed_um[:, 2] == depth_um).all()
    assert {"spatial", "latent", "factors"} <= set(stack.obsm)
    table = pd.read_csv(results / "integrated/pair/alignments.tsv", sep="\t").set_index("section")
    assert table.loc["other", "is_reflected"] and table["is_trusted"].all()
    assert table.loc["other", "aligned_to"] == "one"
    assert table.loc["other", "domains_after"] > table.loc["other", "domains_by_chance"] + 0.3
    drawn = pd.read_csv(results / "figures/stacked/pair.tsv", sep="\t")
    assert len(drawn) == 3 * EDGE**2
    assert (results / "figures/stacked/pair.png").is_file()


def test_an_integration_that_cannot_be_is_refused_before_any_job(workplace):
    wrong = {
        "alone": {"files": files("one")},
        "absent": {"files": files("one", "fourth")},
        "unknown": {"measured": ["section-9"], "files": files("one", "other")},
        "order": {"files": files("one", "other"), "order": ["one", "two"]},
        "reference": {
            "files": files("one", "other"),
            "settings": {"training": {"pairs": "reference", "reference": "two"}},
        },
        "gradient": {"files": files("one", "other", "third"), "gradient": ["early", "late"]},
        "stack": {"files": files("one", "other"), "stack": {"reference": "three"}},
        "misplaced": {"files": files("one", "other"), "settings": {"stack": {"warp": False}}},
    }
    config = workplace.write_config("wrong", run="wrong", integrations=wrong)
    words = workplace.fail("-n", "--configfile", config)
    for told in (
        "integrations/alone: found 1 section (one); expected two or more",
        "integrations/absent/files/fourth: found no file at fourth.h5ad",
        "integrations/unknown/measured: found section-9",
        "integrations/order/order: found one, two; expected one, other",
        "integrations/reference/settings/training/reference: found two",
        "integrations/gradient/gradient: found early, late; expected groups of its sections: none",
        "integrations/stack/stack/reference: found three; expected one, other",
        "integrations/misplaced/settings: found stack; expected stack beside settings",
    ):
        assert told in words
