"""Clusters of a section's units, by measured or by predicted expression.

Wen et al. 2025: 800 variable genes, 50 principal components, Leiden at 1.8 on measured and 0.6 on
predicted expression; clusters of fewer than 1,200 units are dropped.
"""

from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import PCA

from histoscribe.annotation.embedding import umap_layout
from histoscribe.annotation.variable_genes import most_variable
from histoscribe.clustering import leiden, nearest_neighbours, rank_genes, shared_neighbours
from histoscribe.errors import UserError, problem
from histoscribe.expression import target_total
from histoscribe.neighbourhood import within

MIN_UNITS = 50  # fewer can't be told into clusters
POOLED_AT_ONCE = 5000  # units


@dataclass(frozen=True)
class ClusterSettings:
    """How units are clustered; the paper's values are the defaults.

    `pool_um`: radius within which a unit's counts are summed before clustering, for bins that hold
    few molecules; 0 takes units as they are. `min_share`: least share of units that a variable gene
    is found in. Clusters smaller than both `min_units` and `min_cluster_share` of all units are
    dropped.
    """

    n_hvg: int = 800
    min_share: float = 0.005
    pool_um: float = 0.0
    n_pcs: int = 50
    n_neighbours: int = 15
    leiden_resolution: float = 0.6
    min_units: int = 1200
    min_cluster_share: float = 0.02


@dataclass(frozen=True)
class Clusters:
    """Clusters of units.

    Attributes:
        cluster: (n_units,) from 0 for the largest; -1 for units of dropped clusters.
        sizes: (n_clusters,) of all clusters, the dropped ones too.
        pcs: (n_units, n_pcs) float32. umap: (n_units, 2) float32.
    """

    cluster: np.ndarray
    sizes: np.ndarray
    pcs: np.ndarray
    umap: np.ndarray

    @property
    def is_kept(self) -> np.ndarray:
        """Of each cluster, (n_clusters,)."""
        return np.isin(np.arange(len(self.sizes)), self.cluster)


def describe_measured(
    units: ad.AnnData, settings: ClusterSettings, target_sum: float | str
) -> np.ndarray:
    """Principal components of measured counts, (n_units, n_pcs) float32.

    Variable genes are chosen on the units' own counts; values are pooled within `pool_um`.
    """
    counts, umi = sparse.csr_matrix(units.X), units.obs["umi"].to_numpy(dtype=np.float64)
    names = units.var_names.to_numpy()
    genes = most_variable(counts, umi, names, settings.n_hvg, settings.min_share)
    if not len(genes):
        raise UserError(
            problem(
                "annotation",
                f"no gene found in {settings.min_share:.1%} of {units.n_obs} units",
                "genes to cluster by",
                "Lower annotation.min_share.",
            )
        )
    chosen = counts[:, genes].astype(np.float32)
    if settings.pool_um > 0:
        chosen, umi = _pooled(chosen, umi, np.asarray(units.obsm["spatial"]), settings.pool_um)
    scale = target_total(umi, target_sum) / np.maximum(umi, 1)
    dense = chosen.toarray()
    dense *= scale[:, None].astype(np.float32)
    return _components(np.log1p(dense, out=dense), settings.n_pcs)


def describe_predicted(predicted: np.ndarray, settings: ClusterSettings) -> np.ndarray:
    """Principal components of predicted log1p values (n_units, n_genes), of the variable genes."""
    variance = predicted.var(axis=0)
    genes = np.sort(np.argsort(-variance, kind="stable")[: settings.n_hvg])
    return _components(np.asarray(predicted[:, genes], dtype=np.float32), settings.n_pcs)


def cluster_units(pcs: np.ndarray, settings: ClusterSettings, seed: int) -> Clusters:
    """Leiden clusters of shared neighbours in `pcs` (n_units, n_pcs), and a UMAP of the units.

    Raises UserError where there are fewer than 50 units.
    """
    n_units = len(pcs)
    if n_units < MIN_UNITS:
        raise UserError(
            problem(
                "annotation",
                f"{n_units} units",
                f"{MIN_UNITS} or more to cluster",
                "Relax units.filter in the config, or switch annotation off.",
            )
        )
    nearest = nearest_neighbours(pcs, settings.n_neighbours)
    found = leiden(shared_neighbours(nearest), settings.leiden_resolution, seed)
    sizes = np.bincount(found)
    least = min(settings.min_units, settings.min_cluster_share * n_units)
    cluster = np.where(sizes[found] >= least, found, -1)
    return Clusters(cluster, sizes, pcs, umap_layout(pcs, nearest, seed))


def markers(expression: ad.AnnData, cluster: np.ndarray) -> pd.DataFrame:
    """Every gene's Wilcoxon test of each kept cluster against the other kept ones.

    `expression.X` (n_units, n_genes) log1p, sparse or dense; its layer `probability`, where it has
    one, says how likely each value is above 0; `cluster` (n_units,), -1 left out. Columns of
    `rank_genes`, then share_in and share_out (of units that express the gene, or the mean
    probability), mean_in and mean_out (of log1p values); genes of each cluster by falling z.
    """
    kept = cluster >= 0
    expression = expression[kept].copy()
    ranked = rank_genes(expression, cluster[kept])
    if ranked.empty:
        return ranked.assign(share_in=[], share_out=[], mean_in=[], mean_out=[])
    values = expression.X
    member = sparse.csr_matrix(
        (np.ones(kept.sum(), dtype=np.float32), (cluster[kept], np.arange(kept.sum())))
    )
    size = np.asarray(member.sum(axis=1)).ravel()[:, None]
    rows = ranked["cluster"].astype(int).to_numpy()
    columns = expression.var_names.get_indexer(ranked["gene"])
    expressed = expression.layers.get("probability")
    expressed = values > 0 if expressed is None else expressed
    for name, matrix in (("share", expressed), ("mean", values)):
        sums = member @ matrix
        sums = sums.toarray() if sparse.issparse(sums) else np.asarray(sums)
        total, n_units = sums.sum(axis=0), size.sum()
        ranked[f"{name}_in"] = (sums / np.maximum(size, 1))[rows, columns]
        outside = (total - sums) / np.maximum(n_units - size, 1)
        ranked[f"{name}_out"] = outside[rows, columns]
    ranked["cluster"] = rows
    return ranked.sort_values(["cluster", "z"], ascending=[True, False], ignore_index=True)


def _pooled(
    counts: sparse.csr_matrix, umi: np.ndarray, xy_um: np.ndarray, radius_um: float
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Sums over each unit's neighbourhood, itself included: counts and totals."""
    parts, totals = [], []
    for start in range(0, len(umi), POOLED_AT_ONCE):
        near = within(xy_um[start : start + POOLED_AT_ONCE], xy_um, radius_um)
        parts.append(near @ counts)
        totals.append(near @ umi)
    return sparse.vstack(parts, format="csr"), np.concatenate(totals)


def _components(values: np.ndarray, n_pcs: int) -> np.ndarray:
    """The leading principal components of `values` (n_units, n_genes), float32."""
    n_pcs = min(n_pcs, values.shape[1], values.shape[0] - 1)
    # The covariance of the genes is small, and its eigenvectors are exact: no seed is needed.
    pca = PCA(n_components=n_pcs, svd_solver="covariance_eigh")
    with np.errstate(invalid="ignore"):  # where all units are alike, of no variance
        return pca.fit_transform(values).astype(np.float32)
