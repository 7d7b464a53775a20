"""Programs of the nephron on the real kidney: they lie where their known genes are counted."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from histoscribe.evaluation.scores import pearson
from histoscribe.expression import log_normalised
from histoscribe.gene_sets import read_gene_sets
from histoscribe.neighbourhood import within
from histoscribe.programs.agreement import compare_scores, scores_of_halves
from histoscribe.programs.enrichment import TermSize, enriched_terms
from histoscribe.programs.gathering import gather_programs, genes_of_scored, programs_in_data
from histoscribe.programs.scoring import leading_genes, score_sets
from histoscribe.readers.hdf5_10x import read_10x_matrix

KNOWN = {  # a gene that is left out of its program, and counted instead
    "kidney: thick ascending limb": "UMOD",
    "kidney: podocyte": "NPHS2",
    "kidney: proximal tubule": "ALDOB",
    "kidney: collecting duct principal": "AQP2",
}

CONTROL_FROM = 1000


@pytest.fixture(scope="module")
def kidney(real_data):
    folder = real_data / "visium_hd_kidney/kidney-c/binned_outputs/square_008um"
    matrix = read_10x_matrix(folder / "filtered_feature_bc_matrix.h5")
    barcodes = matrix.barcodes.to_pylist()
    grid = np.array([name.split("_")[2:4] for name in barcodes])
    row, column = (np.array([part.split("-")[0] for part in c], dtype=float) for c in grid.T)
    umi = np.asarray(matrix.counts.sum(axis=1)).ravel()
    return ad.AnnData(
        matrix.counts,
        obs=pd.DataFrame({"umi": umi}, index=barcodes),
        var=matrix.var[[]],
        obsm={"spatial": np.column_stack([column, row]) * 8.0},
    )


@pytest.fixture(scope="module")
def programs(kidney, repository):
    sets = gather_programs([repository / "resources/programs.tsv"], organs=["Kidney"])
    return genes_of_scored(programs_in_data(sets, kidney.var_names, "kidney-c", 3))


def test_programs_lie_where_their_genes_are_counted(kidney, programs):
    assert len(programs) > 15 and not any(name.startswith("neurons") for name in programs)
    levels = log_normalised(kidney, "median")
    without = {name: [g for g in programs[name] if g != gene] for name, gene in KNOWN.items()}
    scores, failed = score_sets(levels, without, seed=0, control_from=CONTROL_FROM)
    assert not failed
    near = within(kidney.obsm["spatial"], kidney.obsm["spatial"], 24.0)
    genes = levels[:, list(KNOWN.values())].X.toarray()
    pooled = [near @ values for values in (scores.to_numpy(), genes)]
    agreement = np.array(
        [[pearson(a[:, None], b[:, None])[0] for b in pooled[1].T] for a in pooled[0].T]
    )
    assert (agreement.argmax(axis=1) == np.arange(len(KNOWN))).all(), agreement
    assert (agreement.argmax(axis=0) == np.arange(len(KNOWN))).all(), agreement
    assert np.diag(agreement).min() > 0.3, agreement


def test_what_is_signal_and_what_one_gene_carries(kidney, programs, repository):
    sets = gather_programs([repository / "resources/programs.tsv"], organs=None)
    every = genes_of_scored(programs_in_data(sets, kidney.var_names, "kidney-c", 3))
    chosen = {n: g for n, g in every.items() if n.startswith("neurons: L") or n in KNOWN}
    levels = log_normalised(kidney, "median")
    scores, _ = score_sets(levels, chosen, seed=0, control_from=CONTROL_FROM)
    halves = scores_of_halves(kidney, chosen, "median", 0, CONTROL_FROM)
    xy_um = kidney.obsm["spatial"]
    table = compare_scores(scores, scores, scores, halves, halves, xy_um, 32.0, 0).set_index("set")
    assert table["pcc"].tolist() == pytest.approx([1.0] * len(chosen))
    ceiling = table["ceiling_pooled"]
    assert ceiling[list(KNOWN)].min() > 0.8, ceiling
    assert ceiling.drop(list(KNOWN)).median() < 0.7, ceiling
    # Calbindin, of the distal tubule here, makes kidneys seem to have neurons of layer 2/3.
    leading = leading_genes(levels, chosen)
    assert leading.loc["neurons: L2/3 IT", "leading_gene"] == "CALB1"
    assert leading.loc["neurons: L2/3 IT", "leading_share"] > 0.5
    assert leading.loc["kidney: proximal tubule", "leading_share"] < 0.5


def test_markers_of_podocytes_are_rich_in_their_terms(kidney, programs, real_data: Path):
    """The genes that rise most where the program is high, in GO."""
    levels = log_normalised(kidney, "median")
    scores, _ = score_sets(levels, programs, seed=0, control_from=CONTROL_FROM)
    near = within(kidney.obsm["spatial"], kidney.obsm["spatial"], 24.0)
    pooled = near @ scores["kidney: podocyte"].to_numpy()
    is_high = pooled > np.quantile(pooled, 0.97)
    x = levels.X.tocsr()
    inside, outside = (np.asarray(x[mask].mean(axis=0)).ravel() for mask in (is_high, ~is_high))
    top = kidney.var_names[np.argsort(outside - inside)[:50]]
    assert {"NPHS2", "PODXL"} <= set(top)
    sets = read_gene_sets(real_data / "gene_sets/GO_Biological_Process_2021.gmt")
    found = enriched_terms({"high": top}, kidney.var_names, sets, TermSize(5, 500))
    significant = found[found["adjusted_p"] < 0.05]
    assert significant["term"].str.contains("glomerul|nephron|renal").any(), significant["term"]
    assert (found["n_background"] == kidney.n_vars).all()
