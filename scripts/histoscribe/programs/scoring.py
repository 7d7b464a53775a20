"""How strongly each unit expresses a gene set, beyond genes of like level (scanpy score_genes).

The score is the mean of the set's genes less the mean of control genes, drawn from genes of
like mean expression (Tirosh et al. 2016; Satija et al. 2015). Genes of a small panel are no such
controls: they were chosen for their patterns, which would be seen, inverted, in every score.
"""

import logging
from collections.abc import Mapping

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from tqdm import tqdm

log = logging.getLogger(__name__)

CONTROL_SIZE = 50  # control genes drawn from each bin, scanpy's default
LEAST_BIN = 30  # genes that a bin must hold
MOST_BINS = 25  # of genes by their mean, scanpy's default


def n_expression_bins(n_genes: int) -> int:
    """How many bins score_genes is asked for: the most, up to 25, that hold 30 genes or more each.

    25 or 24 where there are thousands of genes. Of a panel of 200 genes scanpy's 25 would make bins
    of 8, with hardly a gene left to compare with; 4 are asked for, which it makes 3 of 67. Bins
    that leave over a few highest genes, with nothing of like level, are passed over; where there
    is no other, all genes are one bin.
    """
    for n_bins in range(MOST_BINS, 2, -1):
        size = round(n_genes / (n_bins - 1))  # as scanpy cuts the ranks 1 to n_genes
        if size >= LEAST_BIN and n_genes % size + 1 >= LEAST_BIN:
            return n_bins
    return 2


def score_sets(
    expression: ad.AnnData, programs: Mapping[str, list[str]], seed: int, control_from: int
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The score of each set, (n_units, n_sets) float32, and why sets could not be scored.

    `expression.X` (n_units, n_genes) log-normalised, sparse or dense. Control genes are drawn from
    all its genes, by `seed`, in as many expression bins as these fill (`n_expression_bins`). Of
    fewer than `control_from` genes none are: the score is then the mean of the set's genes, less
    its mean over the units.
    """
    light = ad.AnnData(
        sparse.csc_matrix(expression.X) if sparse.issparse(expression.X) else expression.X,
        obs=pd.DataFrame(index=expression.obs_names),
        var=pd.DataFrame(index=expression.var_names),
    )
    if light.n_vars < control_from:
        log.info("no control genes: %d genes, fewer than %d", light.n_vars, control_from)
        means = {name: _mean_of(light, genes) for name, genes in programs.items()}
        return pd.DataFrame(means, index=light.obs_names, dtype=np.float32), {}
    import scanpy as sc  # a second that scoring a panel does without

    n_bins = n_expression_bins(light.n_vars)
    log.info("control genes out of %d, in %d bins", light.n_vars, n_bins)
    scores, failed = {}, {}
    for name, genes in tqdm(programs.items(), desc="programs", disable=None):
        try:
            sc.tl.score_genes(
                light, genes, ctrl_size=CONTROL_SIZE, n_bins=n_bins, random_state=seed
            )
        except RuntimeError as error:  # scanpy's, where the set takes up whole bins
            if "control genes" not in str(error):
                raise
            failed[name] = f"no gene besides its own to compare with among {light.n_vars}"
            continue
        scores[name] = light.obs["score"].to_numpy(dtype=np.float32)
    return pd.DataFrame(scores, index=light.obs_names), failed


def _mean_of(expression: ad.AnnData, genes: list[str]) -> np.ndarray:
    """The mean of `genes` in each unit, (n_units,), less its mean over units."""
    columns = expression.X[:, expression.var_names.get_indexer(genes)]
    mean = np.asarray(columns.mean(axis=1, dtype=np.float64)).ravel()
    return mean - mean.mean()


def leading_genes(expression: ad.AnnData, programs: Mapping[str, list[str]]) -> pd.DataFrame:
    """By set: the gene that is expressed most, and its share of the set's mean expression.

    A set that one gene carries, such as a set of another organ, maps that gene.
    """
    means = np.asarray(expression.X.mean(axis=0)).ravel()
    level = pd.Series(np.maximum(means, 0), index=expression.var_names)
    rows = {}
    for name, genes in programs.items():
        first = level[genes].idxmax()
        rows[name] = (first, level[first] / max(float(level[genes].sum()), 1e-12))
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["leading_gene", "leading_share"]
    ).rename_axis("set")
