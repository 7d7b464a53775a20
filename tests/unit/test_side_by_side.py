"""What figures read of a section, against the same numbers computed from the whole matrices."""

import gzip
import json

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import plot_overlay
from histoscribe.errors import UserError
from histoscribe.expression import targets
from histoscribe.gene_names import (
    bundle_gene_names,
    close_matches,
    overlay_problems,
    stored_gene_names,
)
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.side_by_side import open_side_by_side, unit_sums
from histoscribe.storage import write_h5ad

GENES = [f"G{i}" for i in range(12)]
FACTS = {"unit": "bin", "unit_shape": "square", "unit_size_um": 8.0}


@pytest.fixture
def files(tmp_path):
    """Units with 12 genes, of which ten are predicted, and one more that was not measured."""
    rng = np.random.default_rng(1)
    n = 400
    xy = np.column_stack([rng.uniform(0, 1000, n), rng.uniform(0, 1000, n)])
    counts = rng.poisson(rng.gamma(2, 1.0, (n, 1)) * rng.random(12), (n, 12))
    units = ad.AnnData(
        sparse.csr_matrix(counts.astype(np.int32)),
        obs=pd.DataFrame({"umi": counts.sum(axis=1) + 3}, index=[f"u{i}" for i in range(n)]),
        var=pd.DataFrame(index=GENES),
    )
    units.obsm["spatial"] = xy
    units.uns[RECORD_KEY] = record(**FACTS)
    predicted = ad.AnnData(
        rng.random((n, 11)).astype(np.float32),
        obs=pd.DataFrame(index=units.obs_names),
        var=pd.DataFrame(index=["UNMEASURED", *GENES[9::-1]]),
    )
    predicted.layers["probability"] = rng.random((n, 11)).astype(np.float32)
    predicted.obsm["spatial"] = xy
    predicted.uns[RECORD_KEY] = record(target_sum="median", **FACTS)
    paths = tmp_path / "units.h5ad", tmp_path / "predicted.h5ad"
    for adata, path in zip((units, predicted), paths, strict=True):
        write_h5ad(adata, path)
    return units, predicted, paths


def test_genes_are_read_in_the_order_asked_for(files):
    units, predicted, paths = files
    with open_side_by_side(*paths, None) as section:
        assert section.shared_genes == GENES[9::-1]
        wanted = ["G7", "G2", "G5"]
        np.testing.assert_array_equal(section.predicted(wanted), predicted[:, wanted].X)
        np.testing.assert_allclose(section.measured(wanted), targets(units, wanted, "median"))


def test_blocks_leave_the_tested_units_alone(files):
    units, predicted, paths = files
    blocks = {"block_um": 250, "n_folds": 4, "held_out": 1, "buffer_um": 20, "seed": 0}
    with open_side_by_side(*paths, blocks) as section:
        assert 0 < section.units.n_obs < 400
        wanted = predicted[section.units.obs_names, ["G3"]].X
        np.testing.assert_array_equal(section.predicted(["G3"]), wanted)
        assert len(unit_sums(section)) == section.units.n_obs
        # Scaled to the median of the section, not of the tested part.
        is_drawn = units.obs_names.isin(section.units.obs_names)
        own = targets(units, ["G3"], "median")[is_drawn]
        np.testing.assert_array_equal(section.measured(["G3"]), own)
        assert section.depth == np.percentile(units.obs["umi"], 25)


def test_a_prediction_of_other_units_is_refused(files, tmp_path):
    _, predicted, paths = files
    write_h5ad(predicted[:-1].copy(), tmp_path / "short.h5ad")
    with (
        pytest.raises(UserError, match=r"399 units other than the 400"),
        open_side_by_side(paths[0], tmp_path / "short.h5ad", None),
    ):
        pass


def test_unit_sums_are_those_of_the_whole_matrices(files):
    units, predicted, paths = files
    with open_side_by_side(*paths, None) as section:
        depth = section.depth
        sums = unit_sums(section)
    shared = GENES[:10]
    counts = np.asarray(units[:, shared].X.todense()).astype(float)
    umi = units.obs["umi"].to_numpy()
    total = np.median(umi)
    measured = np.expm1(targets(units, shared, "median"))
    np.testing.assert_allclose(sums["measured_total"], measured.sum(axis=1), rtol=1e-5)
    ours = predicted[:, shared]
    np.testing.assert_allclose(sums["predicted_total"], np.expm1(ours.X).sum(axis=1), rtol=1e-5)
    probability = np.asarray(ours.layers["probability"])
    assert sums["called_genes"].tolist() == (probability > 0.5).sum(axis=1).tolist()
    assert sums["counted_genes"].tolist() == (counts > 0).sum(axis=1).tolist()
    assert depth == np.percentile(umi, 25)
    deep = umi >= depth
    assert sums["measured_genes"].isna().tolist() == (~deep).tolist()
    # Thinned by dealing out molecules, many times over.
    rng = np.random.default_rng(0)
    share = np.minimum(depth / umi, 1)[:, None]
    thinned = np.mean(
        [(rng.binomial(counts.astype(int), share) > 0).sum(axis=1) for _ in range(2000)], axis=0
    )
    np.testing.assert_allclose(sums["measured_genes"][deep], thinned[deep], atol=0.15)
    # Poisson counts of the probabilities' rates, at that depth.
    rate = -np.log1p(-probability.astype(float)) * depth / total
    np.testing.assert_allclose(sums["predicted_genes"], (1 - np.exp(-rate)).sum(axis=1), rtol=1e-4)


def test_close_names_are_found_whatever_their_case():
    known = ["NPHS1", "NPHS2", "PODXL", "Umod", "AQP2"]
    assert close_matches("nphs1", known)[0] == "NPHS1"
    assert close_matches("UMOD", known) == ["Umod"]
    assert close_matches("xyzzy", known) == []


def test_genes_that_files_name(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["matrix/features/name"] = np.array(["NPHS1", "UMOD"], dtype="S")
    with gzip.open(tmp_path / "c.tsv.gz", "wt") as file:
        file.write("\tERBB2\tKRT8\n10x12\t0\t3\n")
    header = json.dumps({"__metadata__": {"genes": json.dumps(["CD3E"])}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert stored_gene_names({"matrix": tmp_path / "m.h5"}) == {"NPHS1", "UMOD"}
    assert stored_gene_names({"counts": tmp_path / "c.tsv.gz"}) == {"ERBB2", "KRT8"}
    assert bundle_gene_names(tmp_path / "model.safetensors") == {"CD3E"}
    measured = [{"matrix": tmp_path / "m.h5"}, {"counts": tmp_path / "c.tsv.gz"}, {}]
    bundle = tmp_path / "model.safetensors"
    assert overlay_problems(["UMOD", "ERBB2", "CD3E"], measured, bundle) == []
    (said,) = overlay_problems(["UMOD", "Nphs1"], measured, None)
    assert said == (
        "config, figures/overlay_genes: found no gene Nphs1 among 4 that are measured or "
        "predicted; expected the name of one of these. Close to it: NPHS1."
    )


def test_nothing_is_said_of_genes_that_can_not_be_known_yet(tmp_path):
    assert overlay_problems(["ANY"], [{"matrix": tmp_path / "simulated_later.h5"}], None) == []
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 40)
    assert bundle_gene_names(tmp_path / "broken.safetensors") is None
    assert overlay_problems([], [], None) == []


def test_an_overlay_says_which_side_knows_the_gene(files):
    units, predicted, paths = files
    with open_side_by_side(*paths, None) as section:
        both = plot_overlay.overlaid(section, "G3", "s")
        assert list(both.values) == ["predicted", "measured"] and both.notes == []
        np.testing.assert_array_equal(both.values["predicted"], predicted[:, "G3"].X.ravel())
        np.testing.assert_allclose(both.values["measured"], targets(units, ["G3"], "median")[:, 0])
        (note,) = plot_overlay.overlaid(section, "G11", "s").notes
        assert note.startswith("Measured only")
        new = plot_overlay.overlaid(section, "UNMEASURED", "s")
        assert list(new.values) == ["predicted"] and "was not measured" in new.notes[0]
        with pytest.raises(UserError, match=r"no gene g3 among 13 .* Close to it: G3"):
            plot_overlay.overlaid(section, "g3", "s")
