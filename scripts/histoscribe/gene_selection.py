"""Which genes are predicted: variable, and different between clusters of the training units.

Wen et al. 2025, Methods: 2,000 highly variable genes, 50 principal components, Leiden clusters at
resolution 0.6, Wilcoxon of each cluster against the rest, adjusted P < 0.01 and |log2 fold
change| >= 1. Or a fixed panel that the user names.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc

from histoscribe.clustering import leiden, nearest_neighbours, rank_genes, shared_neighbours
from histoscribe.errors import UserError, problem
from histoscribe.provenance import names_digest

LOG = logging.getLogger(__name__)
COLUMNS = ["gene", "cluster", "log2_fold_change", "adjusted_p", "n_clusters"]
CHOSEN_ON_COLUMNS = ["sample", "n_units", "names_digest"]


@dataclass(frozen=True)
class GeneSettings:
    """Settings of the selection; the paper's values are the defaults.

    `panel` is a file with one gene a line, which replaces the selection; `max_genes` keeps the
    genes with the largest |log2 fold change|.
    """

    panel: str | None = None
    n_hvg: int = 2000
    n_pcs: int = 50
    n_neighbours: int = 15
    leiden_resolution: float = 0.6
    adjusted_p_below: float = 0.01
    abs_log2fc_from: float = 1.0
    max_genes: int | None = None


def pool_sections(sections: dict[str, ad.AnnData]) -> ad.AnnData:
    """Training units of all sections on the genes that they share, with `obs["section"]`.

    Raises UserError when no gene is shared.
    """
    pooled = ad.concat(sections, join="inner", label="section", index_unique="/")
    if pooled.n_vars == 0:
        first_genes = {name: list(s.var_names[:3]) for name, s in sections.items()}
        raise UserError(
            problem(
                "the training sections " + ", ".join(sections),
                f"no gene that all of them measure (they begin with {first_genes})",
                "shared gene symbols",
                "Do they come from one species, with symbols rather than ids?",
            )
        )
    return pooled


def select_genes(pooled: ad.AnnData, settings: GeneSettings, seed: int) -> pd.DataFrame:
    """Choose genes on training units; a table with one row a gene, in the order of `pooled`.

    Columns: gene; and the cluster in which it differs most, its log2 fold change and adjusted P
    there, and the number of clusters in which it passes. For a panel these are empty.
    """
    if settings.panel is not None:
        return _panel_genes(pooled, Path(settings.panel))
    clustered = _cluster(pooled, settings, seed)
    chosen = _differential_genes(clustered, settings)
    if chosen.empty:
        raise UserError(
            problem(
                "gene selection",
                f"no gene that differs between {clustered.obs['leiden'].nunique()} clusters of "
                f"{clustered.n_obs} training units",
                f"adjusted P < {settings.adjusted_p_below} and |log2 fold change| >= "
                f"{settings.abs_log2fc_from}",
                "Relax genes in the config, give a panel, or add training units.",
            )
        )
    if settings.max_genes is not None:
        strongest = chosen["log2_fold_change"].abs().sort_values(ascending=False).index
        chosen = chosen.loc[strongest[: settings.max_genes]]
    position = pooled.var_names.get_indexer(chosen["gene"])
    return chosen.iloc[np.argsort(position)].reset_index(drop=True)


def chosen_on(sections: dict[str, ad.AnnData], settings: GeneSettings) -> pd.DataFrame:
    """The units that the choice was made on, one row a section; none where a panel was given."""
    used = {} if settings.panel is not None else sections
    rows = [(name, s.n_obs, names_digest(s.obs_names)) for name, s in used.items()]
    return pd.DataFrame(rows, columns=CHOSEN_ON_COLUMNS)


def _panel_genes(pooled: ad.AnnData, path: Path) -> pd.DataFrame:
    try:
        named = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            problem(
                str(path), f"no readable file ({error})", "one gene a line", "Correct the path."
            )
        ) from error
    named = list(dict.fromkeys(gene for gene in named if gene and not gene.startswith("#")))
    shared = [gene for gene in named if gene in pooled.var_names]
    if not shared:
        raise UserError(
            problem(
                str(path),
                f"none of its {len(named)} genes in the training sections (which begin with "
                f"{', '.join(pooled.var_names[:3])})",
                "gene symbols as in the sections",
                "Mind upper case (human) and capitals (mouse).",
            )
        )
    if len(shared) < len(named):
        LOG.warning("%d of %d panel genes are not measured", len(named) - len(shared), len(named))
    return pd.DataFrame({"gene": shared}, columns=COLUMNS)


def _cluster(pooled: ad.AnnData, settings: GeneSettings, seed: int) -> ad.AnnData:
    """Log-normalised HVG with `obs["leiden"]`."""
    adata = pooled.copy()
    adata.X = adata.X.astype(np.float32)
    sc.pp.filter_genes(adata, min_cells=3)
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    batch_key = "section" if adata.obs["section"].nunique() > 1 else None
    n_hvg = min(settings.n_hvg, adata.n_vars)
    sc.pp.highly_variable_genes(adata, n_top_genes=n_hvg, batch_key=batch_key)
    adata = adata[:, adata.var["highly_variable"]].copy()
    n_pcs = min(settings.n_pcs, adata.n_vars - 1, adata.n_obs - 1)
    sc.pp.pca(adata, n_comps=n_pcs, random_state=seed)
    nearest = nearest_neighbours(adata.obsm["X_pca"], settings.n_neighbours)
    clusters = leiden(shared_neighbours(nearest), settings.leiden_resolution, seed)
    adata.obs["leiden"] = pd.Categorical(clusters.astype(str))
    return adata


def _differential_genes(clustered: ad.AnnData, settings: GeneSettings) -> pd.DataFrame:
    if clustered.obs["leiden"].nunique() < 2:
        return pd.DataFrame(columns=COLUMNS)
    tests = rank_genes(clustered, clustered.obs["leiden"])
    passing = tests[
        (tests["adjusted_p"] < settings.adjusted_p_below)
        & (tests["log2_fold_change"].abs() >= settings.abs_log2fc_from)
    ]
    strongest = passing["log2_fold_change"].abs().groupby(passing["gene"], observed=True).idxmax()
    chosen = passing.loc[strongest.to_numpy()].copy()
    per_gene = passing.groupby("gene", observed=True).size()
    chosen["n_clusters"] = per_gene.loc[chosen["gene"]].to_numpy()
    return chosen[COLUMNS].reset_index(drop=True)
