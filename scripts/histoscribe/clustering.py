"""Clusters of units and the genes that mark them, as gene selection and annotation both need."""

from dataclasses import dataclass

import anndata as ad
import illico
import numpy as np
import pandas as pd
import scanpy as sc
from scipy import sparse
from scipy.stats import false_discovery_control
from sklearn.neighbors import NearestNeighbors

USUAL_ITERATIONS, UNTIL_SETTLED = 2, -1
SETTLED_UNITS = 50_000
N_RUNS = 10
MAX_LOG2_FOLD = 20  # of a gene that one side lacks, where the fold change is infinite
RANKED_COLUMNS = ["cluster", "gene", "log2_fold_change", "z", "adjusted_p"]


@dataclass(frozen=True)
class Neighbours:
    """Nearest units of each unit, itself first: `index` and `distance`, (n_units, n_neighbours)."""

    index: np.ndarray
    distance: np.ndarray


def nearest_neighbours(position: np.ndarray, n_neighbours: int) -> Neighbours:
    """The nearest units of each in `position` (n_units, n_dimensions), itself among them."""
    search = NearestNeighbors(n_neighbors=min(n_neighbours, len(position))).fit(position)
    distance, index = search.kneighbors(position)
    return Neighbours(index, distance)


def shared_neighbours(nearest: Neighbours) -> sparse.csr_matrix:
    """Graph of units, (n, n) symmetric: the Jaccard overlap of their sets of nearest neighbours.

    Weights are finite also where many units are identical, as sparse bins are.
    Source: Levine et al., Cell 2015, doi 10.1016/j.cell.2015.05.047 (PhenoGraph).
    """
    n, k = nearest.index.shape
    ones = np.ones(n * k)
    near = sparse.csr_matrix((ones, nearest.index.ravel(), np.arange(0, n * k + 1, k)), (n, n))
    either = (near + near.T).sign()
    shared = (near @ near.T).multiply(either).tocsr()
    shared.data = shared.data / (2 * k - shared.data)
    shared.setdiag(0)
    shared.eliminate_zeros()
    return shared


def steady_leiden(graph: sparse.csr_matrix, resolution: float, seed: int) -> np.ndarray:
    """As leiden, the clusters of the highest modularity of ten runs.

    One run hangs on its random numbers where clusters are few. Each goes on until nothing moves; of
    more than 50,000 units, for two rounds.
    """
    n_iterations = UNTIL_SETTLED if graph.shape[0] <= SETTLED_UNITS else USUAL_ITERATIONS
    runs = [leiden(graph, resolution, seed * N_RUNS + n, n_iterations) for n in range(N_RUNS)]
    return max(runs, key=lambda found: modularity(graph, found, resolution))


def modularity(graph: sparse.csr_matrix, cluster: np.ndarray, resolution: float) -> float:
    """Share of weights within clusters (n,) beyond `resolution` times what chance puts there.

    Newman & Girvan, Phys Rev E 2004, with the resolution of Reichardt & Bornholdt, Phys Rev E 2006;
    `graph` (n, n) is symmetric.
    """
    n = len(cluster)
    is_of = sparse.csr_matrix((np.ones(n), (np.arange(n), cluster)))
    between = (is_of.T @ graph @ is_of).toarray() / graph.sum()
    return float(np.trace(between) - resolution * (between.sum(axis=0) ** 2).sum())


def leiden(
    graph: sparse.csr_matrix, resolution: float, seed: int, n_iterations: int = USUAL_ITERATIONS
) -> np.ndarray:
    """Cluster of each unit, (n,) from 0 for the largest."""
    bare = ad.AnnData(obs=pd.DataFrame(index=pd.RangeIndex(graph.shape[0]).astype(str)))
    sc.tl.leiden(
        bare,
        adjacency=graph,
        resolution=resolution,
        flavor="igraph",
        n_iterations=n_iterations,
        directed=False,
        random_state=seed,
    )
    return by_size(bare.obs["leiden"].astype(int).to_numpy())


def by_size(found: np.ndarray) -> np.ndarray:
    """Numbers of clusters in order of size, from 0 for the largest; none is skipped."""
    _, found = np.unique(found, return_inverse=True)
    rank = np.empty(found.max() + 1, dtype=np.int64)
    rank[np.argsort(-np.bincount(found), kind="stable")] = np.arange(len(rank))
    return rank[found]


def rank_genes(expression: ad.AnnData, clusters: np.ndarray) -> pd.DataFrame:
    """Wilcoxon test of every gene, each cluster against all other units; a row a cluster and gene.

    `expression.X` (n_units, n_genes) log1p values, sparse or dense; `clusters` (n_units,). Fold
    changes are scanpy's, of back-transformed means. `adjusted_p` is Benjamini-Hochberg's within a
    cluster. No rows where there is but one cluster.
    """
    names = pd.Categorical(np.asarray(clusters).astype(str))
    if len(names.categories) < 2:
        return pd.DataFrame(columns=RANKED_COLUMNS)
    tested = ad.AnnData(
        expression.X, obs=pd.DataFrame(index=expression.obs_names), var=expression.var[[]]
    )
    tested.obs["cluster"] = names
    if sparse.issparse(tested.X):
        tested.X.sort_indices()
    # exp_post_agg: the fold change is of back-transformed means of log1p values.
    tests = illico.asymptotic_wilcoxon(
        tested, is_log1p=True, group_keys="cluster", exp_post_agg=True
    ).reset_index()
    tests.columns = ["cluster", "gene", *tests.columns[2:]]
    tests["adjusted_p"] = tests.groupby("cluster", observed=True)["p_value"].transform(
        lambda p: false_discovery_control(p.fillna(1.0))
    )
    with np.errstate(divide="ignore"):
        fold = np.log2(tests["fold_change"])
    tests["log2_fold_change"] = fold.fillna(0.0).clip(-MAX_LOG2_FOLD, MAX_LOG2_FOLD)
    tests["z"] = tests["z_score"].fillna(0.0)
    return tests[RANKED_COLUMNS]
