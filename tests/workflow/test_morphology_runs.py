"""Maps of morphology and genes, of files alone: from a config to tables, figure and report."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from histoscribe.simulation.plants import smooth_field
from histoscribe.simulation.settings import stream

EDGE, PITCH_UM, N_GENES = 32, 40.0, 40


@pytest.fixture(scope="module")
def workplace(new_workplace):
    """Cells in patches that genes know of and in others that an image alone shows."""
    place = new_workplace("morphology")
    rng = np.random.default_rng(0)
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(EDGE), np.arange(EDGE)))
    xy_um = PITCH_UM * np.column_stack([x, y])
    expressed, seen = (smooth_field(stream(0, name), xy_um) > 0 for name in ("genes", "image"))
    rate = np.where((np.arange(N_GENES) < 10) & expressed[:, None], 8, 2)
    cells = ad.AnnData(rng.poisson(rate).astype(np.float32))
    cells.var_names = [f"GENE{i}" for i in range(N_GENES)]
    cells.obsm["spatial"] = xy_um
    cells.obs["domain"] = pd.Categorical(np.where(expressed, "a", "b") + np.where(seen, "1", "2"))
    cells.obs["site"] = "one"
    cells.obs["shape_size"] = expressed + 0.5 * rng.normal(size=len(xy_um))
    cells.obs["shape_texture"] = seen + 0.5 * rng.normal(size=len(xy_um))
    cells.obs["shape_noise"] = rng.normal(size=len(xy_um))
    cells.write_h5ad(place.folder / "cells.h5ad")
    return place


def config(workplace, name, **changes):
    entry = {"file": "cells.h5ad", "question": "domain", "features": ["shape_*"], **changes}
    settings = {"n_moves": 60, "block_um": 250, "buffer_um": 40}
    return workplace.write_config(
        name, run=name, morphology_maps={"layers": entry | {"settings": settings}}
    )


def test_a_file_brings_all_that_a_map_needs(workplace):
    workplace.run("--configfile", config(workplace, "layers"))
    results = workplace.folder / "results/layers"
    folder = results / "morphology_maps/layers"
    features = pd.read_csv(folder / "features.tsv", sep="\t").set_index("feature")
    assert features["quadrant"].to_dict() == {
        "shape_size": "translation", "shape_texture": "integration", "shape_noise": "noise",
    }  # fmt: skip
    gains = pd.read_csv(folder / "gains.tsv", sep="\t").set_index(["measure", "from"])
    assert gains.loc[("balanced_accuracy", "genes + integration features"), "gain_low"] > 0.1
    units = pd.read_csv(folder / "units.tsv.gz", sep="\t")
    assert len(units) == EDGE**2
    assert (units["answer"] == units["from genes + integration features"]).mean() > 0.7
    assert {"feature shape_size", "feature shape_texture"} <= set(units)
    assert pd.read_csv(folder / "genes.tsv", sep="\t").empty
    drawn = pd.read_csv(results / "figures/morphology_maps/layers.tsv", sep="\t")
    assert len(drawn) == 3
    assert "The image adds to what" in (results / "report.html").read_text()


def test_what_cannot_be_asked_is_said(workplace):
    said = workplace.fail("--configfile", config(workplace, "absent", question="color"))
    assert "question: found color; expected a column of obs" in said
    said = workplace.fail("--configfile", config(workplace, "one", question="site"))
    assert "two or more answers" in said
    said = workplace.fail("--configfile", config(workplace, "none", features=["nothing"]))
    assert "features: found nothing; expected keys of obsm or columns of obs" in said
