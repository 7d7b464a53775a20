import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from histoscribe.clustering import nearest_neighbours, shared_neighbours
from histoscribe.errors import UserError
from histoscribe.gene_selection import (
    GeneSettings,
    _cluster,
    _differential_genes,
    pool_sections,
    select_genes,
)

SETTINGS = GeneSettings(n_hvg=200, n_pcs=10)


def section(seed, genes=None):
    """Three groups of units; genes 0-29 mark one group each, the others are noise."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, 450)
    rate = np.full((450, 200), 0.6)
    for marker in range(30):
        rate[group == marker % 3, marker] = 6
    counts = rng.poisson(rate)
    names = genes or [f"G{i}" for i in range(200)]
    return ad.AnnData(
        sparse.csr_matrix(counts, dtype=np.int32),
        obs=pd.DataFrame(index=[f"u{i}" for i in range(450)]),
        var=pd.DataFrame(index=names),
    )


def test_markers_are_found_and_noise_is_not():
    pooled = pool_sections({"a": section(0), "b": section(1)})
    chosen = select_genes(pooled, SETTINGS, seed=0)
    assert set(chosen["gene"]) == {f"G{i}" for i in range(30)}
    assert (chosen["log2_fold_change"].abs() >= 1).all()
    assert (chosen["adjusted_p"] < 0.01).all()
    pd.testing.assert_frame_equal(chosen, select_genes(pooled, SETTINGS, seed=0))


def test_selection_equals_scanpy_wilcoxon():
    """illico's test against scanpy's own on the same clusters."""
    import scanpy as sc

    clustered = _cluster(pool_sections({"a": section(0), "b": section(1)}), SETTINGS, 0)
    sc.tl.rank_genes_groups(clustered, "leiden", method="wilcoxon", tie_correct=True)
    frame = sc.get.rank_genes_groups_df(clustered, None)
    passing = frame[(frame["pvals_adj"] < 0.01) & (frame["logfoldchanges"].abs() >= 1)]
    ours = _differential_genes(clustered, SETTINGS)
    assert set(ours["gene"]) == set(passing["names"])
    theirs = frame.set_index(["names", "group"])["logfoldchanges"]
    at = list(zip(ours["gene"], ours["cluster"].astype(str), strict=True))
    np.testing.assert_allclose(ours["log2_fold_change"], theirs.loc[at], rtol=0.02, atol=0.02)


def test_identical_units_do_not_break_the_clusters():
    """Sparse bins are often identical; each must not become a cluster of its own."""
    adata = section(0)
    counts = adata.X.tolil()
    counts[:60] = 0
    counts[:60, 150] = 1
    adata.X = counts.tocsr()
    clusters = _cluster(pool_sections({"a": adata}), SETTINGS, 0).obs["leiden"]
    assert clusters.nunique() < 8
    assert clusters[:60].value_counts().iloc[0] > 50
    graph = shared_neighbours(nearest_neighbours(np.repeat(np.eye(3), 40, axis=0), 15))
    assert np.isfinite(graph.data).all()
    assert (graph != graph.T).nnz == 0


def test_cap_keeps_the_strongest():
    pooled = pool_sections({"a": section(0)})
    chosen = select_genes(pooled, GeneSettings(n_hvg=200, n_pcs=10, max_genes=7), seed=0)
    assert len(chosen) == 7
    everything = select_genes(pooled, SETTINGS, seed=0).set_index("gene")["log2_fold_change"].abs()
    assert chosen["log2_fold_change"].abs().min() >= everything.drop(chosen["gene"]).max()


def test_panel_keeps_its_order_and_drops_what_is_not_measured(tmp_path):
    text = "\N{ZERO WIDTH NO-BREAK SPACE}G7\n# panel\n\nNOPE\nG3\nG7\n"  # a byte order mark
    (tmp_path / "panel.txt").write_text(text, encoding="utf-8")
    pooled = pool_sections({"a": section(0)})
    chosen = select_genes(pooled, GeneSettings(panel=str(tmp_path / "panel.txt")), seed=0)
    assert chosen["gene"].tolist() == ["G7", "G3"]


def test_panel_of_another_species(tmp_path):
    (tmp_path / "panel.txt").write_text("Gfap\nMbp\n")
    with pytest.raises(UserError, match="none of its 2 genes"):
        select_genes(
            pool_sections({"a": section(0)}), GeneSettings(panel=str(tmp_path / "panel.txt")), 0
        )


def test_zero_shared_genes():
    other = section(1, [f"ENS{i}" for i in range(200)])
    with pytest.raises(UserError, match="no gene that all of them measure"):
        pool_sections({"a": section(0), "b": other})
