"""Clusters and names from counts to files, on planted types and on awkward sections."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from simulated_units import BROAD, simulated_units
from sklearn import metrics

import annotate_cells
import compare_annotation
from histoscribe.annotation.cells import (
    ClusterSettings,
    cluster_units,
    describe_measured,
    describe_predicted,
)
from histoscribe.annotation.naming import NAMED_COLUMNS, NamingSettings
from histoscribe.errors import UserError
from histoscribe.expression import log_normalise, log_normalised
from histoscribe.provenance import RECORD_KEY, recall, record

MEASURED = ClusterSettings(leiden_resolution=1.8)
PREDICTED = ClusterSettings()
TARGET = "median"


def annotate(folder, expression, is_measured, tables, clustering=None, name="measured", **more):
    expression.write_h5ad(folder / f"{name}.in.h5ad")
    outputs = {
        "units": folder / f"{name}.h5ad",
        "clusters": folder / f"{name}.clusters.tsv",
        "markers": folder / f"{name}.markers.tsv",
    }
    settings = {
        "organs": [],
        "broad_classes": {},
        "blocks": None,
        "naming": NamingSettings(),
        "target_sum": TARGET,
        "seed": 0,
    }
    annotate_cells.main(
        expression=folder / f"{name}.in.h5ad",
        is_measured=is_measured,
        tables=tables,
        clustering=clustering or (MEASURED if is_measured else PREDICTED),
        outputs=outputs,
        **{**settings, **more},
    )
    return outputs


def blurred(units):
    """What a good prediction is like: log values, each the mean over its type and some noise."""
    values = log_normalise(units.X, units.obs["umi"].to_numpy(), TARGET)
    means = pd.DataFrame(values).groupby(units.obs["true_type"].to_numpy()).transform("mean")
    noisy = means.to_numpy() + np.random.default_rng(0).normal(0, 0.03, values.shape)
    predicted = ad.AnnData(
        noisy.clip(0).astype(np.float32), obs=units.obs[[]], var=units.var[[]],
        obsm={"spatial": units.obsm["spatial"]},
    )  # fmt: skip
    predicted.uns[RECORD_KEY] = record(unit_size_um=6.0, um_per_px=0.5)
    return predicted


@pytest.fixture(scope="module")
def marker_file(repository) -> Path:
    return repository / "resources" / "markers.tsv"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory, marker_file):
    """A section of 1,500 nuclei, annotated as measured and as predicted."""
    folder = tmp_path_factory.mktemp("annotated")
    units = simulated_units(seed=1, donor_seed=1)
    return {
        "units": units,
        "measured": annotate(folder, units, True, [marker_file]),
        "predicted": annotate(folder, blurred(units), False, [marker_file], name="predicted"),
        "folder": folder,
    }


@pytest.mark.parametrize("side", ["measured", "predicted"])
def test_planted_classes_are_named(simulated, side):
    units, found = simulated["units"], ad.read_h5ad(simulated[side]["units"])
    assert list(found.obs_names) == list(units.obs_names)
    named = found.obs["broad_class"].notna().to_numpy()
    assert named.mean() > 0.95
    hit = found.obs["broad_class"].astype(str) == units.obs["true_class"]
    assert hit.mean() >= 0.8  # units without a type count as wrong
    score = metrics.adjusted_rand_score(units.obs["true_type"], found.obs["cluster"].astype(str))
    assert score > 0.4


def test_what_is_written(simulated):
    found = ad.read_h5ad(simulated["measured"]["units"])
    assert found.n_vars == 0 and list(found.obs) == [
        "cluster", "type", "broad_class", "type_score", "is_ambiguous",
    ]  # fmt: skip
    assert found.obsm["X_umap"].shape == (found.n_obs, 2)
    assert found.obsm["X_pca"].dtype == np.float32 and found.obsm["X_pca"].shape[1] == 50
    assert (found.obsm["spatial"] == simulated["units"].obsm["spatial"]).all()
    facts = recall(found.uns)
    assert facts["unit_size_um"] == 6.0 and facts["clustering"]["leiden_resolution"] == 1.8
    clusters = pd.read_csv(simulated["measured"]["clusters"], sep="\t")
    assert list(clusters) == NAMED_COLUMNS and clusters["n_units"].sum() == found.n_obs
    assert clusters["n_units"].is_monotonic_decreasing
    counts = found.obs["cluster"].astype(float).value_counts()
    kept = clusters[~clusters["is_dropped"]].set_index("cluster")
    assert kept["n_units"].to_dict() == counts.to_dict()
    least = MEASURED.min_cluster_share * found.n_obs
    assert (clusters["is_dropped"] == (clusters["n_units"] < least)).all()
    markers = pd.read_csv(simulated["measured"]["markers"], sep="\t")
    assert set(markers["cluster"]) == set(kept.index)
    assert len(markers) == len(kept) * simulated["units"].n_vars


def test_equal_input_gives_equal_names(simulated, marker_file, tmp_path):
    again = annotate(tmp_path, simulated["units"], True, [marker_file])
    one, other = (ad.read_h5ad(x["units"]) for x in (again, simulated["measured"]))
    pd.testing.assert_frame_equal(one.obs, other.obs)
    assert (one.obsm["X_umap"] == other.obsm["X_umap"]).all()


def test_agreement_is_as_computed_apart(simulated, tmp_path):
    units = simulated["units"]
    labels = tmp_path / "labels.tsv"
    truth = (
        units.obs["true_type"].astype(object).where(np.arange(units.n_obs) % 7 > 0, "undetermined")
    )
    pd.DataFrame({"unit": units.obs_names, "label": truth}).to_csv(labels, sep="\t", index=False)
    names = ["agreement", "confusion", "proportions", "neighbourhoods"]
    outputs = {name: tmp_path / f"{name}.tsv" for name in names}
    merged = {name.upper(): broad for name, broad in BROAD.items()}
    compare_annotation.main(
        simulated["measured"]["units"], simulated["predicted"]["units"], labels, merged, 0, outputs
    )
    tables = {name: pd.read_csv(path, sep="\t") for name, path in outputs.items()}
    sides = [ad.read_h5ad(simulated[s]["units"]).obs for s in ("measured", "predicted")]
    expected = {
        ("measured", "broad_class"): sides[0]["broad_class"],
        ("measured", "type"): sides[0]["type"],
        ("measured", "cluster"): sides[0]["cluster"],
        ("labels", "broad_class"): units.obs["true_class"].where(truth != "undetermined"),
    }
    rows = tables["agreement"].set_index(["reference", "level"])
    assert len(rows) == 6
    for (name, level), reference in expected.items():
        guess = sides[1][level].astype(object)
        both = reference.notna() & guess.notna() & (reference.astype(object) != "unknown")
        a, b = reference[both].astype(str), guess[both].astype(str)
        row = rows.loc[(name, level)]
        assert row["n_units"] == both.sum()
        assert row["ari"] == pytest.approx(metrics.adjusted_rand_score(a, b), rel=1e-4)
        if level == "cluster":
            assert np.isnan(row["accuracy"])
            continue
        assert row["accuracy"] == pytest.approx(metrics.accuracy_score(a, b), rel=1e-4)
        assert row["kappa"] == pytest.approx(metrics.cohen_kappa_score(a, b), rel=1e-4)
        part = tables["confusion"].query("against == @name and level == @level")
        table = part.pivot(index="reference", columns="predicted", values="n_units")
        known = table.drop(index="unknown", errors="ignore")
        cross = pd.crosstab(a.to_numpy(), b.to_numpy())
        shared = cross.reindex(index=known.index, columns=known.columns)
        assert (known.to_numpy() == shared.to_numpy()).all()
        shares = tables["proportions"].query("level == @level").set_index("label")[name]
        theirs = reference.dropna().astype(str).value_counts(normalize=True)
        assert shares[theirs.index].to_numpy() == pytest.approx(theirs.to_numpy(), rel=1e-4)
    assert rows.loc[("labels", "broad_class"), "accuracy"] >= 0.8
    pcs = ad.read_h5ad(simulated["predicted"]["units"]).obsm["X_pca"]
    kept = sides[1]["type"].notna().to_numpy()
    silhouette = metrics.silhouette_score(pcs[kept], sides[1]["type"][kept].astype(str))
    found = rows.loc[("measured", "type"), "silhouette_predicted"]
    assert found == pytest.approx(silhouette, rel=1e-3)
    assert set(tables["neighbourhoods"]["side"]) == {"measured", "predicted"}


def test_expression_is_that_of_log_normalise(simulated):
    units = simulated["units"]
    for total in ("median", 1e4):
        found = log_normalised(units, total).X
        dense = log_normalise(units.X, units.obs["umi"].to_numpy(), total)
        assert np.allclose(found.toarray(), dense, rtol=1e-5, atol=0)


def grid_of(counts, step=8.0):
    side = int(len(counts) ** 0.5)
    row, column = np.divmod(np.arange(len(counts)), side)
    units = ad.AnnData(
        sparse.csr_matrix(counts.astype(np.int32)),
        obs=pd.DataFrame({"umi": counts.sum(axis=1)}, index=[f"u{i}" for i in range(len(counts))]),
        var=pd.DataFrame(index=[f"GENE{i}" for i in range(counts.shape[1])]),
        obsm={"spatial": np.column_stack([column, row]) * step},
    )
    units.uns[RECORD_KEY] = record(unit_size_um=step, um_per_px=0.5)
    return units


def test_pooled_components_are_those_of_sums_of_neighbours():
    counts = np.random.default_rng(0).poisson(0.5, (144, 10))
    counts[:72, :3] += 2
    units = grid_of(counts)
    settings = ClusterSettings(pool_um=9.0, n_pcs=4)
    xy = units.obsm["spatial"]
    near = np.linalg.norm(xy[:, None] - xy[None], axis=2) <= 9
    summed, umi = near @ counts, near @ counts.sum(axis=1)
    values = np.log1p(summed / umi[:, None] * np.median(umi))
    centred = values - values.mean(axis=0)
    plain = np.linalg.svd(centred, full_matrices=False)
    expected = np.abs(plain.U[:, :4] * plain.S[:4])
    found = np.abs(describe_measured(units, settings, TARGET))
    assert found == pytest.approx(expected, abs=1e-3)


def test_predictions_are_described_by_their_most_variable_genes():
    rng = np.random.default_rng(0)
    values = rng.normal(1, 1, (60, 6)) * [3, 2, 1, 1e-6, 1e-6, 1e-6]
    found = describe_predicted(values, ClusterSettings(n_hvg=2, n_pcs=50))
    assert found.shape == (60, 2)
    centred = values[:, :2] - values[:, :2].mean(axis=0)
    assert (found**2).sum() == pytest.approx((centred**2).sum(), rel=1e-4)


def test_too_few_units_and_no_gene(marker_file, tmp_path):
    with pytest.raises(UserError, match="49 units"):
        cluster_units(np.zeros((49, 3)), PREDICTED, 0)
    units = grid_of(np.eye(64, dtype=int)[:, :60])
    with pytest.raises(UserError, match=r"min_share"):
        describe_measured(units, ClusterSettings(min_share=0.1), TARGET)


ALIKE = pd.DataFrame({"type": ["a", "b"], "markers": ["GENE0,GENE1", "GENE2,GENE3"]})


@pytest.mark.parametrize("is_measured", [True, False])
@pytest.mark.parametrize("kind", ["noise", "constant"])
def test_one_cluster_only_is_unknown_and_nothing_breaks(tmp_path, is_measured, kind):
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (400, 6)) if kind == "noise" else np.full((400, 6), 3)
    units = grid_of(counts)
    if not is_measured:
        units = ad.AnnData(
            units.X.toarray().astype(np.float32), obs=units.obs[[]], var=units.var[[]],
            obsm=units.obsm, uns=units.uns,
        )  # fmt: skip
    table = tmp_path / "own.tsv"
    ALIKE.to_csv(table, sep="\t", index=False)
    settings = ClusterSettings(leiden_resolution=1e-6, min_units=1)
    outputs = annotate(tmp_path, units, is_measured, [table], settings)
    clusters = pd.read_csv(outputs["clusters"], sep="\t")
    assert len(clusters) == 1 or kind == "constant"
    assert (clusters["type"] == "unknown").all()
    assert not clusters["is_ambiguous"].any()
    found = ad.read_h5ad(outputs["units"])
    assert (found.obs["type"] == "unknown").all() and found.obs["type_score"].isna().all()
    assert np.isfinite(found.obsm["X_umap"]).all()
    markers = pd.read_csv(outputs["markers"], sep="\t")
    assert markers.empty or kind == "constant"
    names = ["agreement", "confusion", "proportions", "neighbourhoods"]
    tables = {name: tmp_path / f"{name}.tsv" for name in names}
    compare_annotation.main(outputs["units"], outputs["units"], None, {}, 0, tables)
    read = {name: pd.read_csv(path, sep="\t") for name, path in tables.items()}
    by_level = read["agreement"].set_index("level")
    assert by_level.loc["type", "n_units"] == 0 and read["neighbourhoods"].empty


def test_all_clusters_too_small(simulated, marker_file, tmp_path):
    settings = ClusterSettings(leiden_resolution=1.8, min_cluster_share=1.0, min_units=10**6)
    outputs = annotate(tmp_path, simulated["units"], True, [marker_file], settings)
    found = ad.read_h5ad(outputs["units"])
    assert found.obs[["cluster", "type", "broad_class"]].isna().all(axis=None)
    assert pd.read_csv(outputs["clusters"], sep="\t")["is_dropped"].all()
    tables = {n: tmp_path / n for n in ("agreement", "confusion", "proportions", "neighbourhoods")}
    compare_annotation.main(outputs["units"], outputs["units"], None, {}, 0, tables)


def test_markers_of_another_species(simulated, tmp_path, marker_file):
    text = marker_file.read_text().replace("human mouse", "mouse")
    (tmp_path / "mouse.tsv").write_text(text)
    with pytest.raises(UserError, match="mouse genes alone against human data"):
        annotate(tmp_path, simulated["units"], True, [tmp_path / "mouse.tsv"])
