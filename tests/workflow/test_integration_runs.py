"""An integration of files alone: from a config to domains, measures, a figure and the report."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

EDGE, N_GENES = 12, 30


@pytest.fixture(scope="module")
def workplace(new_workplace):
    place = new_workplace("integration")
    rng = np.random.default_rng(0)
    for name in ("one", "other", "third"):
        x, y = np.meshgrid(np.arange(EDGE), np.arange(EDGE))
        rate = np.where(np.arange(N_GENES) < N_GENES / 2, x.ravel()[:, None] < EDGE / 2, 1) * 4 + 1
        units = ad.AnnData(rng.poisson(rate).astype(np.float32))
        units.var_names = [f"GENE{i}" for i in range(N_GENES)]
        units.obsm["spatial"] = 10.0 * np.column_stack([x.ravel(), y.ravel()])
        units.obs["side"] = np.where(x.ravel() < EDGE / 2, "left", "right")
        units.write_h5ad(place.folder / f"{name}.h5ad")
    left, right = ([f"GENE{i}" for i in its] for its in (range(12), range(16, N_GENES)))
    lines = ["\t".join([name, "", *its]) for name, its in (("LEFT", left), ("RIGHT", right))]
    (place.folder / "sets.gmt").write_text("\n".join(lines))
    return place


def files(*names):
    return {name: {"path": f"{name}.h5ad", "unit": "cell"} for name in names}


def test_files_are_integrated_without_a_sheet(workplace):
    training = {"n_steps": 40, "n_networks": 1, "n_factors": 4}
    settings = {"training": training, "domains": {"n_domains": 2}}
    settings["borrowing"] = {"n_hidden": 5}
    listed = files("one", "other", "third")
    for name, group in (("one", "early"), ("other", "late"), ("third", "late")):
        listed[name]["group"] = group
    entry = {"files": listed, "label": "side", "settings": settings, "gradient": ["early", "late"]}
    entry["infer_genes"] = {"into": ["third"]}
    config = workplace.write_config(
        "pair", run="pair", integrations={"pair": entry}, enrichment={"sets": ["sets.gmt"]}
    )
    workplace.run("--configfile", config)
    results = workplace.folder / "results/pair"
    units = ad.read_h5ad(results / "integrated/pair/units.h5ad")
    assert list(units.obs["section"].value_counts()) == [EDGE**2] * 3
    assert units.obs_names[0] == "one/0"
    assert units.obsm["factors"].shape == (3 * EDGE**2, 4)
    assert not (results / "integrated/pair/network_1.safetensors").exists()
    measured = pd.read_csv(results / "integrated/pair/domains.tsv", sep="\t").set_index("section")
    assert measured.loc["all", "ari"] > 0.8
    mixing = pd.read_csv(results / "integrated/pair/mixing.tsv", sep="\t").set_index("space")
    assert 1 <= mixing.loc["latent", "ilisi"] <= 2
    loadings = pd.read_csv(results / "integrated/pair/loadings.tsv", sep="\t", index_col="gene")
    assert np.allclose(loadings.filter(like="factor_").sum(), 1, atol=1e-3)
    drawn = pd.read_csv(results / "figures/integrated/pair/domains.tsv", sep="\t")
    assert len(drawn) == 3 * EDGE**2
    assert (results / "report.html").is_file()
    factors_are_told(results)
    the_gradient_is_followed(results)


def factors_are_told(results):
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


def the_gradient_is_followed(results):
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
    ):
        assert told in words
