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
    for name in ("one", "other"):
        x, y = np.meshgrid(np.arange(EDGE), np.arange(EDGE))
        rate = np.where(np.arange(N_GENES) < N_GENES / 2, x.ravel()[:, None] < EDGE / 2, 1) * 4 + 1
        units = ad.AnnData(rng.poisson(rate).astype(np.float32))
        units.var_names = [f"GENE{i}" for i in range(N_GENES)]
        units.obsm["spatial"] = 10.0 * np.column_stack([x.ravel(), y.ravel()])
        units.obs["side"] = np.where(x.ravel() < EDGE / 2, "left", "right")
        units.write_h5ad(place.folder / f"{name}.h5ad")
    return place


def files(*names):
    return {name: {"path": f"{name}.h5ad", "unit": "cell"} for name in names}


def test_files_are_integrated_without_a_sheet(workplace):
    settings = {
        "training": {"n_steps": 40, "n_networks": 1, "n_factors": 4},
        "domains": {"n_domains": 2},
    }
    entry = {"files": files("one", "other"), "label": "side", "settings": settings}
    config = workplace.write_config("pair", run="pair", integrations={"pair": entry})
    workplace.run("--configfile", config)
    results = workplace.folder / "results/pair"
    units = ad.read_h5ad(results / "integrated/pair/units.h5ad")
    assert list(units.obs["section"].value_counts()) == [EDGE**2, EDGE**2]
    assert units.obs_names[0] == "one/0"
    assert units.obsm["factors"].shape == (2 * EDGE**2, 4)
    assert not (results / "integrated/pair/network_1.safetensors").exists()
    measured = pd.read_csv(results / "integrated/pair/domains.tsv", sep="\t").set_index("section")
    assert measured.loc["all", "ari"] > 0.8
    mixing = pd.read_csv(results / "integrated/pair/mixing.tsv", sep="\t").set_index("space")
    assert 1 <= mixing.loc["latent", "ilisi"] <= 2
    loadings = pd.read_csv(results / "integrated/pair/loadings.tsv", sep="\t", index_col="gene")
    assert np.allclose(loadings.filter(like="factor_").sum(), 1, atol=1e-3)
    drawn = pd.read_csv(results / "figures/integrated/pair/domains.tsv", sep="\t")
    assert len(drawn) == 2 * EDGE**2
    assert (results / "report.html").is_file()


def test_an_integration_that_cannot_be_is_refused_before_any_job(workplace):
    wrong = {
        "alone": {"files": files("one")},
        "absent": {"files": files("one", "third")},
        "unknown": {"measured": ["section-9"], "files": files("one", "other")},
        "order": {"files": files("one", "other"), "order": ["one", "two"]},
        "reference": {
            "files": files("one", "other"),
            "settings": {"training": {"pairs": "reference", "reference": "two"}},
        },
    }
    config = workplace.write_config("wrong", run="wrong", integrations=wrong)
    words = workplace.fail("-n", "--configfile", config)
    for told in (
        "integrations/alone: found 1 section (one); expected two or more",
        "integrations/absent/files/third: found no file at third.h5ad",
        "integrations/unknown/measured: found section-9",
        "integrations/order/order: found one, two; expected one, other",
        "integrations/reference/settings/training/reference: found two",
    ):
        assert told in words
