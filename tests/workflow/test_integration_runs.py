"""An integration of files alone: from a config to domains, measures, a figure and the report."""

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
    for name, given_um in (("one", xy_um), ("other", xy_um @ MIRRORED.T + [3000.0, -500.0])):
        units = ad.AnnData(rng.poisson(np.where(marked, 5, 1)).astype(np.float32))
        units.var_names = [f"GENE{i}" for i in range(N_GENES)]
        units.obsm["spatial"], units.obsm["true"] = given_um, xy_um
        units.obs["region"] = np.array(["cortex", "medulla", "papilla", "pelvis"])[region]
        units.write_h5ad(place.folder / f"{name}.h5ad")
    return place


def files(*names):
    return {name: {"path": f"{name}.h5ad", "unit": "cell"} for name in names}


@pytest.fixture(scope="module")
def results(workplace):
    settings = {"training": {"n_steps": 40, "n_factors": 4}, "domains": {"n_domains": 4}}
    entry = {"files": files("one", "other"), "label": "region", "settings": settings}
    entry["stack"] = {"spacing_um": 12}
    config = workplace.write_config("pair", run="pair", integrations={"pair": entry})
    workplace.run("--configfile", config)
    return workplace.folder / "results/pair"


def test_files_are_integrated_without_a_sheet(results):
    units = ad.read_h5ad(results / "integrated/pair/units.h5ad")
    assert list(units.obs["section"].value_counts()) == [EDGE**2, EDGE**2]
    assert units.obs_names[0] == "one/0"
    assert units.obsm["factors"].shape == (2 * EDGE**2, 4)
    assert not (results / "integrated/pair/training.safetensors").exists()
    measured = pd.read_csv(results / "integrated/pair/domains.tsv", sep="\t").set_index("section")
    assert measured.loc["all", "ari"] > 0.8
    mixing = pd.read_csv(results / "integrated/pair/mixing.tsv", sep="\t").set_index("space")
    assert 1 <= mixing.loc["latent", "ilisi"] <= 2
    loadings = pd.read_csv(results / "integrated/pair/loadings.tsv", sep="\t", index_col="gene")
    assert np.allclose(loadings.filter(like="factor_").sum(), 1, atol=1e-3)
    drawn = pd.read_csv(results / "figures/integrated/pair/domains.tsv", sep="\t")
    assert len(drawn) == 2 * EDGE**2
    assert (results / "report.html").is_file()


def test_adjacent_sections_are_stacked(workplace, results):
    stack = ad.read_h5ad(results / "integrated/pair/stack.h5ad")
    assert stack.obs["is_placed"].all()
    true_um = np.vstack(
        [ad.read_h5ad(workplace.folder / f"{name}.h5ad").obsm["true"] for name in ("one", "other")]
    )
    error_um = np.linalg.norm(stack.obsm["spatial_3d"][:, :2] - true_um, axis=1)
    is_other = (stack.obs["section"] == "other").to_numpy()
    assert error_um[~is_other].max() < 1e-6
    assert np.median(error_um[is_other]) < 20
    assert (stack.obsm["spatial_3d"][:, 2] == np.where(is_other, 12, 0)).all()
    assert {"spatial", "latent", "factors"} <= set(stack.obsm)
    table = pd.read_csv(results / "integrated/pair/alignments.tsv", sep="\t").set_index("section")
    assert table.loc["other", "is_reflected"] and table["is_trusted"].all()
    assert table.loc["other", "aligned_to"] == "one"
    assert table.loc["other", "domains_after"] > table.loc["other", "domains_by_chance"] + 0.3
    drawn = pd.read_csv(results / "figures/stacked/pair.tsv", sep="\t")
    assert len(drawn) == 2 * EDGE**2
    assert (results / "figures/stacked/pair.png").is_file()


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
        "stack": {"files": files("one", "other"), "stack": {"reference": "three"}},
        "misplaced": {"files": files("one", "other"), "settings": {"stack": {"warp": False}}},
    }
    config = workplace.write_config("wrong", run="wrong", integrations=wrong)
    words = workplace.fail("-n", "--configfile", config)
    for told in (
        "integrations/alone: found 1 section (one); expected two or more",
        "integrations/absent/files/third: found no file at third.h5ad",
        "integrations/unknown/measured: found section-9",
        "integrations/order/order: found one, two; expected one, other",
        "integrations/reference/settings/training/reference: found two",
        "integrations/stack/stack/reference: found three; expected one, other",
        "integrations/misplaced/settings: found stack; expected stack beside settings",
    ):
        assert told in words
