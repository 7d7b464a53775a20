"""Agreement of two labellings against scikit-learn, pandas and squidpy called plainly."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import squidpy as sq
from sklearn import metrics

from histoscribe.annotation.agreement import neighbourhood_enrichment, proportions, silhouette
from histoscribe.annotation.labellings import AGREEMENT_COLUMNS, agreement, confusion
from histoscribe.annotation.levels import shared_units
from histoscribe.neighbourhood import typical_reach


@pytest.fixture(scope="module")
def sides():
    """500 labels, 70 % of them predicted rightly; some of either side missing."""
    rng = np.random.default_rng(0)
    index = [f"u{i}" for i in range(500)]
    measured = rng.choice(["a", "b", "c"], 500, p=[0.6, 0.3, 0.1]).astype(object)
    predicted = np.where(rng.random(500) < 0.7, measured, rng.choice(["a", "b", "d"], 500))
    predicted = predicted.astype(object)
    measured[:20] = np.nan
    predicted[10:40] = None
    return pd.Series(measured, index=index), pd.Series(predicted, index=index)


def test_scores_are_those_of_scikit_learn(sides):
    a, b = (s[40:].astype(str) for s in sides)
    row = agreement(*sides, "measured", "type")
    assert list(row) == AGREEMENT_COLUMNS
    assert (row["n_units"], row["share_compared"]) == (460, 0.92)
    assert (row["n_reference"], row["n_predicted"]) == (3, b.nunique())
    assert row["ari"] == pytest.approx(metrics.adjusted_rand_score(a, b))
    assert row["nmi"] == pytest.approx(metrics.normalized_mutual_info_score(a, b))
    assert row["accuracy"] == pytest.approx(metrics.accuracy_score(a, b))
    assert row["kappa"] == pytest.approx(metrics.cohen_kappa_score(a, b))
    recall = metrics.recall_score(a, b, average="macro", labels=["a", "b", "c"])
    assert row["balanced_accuracy"] == pytest.approx(recall)
    dealt = np.random.default_rng(0)
    chance = np.mean([(a.to_numpy() == dealt.permutation(b)).mean() for _ in range(300)])
    assert row["accuracy_by_chance"] == pytest.approx(chance, abs=0.005)


def test_numbers_of_clusters_have_no_accuracy(sides):
    numbers = {"a": "0", "b": "1", "c": "2", "d": "3"}
    row = agreement(*(s.map(numbers) for s in sides), "measured", "cluster")
    assert np.isnan([row["accuracy"], row["kappa"], row["balanced_accuracy"]]).all()
    assert row["ari"] == pytest.approx(agreement(*sides, "measured", "type")["ari"])


def test_labels_of_other_names_have_no_accuracy(sides):
    row = agreement(sides[0].map({"a": "x", "b": "y", "c": "z"}), sides[1], "labels", "type")
    assert np.isnan(row["accuracy"]) and np.isfinite(row["ari"])


def test_unknown_is_no_truth_and_never_right():
    a = pd.Series(["a", "a", "b", "unknown", "unknown"])
    b = pd.Series(["a", "unknown", "b", "unknown", "a"])
    row = agreement(a, b, "measured", "type")
    assert (row["n_units"], row["share_compared"]) == (3, 0.6)
    assert row["accuracy"] == pytest.approx(2 / 3)
    assert row["balanced_accuracy"] == pytest.approx(0.75)


@pytest.mark.parametrize("missing", [np.nan, "unknown"])
def test_nothing_to_compare(missing):
    none = pd.Series([missing, missing], dtype=object)
    row = agreement(none, pd.Series(["a", "b"]), "labels", "type")
    assert row["n_units"] == 0 and np.isnan(row["ari"])
    nothing = pd.Series([np.nan, np.nan], dtype=object)
    table = confusion(nothing, pd.Series(["a", "b"]))
    assert list(table) == ["reference", "predicted", "n_units", "share"] and table.empty


def test_equal_labels_of_one_type():
    one = pd.Series(["a"] * 5)
    row = agreement(one, one, "measured", "type")
    assert row["ari"] == row["nmi"] == row["accuracy"] == 1 and np.isnan(row["kappa"])


def test_confusion_is_that_of_scikit_learn(sides):
    a, b = (s[40:].astype(str) for s in sides)
    found = confusion(*sides)
    names = ["a", "b", "c", "d"]
    theirs = metrics.confusion_matrix(a, b, labels=names)
    for row in found.itertuples():
        i, j = names.index(row.reference), names.index(row.predicted)
        assert row.n_units == theirs[i, j]
        assert row.share == pytest.approx(theirs[i, j] / theirs[i].sum())
    assert len(found) == a.nunique() * b.nunique() and found["n_units"].sum() == 460
    assert found["reference"].iloc[0] == "a"


def test_proportions_are_those_of_pandas(sides):
    found = proportions({"measured": sides[0], "predicted": sides[1]})
    assert list(found) == ["label", "measured", "predicted"]
    assert found["measured"].is_monotonic_decreasing
    by_label = found.set_index("label")
    for name, side in zip(("measured", "predicted"), sides, strict=True):
        counts = side.dropna().value_counts()
        for label in "abcd":
            expected = counts.get(label, 0) / counts.sum()
            assert by_label.loc[label, name] == pytest.approx(expected)


def test_categories_that_no_unit_has_do_not_count(sides):
    a, b = (pd.Series(pd.Categorical(s, categories=[*"abcdxyz"]), index=s.index) for s in sides)
    assert agreement(a, b, "measured", "type") == agreement(*sides, "measured", "type")
    assert "x" not in set(proportions({"m": a, "p": b})["label"])
    pd.testing.assert_frame_equal(confusion(a, b), confusion(*sides))


def test_shared_units_are_in_the_order_of_the_measured():
    def part(names):
        return ad.AnnData(obs=pd.DataFrame({"n": names}, index=names))

    one, other = shared_units(part(["a", "b", "c"]), part(["d", "c", "a"]))
    assert list(one.obs["n"]) == list(other.obs["n"]) == ["a", "c"]


def test_silhouettes_are_those_of_scikit_learn(monkeypatch):
    rng = np.random.default_rng(0)
    labels = pd.Series(rng.choice(["a", "b"], 300).astype(object))
    pcs = rng.normal(size=(300, 4)) + 2 * (labels == "a").to_numpy()[:, None]
    labels[:10] = np.nan
    whole = metrics.silhouette_score(pcs[10:], labels[10:])
    assert silhouette(pcs, labels, 0) == pytest.approx(whole)
    assert np.isnan(silhouette(pcs, pd.Series(["a"] * 300), 0))
    assert np.isnan(silhouette(pcs, labels.where(labels.isna()), 0))
    monkeypatch.setattr("histoscribe.annotation.agreement.SILHOUETTE_UNITS", 100)
    sampled = silhouette(pcs, labels, 0)
    assert sampled != whole and sampled == pytest.approx(whole, abs=0.1)


@pytest.fixture(scope="module")
def grid():
    x, y = np.meshgrid(np.arange(14) * 8.0, np.arange(14) * 8.0)
    return np.column_stack([x.ravel(), y.ravel()])


def z_of(table):
    return table.set_index(["one", "other"])["z"]


def test_neighbourhoods_of_a_checkerboard_and_of_halves(grid):
    column, row = (grid / 8).astype(int).T
    board = pd.Series(np.where((row + column) % 2, "a", "b"))
    halves = pd.Series(np.where(column < 7, "a", "b"))
    edges = 1.2 * 8  # four neighbours
    z = z_of(neighbourhood_enrichment(grid, board, edges, 0))
    assert z["a", "b"] > 5 and z["a", "a"] < -5 and z["b", "b"] < -5
    z = z_of(neighbourhood_enrichment(grid, halves, edges, 0))
    assert z["a", "b"] < -5 and z["a", "a"] > 5 and z["b", "b"] > 5
    table = neighbourhood_enrichment(grid, board, edges, 0).set_index(["one", "other"])
    assert table.loc[("a", "a"), "n_pairs"] == 0
    assert table.loc[("a", "b"), "n_pairs"] == 2 * 13 * 14  # each edge from one of its ends


def test_neighbourhoods_are_those_of_squidpy(grid):
    labels = np.random.default_rng(0).choice(["x", "y", "z"], len(grid)).astype(object)
    labels[grid[:, 0] < 24] = "x"
    reach_um = typical_reach(grid)  # eight neighbours
    found = neighbourhood_enrichment(grid, pd.Series(labels), reach_um, 3)
    data = ad.AnnData(obs=pd.DataFrame({"t": pd.Categorical(labels)}), obsm={"spatial": grid})
    sq.gr.spatial_neighbors(data, coord_type="generic", radius=reach_um)
    theirs, counts = sq.gr.nhood_enrichment(
        data, cluster_key="t", n_perms=200, seed=3, copy=True, show_progress_bar=False
    )
    assert found["z"].to_numpy() == pytest.approx(theirs.ravel())
    assert list(found["n_pairs"]) == list(counts.ravel())
    by_hand = 0
    for i in np.flatnonzero(labels == "x"):
        far = np.linalg.norm(grid - grid[i], axis=1)
        by_hand += int(((far > 0) & (far <= reach_um) & (labels == "y")).sum())
    assert found.set_index(["one", "other"]).loc[("x", "y"), "n_pairs"] == by_hand


def test_neighbourhoods_need_two_labels_and_leave_out_unlabelled(grid):
    one = pd.Series(["a"] * len(grid))
    assert neighbourhood_enrichment(grid, one, 9.0, 0).empty
    labels = pd.Series(np.where(grid[:, 0] < 50, "a", "b").astype(object))
    labels[::3] = np.nan
    known = labels.notna().to_numpy()
    whole = neighbourhood_enrichment(grid, labels, 9.0, 0)
    part = neighbourhood_enrichment(grid[known], labels[known], 9.0, 0)
    pd.testing.assert_frame_equal(whole, part)
