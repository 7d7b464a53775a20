"""Variable genes, neighbours, clusters and marker tests against plain computations."""

from itertools import combinations

import anndata as ad
import igraph
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from scipy.stats import false_discovery_control, mannwhitneyu
from sklearn.metrics import adjusted_rand_score

from histoscribe.annotation.cells import markers
from histoscribe.annotation.variable_genes import most_variable, residual_variance
from histoscribe.clustering import (
    leiden,
    modularity,
    nearest_neighbours,
    rank_genes,
    shared_neighbours,
    steady_leiden,
)


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(1)
    rate = rng.gamma(0.5, 1.0, 30) * rng.gamma(2.0, 0.5, (120, 1))
    drawn = rng.poisson(rate)
    drawn[:60, 0] += rng.poisson(4.0, 60)
    drawn[7, 1] = 500  # clipped
    drawn[:, 2] = 0
    return drawn


def plain_residual_variance(counts, umi):
    expected = umi[:, None] * counts.sum(axis=0)[None, :] / umi.sum()
    with np.errstate(invalid="ignore"):
        residuals = (counts - expected) / np.sqrt(expected + expected**2 / 100)
    top = np.sqrt(len(counts))
    return np.nan_to_num(np.clip(residuals, -top, top)).var(axis=0)


def test_residual_variance_is_that_of_pearson_residuals(counts):
    umi = counts.sum(axis=1) + 3  # totals count genes that are not in the matrix, too
    found = residual_variance(sparse.csr_matrix(counts), umi)
    assert found == pytest.approx(plain_residual_variance(counts, umi), rel=1e-9, abs=1e-9)
    assert found.argmax() in (0, 1)


def test_residual_variance_is_that_of_scanpy_where_all_genes_are_counted(counts):
    expressed = counts.any(axis=0)
    data = ad.AnnData(sparse.csr_matrix(counts[:, expressed].astype(np.float64)))
    sc.experimental.pp.normalize_pearson_residuals(data)
    found = residual_variance(sparse.csr_matrix(counts), counts.sum(axis=1))
    theirs = np.asarray(data.X).var(axis=0)
    assert found[expressed] == pytest.approx(theirs, rel=1e-6)


def test_residual_variance_of_stored_zeros_and_of_empty_units(counts):
    drawn = counts.copy()
    drawn[5] = 0
    stored = sparse.csr_matrix(np.ones_like(drawn))
    stored.data = drawn.ravel().copy()
    plain = plain_residual_variance(drawn, drawn.sum(axis=1))
    assert residual_variance(stored, drawn.sum(axis=1)) == pytest.approx(plain)


def test_variable_genes_pass_over_rare_and_mitochondrial_ones(counts):
    matrix, umi = sparse.csr_matrix(counts), counts.sum(axis=1)
    names = np.array([f"G{i}" for i in range(30)])
    variance = residual_variance(matrix, umi)
    share = (counts > 0).mean(axis=0)
    top = set(np.argsort(-variance)[:5])
    assert set(most_variable(matrix, umi, names, 5, 0.0)) == top
    for prefix in ("MT-", "mt-", "Mt-"):
        renamed = names.copy()
        renamed[0] = f"{prefix}CO1"
        found = most_variable(matrix, umi, renamed, 29, 0.0)
        assert 0 not in found and list(found) == sorted(found)
    least = float(np.median(share))
    assert (share[most_variable(matrix, umi, names, 30, least)] >= least).all()
    assert len(most_variable(matrix, umi, names, 30, least)) == (share >= least).sum()
    assert len(most_variable(matrix, umi, names, 30, 1.1)) == 0


def test_zeros_that_are_stored_do_not_make_a_gene_common(counts):
    stored = sparse.csr_matrix(np.ones_like(counts))
    stored.data = counts.ravel().copy()
    names = np.array([f"G{i}" for i in range(30)])
    assert 2 not in most_variable(stored, counts.sum(axis=1), names, 30, 0.5)


@pytest.fixture(scope="module")
def clouds():
    """Three clouds of 100, 60 and 40 points."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [100, 60, 40])
    return truth, rng.normal(size=(200, 5)) + 8 * np.eye(5)[truth]


def test_shared_neighbours_are_jaccard_overlaps(clouds):
    nearest = nearest_neighbours(clouds[1], 10)
    found = shared_neighbours(nearest).toarray()
    sets = [set(row) for row in nearest.index]
    for i in range(0, 200, 7):
        for j in range(200):
            near = i != j and (j in sets[i] or i in sets[j])
            overlap = len(sets[i] & sets[j]) / len(sets[i] | sets[j]) if near else 0
            assert found[i, j] == pytest.approx(overlap)
    assert (found == found.T).all()


def test_leiden_finds_clouds_and_numbers_them_by_size(clouds):
    truth, position = clouds
    shuffled = np.random.default_rng(2).permutation(200)
    graph = shared_neighbours(nearest_neighbours(position[shuffled], 15))
    found = leiden(graph, 0.3, 0)
    assert (found == truth[shuffled]).all()
    assert (leiden(graph, 0.3, 0) == found).all()


def test_leiden_is_that_of_scanpy_on_the_same_graph(clouds):
    graph = shared_neighbours(nearest_neighbours(clouds[1], 15))
    data = ad.AnnData(np.zeros((200, 1)))
    sc.tl.leiden(
        data, adjacency=graph, resolution=1.5, flavor="igraph", n_iterations=2, directed=False
    )
    assert adjusted_rand_score(data.obs["leiden"], leiden(graph, 1.5, 0)) > 0.95


@pytest.fixture(scope="module")
def continuum():
    """A graph of units with hardly a gap between them, which can be cut in many ways."""
    rng = np.random.default_rng(0)
    position = rng.standard_normal((800, 6)) + 1.5 * np.eye(6)[rng.integers(0, 4, 800)]
    return shared_neighbours(nearest_neighbours(position, 15))


def test_modularity_is_that_of_igraph(continuum):
    found = leiden(continuum, 0.4, 0)
    edges = sparse.triu(continuum).tocoo()
    graph = igraph.Graph(n=800, edges=list(zip(edges.row, edges.col, strict=True)))
    expected = graph.modularity(found, weights=edges.data, resolution=0.4)
    assert modularity(continuum, found, 0.4) == pytest.approx(expected)


def test_steady_clusters_hang_less_on_the_seed(continuum):
    def unlike(cluster):
        found = [cluster(continuum, 0.5, seed) for seed in range(6)]
        return 1 - np.mean([adjusted_rand_score(a, b) for a, b in combinations(found, 2)])

    assert unlike(steady_leiden) < 0.7 * unlike(leiden)
    assert (steady_leiden(continuum, 0.4, 3) == steady_leiden(continuum, 0.4, 3)).all()


@pytest.mark.parametrize("n_units", [2, 5])
def test_fewer_units_than_neighbours(n_units):
    position = np.arange(n_units, dtype=float)[:, None]
    nearest = nearest_neighbours(position, 15)
    assert nearest.index.shape == (n_units, n_units)
    assert len(leiden(shared_neighbours(nearest), 1.0, 0)) == n_units


def test_units_on_one_point_make_a_finite_graph():
    nearest = nearest_neighbours(np.zeros((80, 3)), 15)
    graph = shared_neighbours(nearest)
    assert np.isfinite(graph.data).all()
    assert len(leiden(graph, 1.0, 0)) == 80


@pytest.fixture(scope="module")
def expression():
    """Log values of 150 units in clusters 0 to 2 (10 is a name, too), and 20 genes."""
    rng = np.random.default_rng(3)
    cluster = rng.permutation(np.repeat([0, 2, 10], [70, 50, 30]))
    rate = np.ones((150, 20))
    rate[cluster == 2, 0] = 6
    rate[cluster == 10, 1] = 0.1
    values = np.log1p(rng.poisson(rate) * 1.7)
    values[:, 3] = 0  # nobody has it
    values[:, 4] = np.where(cluster == 10, values[:, 4], 0)  # one cluster alone has it
    names = [f"G{i}" for i in range(20)]
    obs = pd.DataFrame(index=[f"u{i}" for i in range(150)])
    return ad.AnnData(values, obs=obs, var=pd.DataFrame(index=names)), cluster


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_ranks_are_those_of_mann_whitney(expression, form):
    data, cluster = expression
    given = data.copy()
    if form == "sparse":
        given.X = sparse.csr_matrix(data.X)
    ranked = rank_genes(given, cluster)
    assert len(ranked) == 3 * 20
    for one in (0, 2, 10):
        mine, others = data.X[cluster == one], data.X[cluster != one]
        test = mannwhitneyu(mine, others, axis=0, method="asymptotic", use_continuity=True)
        p = np.nan_to_num(test.pvalue, nan=1.0)
        rows = ranked[ranked["cluster"].astype(str) == str(one)].set_index("gene")
        rows = rows.loc[data.var_names]
        assert rows["adjusted_p"].to_numpy() == pytest.approx(
            false_discovery_control(p), rel=1e-3, abs=1e-12
        )
        above = test.statistic - len(mine) * len(others) / 2
        clear = np.abs(above) > 1
        assert (np.sign(rows["z"].to_numpy()) == np.sign(above))[clear].all()
        with np.errstate(divide="ignore", invalid="ignore"):
            fold = np.log2(np.expm1(mine.mean(axis=0)) / np.expm1(others.mean(axis=0)))
        fold = np.clip(np.nan_to_num(fold, nan=0.0, posinf=20, neginf=-20), -20, 20)
        assert rows["log2_fold_change"].to_numpy() == pytest.approx(fold, rel=1e-3, abs=1e-4)


def test_ranks_are_those_of_scanpy(expression):
    data, cluster = expression
    theirs = data[:, data.X.any(axis=0)].copy()
    theirs.obs["cluster"] = pd.Categorical(cluster.astype(str))
    sc.tl.rank_genes_groups(theirs, "cluster", method="wilcoxon", tie_correct=True)
    ours = rank_genes(data, cluster).set_index(["cluster", "gene"])
    for one in ("0", "2", "10"):
        table = sc.get.rank_genes_groups_df(theirs, one).set_index("names")
        z = ours.loc[one].loc[table.index, "z"]
        # Without scanpy's, illico's z has a correction for continuity: a little less.
        assert z.to_numpy() == pytest.approx(table["scores"].to_numpy(), abs=0.05)


def test_one_cluster_has_no_ranks(expression):
    data, _ = expression
    assert rank_genes(data, np.zeros(150, dtype=int)).empty
    found = markers(data, np.zeros(150, dtype=int))
    assert found.empty and {"share_in", "mean_out"} <= set(found.columns)
    assert markers(data, np.full(150, -1)).empty


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_shares_and_means_of_markers_are_those_of_pandas(expression, form):
    data, cluster = expression
    cluster = np.where(cluster == 10, 1, cluster).copy()
    cluster[:20] = -1  # dropped
    given = data.copy()
    if form == "sparse":
        given.X = sparse.csr_matrix(data.X)
    found = markers(given, cluster)
    kept = pd.DataFrame(data.X, columns=data.var_names)[cluster >= 0]
    is_in = cluster[cluster >= 0]
    for one in (0, 1, 2):
        rows = found[found["cluster"] == one]
        assert rows["z"].is_monotonic_decreasing
        rows = rows.set_index("gene").loc[data.var_names]
        for side, chosen in (("in", kept[is_in == one]), ("out", kept[is_in != one])):
            assert rows[f"share_{side}"].to_numpy() == pytest.approx((chosen > 0).mean())
            assert rows[f"mean_{side}"].to_numpy() == pytest.approx(chosen.mean(), rel=1e-5)
    again = rank_genes(data[cluster >= 0].copy(), is_in).set_index(["cluster", "gene"])["z"]
    ours = found.assign(cluster=found["cluster"].astype(str)).set_index(["cluster", "gene"])["z"]
    assert ours.loc[again.index].to_numpy() == pytest.approx(again.to_numpy())
