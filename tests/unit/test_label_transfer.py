"""Types carried over from a reference .h5ad: planted ones, and files that are no reference."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from simulated_units import BROAD, simulated_units

import annotate_cells
from histoscribe.annotation import cells
from histoscribe.annotation.cells import ClusterSettings
from histoscribe.annotation.naming import NamingSettings
from histoscribe.annotation.transfer import (
    REFERENCE_COLUMNS,
    read_reference,
    transfer_to_clusters,
    transfer_to_units,
    value_kind,
)
from histoscribe.errors import UserError
from histoscribe.expression import log_normalised


@pytest.fixture(scope="module")
def units():
    return simulated_units(seed=1, donor_seed=1)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Another section of another donor: its counts, with their types."""
    other = simulated_units(seed=5, donor_seed=5)
    other.obs["cell_type"] = pd.Categorical(other.obs["true_type"])
    other.obsm.clear()
    path = tmp_path_factory.mktemp("reference") / "reference.h5ad"
    other.write_h5ad(path)
    return path


def clusters_of(units):
    """Planted types as clusters, the last one dropped."""
    codes, names = pd.factorize(units.obs["true_type"])
    return np.where(codes == len(names) - 1, -1, codes), names


def accuracy(found, units):
    return (found.astype(object).map(BROAD) == units.obs["true_class"]).mean()


def transferred(path, units):
    expression = log_normalised(units, "median")
    known = read_reference(path, "cell_type", expression, 0)
    cluster, names = clusters_of(units)
    return (
        transfer_to_clusters(known, expression, cluster),
        transfer_to_units(known, expression, cluster),
        names,
    )


def test_types_of_another_donor_are_carried_over(units, reference):
    by_cluster, by_unit, names = transferred(reference, units)
    assert list(by_cluster) == REFERENCE_COLUMNS
    assert list(by_cluster["reference_type"]) == list(names[:-1])
    assert (by_cluster["reference_score"] > by_cluster["reference_runner_up_score"]).all()
    assert accuracy(by_unit["reference_type"], units) >= 0.8
    assert by_unit["reference_score"].between(-1, 1).all()


def test_a_quarter_of_the_molecules_still_tells_classes(units, reference):
    poor = units.copy()
    rng = np.random.default_rng(0)
    poor.X = sparse.csr_matrix(rng.binomial(poor.X.toarray().astype(int), 0.25))
    poor.obs["umi"] = np.asarray(poor.X.sum(axis=1)).ravel()
    by_cluster, by_unit, names = transferred(reference, poor)
    assert list(by_cluster["reference_type"]) == list(names[:-1])
    assert accuracy(by_unit["reference_type"], poor) >= 0.8


@pytest.mark.parametrize("form", ["log1p", "dense", "layer", "raw", "part"])
def test_values_of_all_forms_say_the_same(units, reference, form, tmp_path):
    given = ad.read_h5ad(reference)
    if form == "dense":
        given.X = given.X.toarray()
    if form == "log1p":
        given.X = log_normalised(given, 1e4).X
    if form in ("layer", "raw"):
        if form == "layer":
            given.layers["counts"] = given.X.copy()
        else:
            given.raw = given.copy()
        given.X = given.X.toarray() - 0.3  # as if it were scaled
    if form == "part":  # the other genes are new to the data
        given.var_names = [f"{g}x" if i % 4 == 0 else g for i, g in enumerate(given.var_names)]
    given.write_h5ad(tmp_path / "r.h5ad")
    _, plain, _ = transferred(reference, units)
    _, found, _ = transferred(tmp_path / "r.h5ad", units)
    least = 0.85 if form == "part" else 0.999
    assert (found["reference_type"] == plain["reference_type"]).mean() > least


def test_kinds_of_values():
    assert value_kind(np.array([1.0, 5.0])) == "counts"
    assert value_kind(np.array([0.5, 8.1])) == "log1p"
    for neither in ([0.5, 700.2], [-1.0, 2.0], [np.nan, 1.0], []):
        assert value_kind(np.array(neither)) == ""


def test_scores_are_correlations_by_hand(units, reference):
    expression = log_normalised(units, "median")
    known = read_reference(reference, "cell_type", expression, 0)
    cluster, _ = clusters_of(units)
    found = transfer_to_clusters(known, expression, cluster)
    values = pd.DataFrame(expression[:, known.genes].X.toarray())
    mean = values[cluster >= 0].groupby(cluster[cluster >= 0]).mean().to_numpy()
    theirs = known.means[known.genes].to_numpy()
    # All types but the dropped one are present, so both centres are means over these.
    present = known.means.index.isin(found["reference_type"])
    assert present.sum() == len(found)
    one, other = mean - mean.mean(axis=0), theirs - theirs[present].mean(axis=0)
    spread = theirs.std(axis=0)
    spread = spread + 0.05 * spread.max()
    one, other = one / spread, other / spread
    scores = one @ other.T
    scores /= np.linalg.norm(one, axis=1)[:, None] * np.linalg.norm(other, axis=1)[None]
    assert found["reference_score"].to_numpy(float) == pytest.approx(scores.max(axis=1), abs=1e-4)
    second = np.sort(scores, axis=1)[:, -2]
    assert found["reference_runner_up_score"].to_numpy(float) == pytest.approx(second, abs=1e-4)
    expected = second >= 0.9 * scores.max(axis=1)
    assert list(found["reference_is_ambiguous"]) == list(expected)


def test_what_a_section_lacks_or_has_much_of_does_not_bend_names(units, reference):
    """Half of its types are absent, and one is cut into ten clusters."""
    part = units[units.obs["true_class"].isin(["immune", "tumour", "stroma"])].copy()
    expression = log_normalised(part, "median")
    known = read_reference(reference, "cell_type", expression, 0)
    codes, names = pd.factorize(part.obs["true_type"])
    tumour = codes == list(names).index("tumour")
    cluster = np.where(tumour, 100 + np.arange(len(codes)) % 10, codes)
    found = transfer_to_clusters(known, expression, cluster)
    expected = [names[c] if c < 100 else "tumour" for c in found.index]
    assert list(found["reference_type"]) == expected


def test_one_cluster_has_no_name_and_empty_units_have_none(units, reference):
    part = units[:60].copy()
    part.X = part.X.copy()
    part.X.data[part.X.indptr[3] : part.X.indptr[4]] = 0
    expression = log_normalised(part, "median")
    known = read_reference(reference, "cell_type", expression, 0)
    one = np.zeros(60, dtype=int)
    assert transfer_to_clusters(known, expression, one)["reference_type"].isna().all()
    found = transfer_to_units(known, expression, one)
    assert found.iloc[3].isna().all() and found["reference_type"].notna().sum() == 59


def changed(reference, folder, change):
    given = ad.read_h5ad(reference)
    given = change(given) or given
    given.write_h5ad(folder / "changed.h5ad")
    return folder / "changed.h5ad"


def refused(path, units, label="cell_type"):
    with pytest.raises(UserError) as caught:
        read_reference(path, label, log_normalised(units, "median"), 0)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_reference_of_another_species(units, reference, tmp_path):
    def mouse(given):
        given.var_names = [gene.capitalize() for gene in given.var_names]

    words = refused(changed(reference, tmp_path, mouse), units)
    assert "species mouse, such as " in words and "species human, such as " in words
    assert units.var_names[0] in words


def test_a_reference_with_ids(units, reference, tmp_path):
    def ids(given):
        given.var_names = [f"ENSG{i:011d}" for i in range(given.n_vars)]

    assert "0 of its 600 genes (species unclear, such as ENSG" in refused(
        changed(reference, tmp_path, ids), units
    )


def test_a_reference_without_the_column(units, reference):
    words = refused(reference, units, "subclass")
    assert "no column subclass in obs, which has umi, true_type, true_class, cell_type" in words


def test_references_of_one_type_and_of_scaled_values(units, reference, tmp_path):
    def same(given):
        given.obs["cell_type"] = "all"

    def scaled(given):
        given.X = given.X.toarray() - 1.5

    assert "1 types of 10 units or more" in refused(changed(reference, tmp_path, same), units)
    words = refused(changed(reference, tmp_path, scaled), units)
    assert "values from -1.5" in words and "counts" in words


def test_files_that_are_no_reference(units, tmp_path):
    path = tmp_path / "r.h5ad"
    refused(path, units)
    path.write_text("no HDF5")
    refused(path, units)


def test_names_by_markers_stay(units, reference, repository, tmp_path, monkeypatch):
    # A layout takes half a minute to compile, and nothing here looks at it.
    monkeypatch.setattr(cells, "umap_layout", lambda pcs, *_: pcs[:, :2])
    units.write_h5ad(tmp_path / "units.h5ad")
    written = {}
    for name, given in (("with", reference), ("without", None)):
        outputs = {k: tmp_path / f"{name}.{k}" for k in ("units", "clusters", "markers")}
        annotate_cells.main(
            tmp_path / "units.h5ad", True, [repository / "resources" / "markers.tsv"], [], {}, None,
            ClusterSettings(leiden_resolution=1.8), NamingSettings(), "median", 0, outputs,
            reference=given,
        )  # fmt: skip
        obs = ad.read_h5ad(outputs["units"]).obs
        written[name] = obs, pd.read_csv(outputs["clusters"], sep="\t")
    (obs, clusters), (plain_obs, plain) = written["with"], written["without"]
    pd.testing.assert_frame_equal(obs[plain_obs.columns], plain_obs)
    pd.testing.assert_frame_equal(clusters[plain.columns], plain)
    assert set(clusters) - set(plain) == set(REFERENCE_COLUMNS)
    assert list(obs)[-2:] == ["reference_type", "reference_score"]
    assert accuracy(obs["reference_type"], units) >= 0.8
    by_cluster = clusters.set_index("cluster")["reference_type"]
    smoothed = obs["cluster"].astype(object).map(int, na_action="ignore").map(by_cluster)
    assert accuracy(smoothed, units) >= 0.8
