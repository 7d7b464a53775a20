"""The types of units: those given, or else clusters of the measured expression.

Clusters are made of counts like those that are scored, which invites circularity: a cluster that is
partly made of a gene's own noise would, once its mean is subtracted, take noise from the measured
side, and make a prediction look better than it is. So genes are dealt into two sets, and a gene is
scored within clusters of the other set. What remains: clusters of sparse counts tell types apart
only in part, so that some of what differs between types is still counted as within them.
"""

from dataclasses import dataclass

import anndata as ad
import numpy as np
from scipy import sparse
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA

from histoscribe.expression import target_total

TYPE_COLUMN = "cell_type"
N_CLUSTERS = 8
N_COMPONENTS = 20
MIN_UNITS = 20  # in a cluster, on average; fewer clusters are made of a small section
MAX_GENES = 1000  # of most molecules, in each set


@dataclass(frozen=True)
class UnitTypes:
    """`kinds` (n_sets, n_units), whole numbers from 0; `kind_set` (n_genes,) which set serves."""

    kinds: np.ndarray
    kind_set: np.ndarray


def types_of(units: ad.AnnData, genes: list[str], seed: int) -> UnitTypes:
    """`obs["cell_type"]` where there is one, else clusters of the genes that are not scored by it.

    Units without a type are one kind of their own.
    """
    if TYPE_COLUMN in units.obs:
        names = units.obs[TYPE_COLUMN].astype("category").cat
        codes = names.codes.to_numpy().astype(np.int64)
        kind = np.where(codes < 0, len(names.categories), codes)
        return UnitTypes(kind[None], np.zeros(len(genes), dtype=np.int64))
    counts = sparse.csc_matrix(units.X)
    umi = units.obs["umi"].to_numpy()
    order = np.argsort(-np.asarray(counts.sum(axis=0)).ravel(), kind="stable")
    kinds, kind_set = [], np.zeros(units.n_vars, dtype=np.int64)
    for side in range(2):
        kinds.append(cluster(counts[:, order[side::2][:MAX_GENES]], umi, seed))
        kind_set[order[1 - side :: 2]] = side
    return UnitTypes(np.stack(kinds), kind_set[units.var_names.get_indexer(genes)])


def cluster(counts: sparse.csc_matrix, umi: np.ndarray, seed: int) -> np.ndarray:
    """Cluster of each unit, (n_units,): k-means on principal components of log1p of the counts."""
    n_units, n_genes = counts.shape
    n_clusters = min(N_CLUSTERS, n_units // MIN_UNITS)
    n_components = min(N_COMPONENTS, n_genes, n_units - 1)
    if n_clusters < 2 or n_components < 1:
        return np.zeros(n_units, dtype=np.int64)
    scale = target_total(umi, "median") / np.maximum(umi, 1)
    values = sparse.csr_matrix(sparse.diags(scale) @ counts).log1p()
    components = PCA(n_components, svd_solver="covariance_eigh").fit_transform(values)
    means = MiniBatchKMeans(n_clusters, n_init=3, batch_size=4096, random_state=seed)
    return means.fit_predict(components).astype(np.int64)
