"""Scores of gene programs against independent computations, and what is skipped and why."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from histoscribe.errors import UserError
from histoscribe.expression import log_normalise, log_normalised
from histoscribe.programs.agreement import compare_scores, scores_of_halves
from histoscribe.programs.gathering import (
    SCORED,
    SKIPPED,
    gather_programs,
    genes_of_scored,
    programs_in_data,
)
from histoscribe.programs.scoring import (
    LEAST_BIN,
    MOST_BINS,
    leading_genes,
    n_expression_bins,
    score_sets,
)
from histoscribe.storage import read_h5ad

N_UNITS = 400
CONTROL_FROM = 0  # always
GENES = [f"GENE{i}" for i in range(240)]


@pytest.fixture(scope="module")
def units():
    """A grid of bins of 8 um; genes 0 to 7 are high in the left half."""
    rng = np.random.default_rng(0)
    row, column = np.divmod(np.arange(N_UNITS), 20)
    rate = rng.gamma(1.0, 0.5, len(GENES)) * np.ones((N_UNITS, 1))
    rate[:, :8] = np.where(column < 10, 2.0, 0.1)[:, None]
    counts = rng.poisson(rate)
    return ad.AnnData(
        sparse.csr_matrix(counts.astype(np.int32)),
        obs=pd.DataFrame({"umi": counts.sum(axis=1)}, index=[f"u{i}" for i in range(N_UNITS)]),
        var=pd.DataFrame(index=GENES),
        obsm={"spatial": np.column_stack([column * 8.0 + 4, row * 8.0 + 4])},
    )


def score_by_hand(values, genes, listed, seed):
    """Tirosh's score as Seurat and scanpy define it, in plain numpy and pandas."""
    n_bins = n_expression_bins(len(genes))
    mean = pd.Series(values.mean(axis=0, dtype=np.float64), index=genes)
    level = mean.rank(method="min") // round(len(genes) / (n_bins - 1))
    np.random.seed(seed)
    control = set()
    for one in sorted(level[listed].unique()):
        peers = level.index[level == one].to_series()
        drawn = peers.sample(50).index if len(peers) > 50 else peers.index
        control |= set(drawn) - set(listed)
    at = {gene: i for i, gene in enumerate(genes)}

    def mean_of(names):
        return values[:, [at[name] for name in names]].mean(axis=1, dtype=np.float64)

    return mean_of(listed) - mean_of(sorted(control))


def test_normalised_levels_are_those_of_the_models(units):
    for target_sum in ("median", 1000):
        sparse_levels = log_normalised(units, target_sum)
        dense = log_normalise(units.X, units.obs["umi"].to_numpy(), target_sum)
        np.testing.assert_allclose(sparse_levels.X.toarray(), dense, atol=1e-5)


def test_scores_as_computed_by_hand_sparse_and_dense(units):
    levels = log_normalised(units, "median")
    listed = [*GENES[:6], GENES[100]]
    expected = score_by_hand(levels.X.toarray(), GENES, listed, seed=3)
    dense = ad.AnnData(levels.X.toarray(), obs=levels.obs, var=levels.var)
    for data in (levels, dense):
        scores, failed = score_sets(data, {"left": listed}, seed=3, control_from=CONTROL_FROM)
        assert not failed
        np.testing.assert_allclose(scores["left"], expected, atol=1e-5)
        assert list(scores.index) == list(units.obs_names)
    is_left = units.obsm["spatial"][:, 0] < 80
    assert scores["left"][is_left].mean() > scores["left"][~is_left].mean() + 0.3
    other = score_sets(levels, {"left": listed}, seed=4, control_from=CONTROL_FROM)[0]
    assert not np.allclose(scores["left"], other["left"], atol=1e-4)  # other control genes
    assert "score" not in levels.obs  # the data are left as they are


def test_a_panel_has_no_control_genes(units):
    levels = log_normalised(units, "median")
    dense = ad.AnnData(levels.X.toarray(), obs=levels.obs, var=levels.var)
    expected = dense.X[:, :6].mean(axis=1)
    for data in (levels, dense):
        scores, failed = score_sets(data, {"left": GENES[:6]}, seed=0, control_from=241)
        assert not failed
        np.testing.assert_allclose(scores["left"], expected - expected.mean(), atol=1e-5)
    controlled, _ = score_sets(levels, {"left": GENES[:6]}, seed=0, control_from=240)
    assert not np.allclose(controlled["left"], scores["left"], atol=0.01)


@pytest.mark.parametrize("n_genes", [90, 150, 200, 250, 346, 1147, 1820, 18_084, 20_000])
def test_each_bin_has_genes_to_compare_with(n_genes):
    n_bins = n_expression_bins(n_genes)
    assert 2 <= n_bins <= MOST_BINS
    size = np.bincount(np.arange(1, n_genes + 1) // round(n_genes / (n_bins - 1)))
    if n_bins > 2:
        assert size.min() >= LEAST_BIN - 1
    if n_genes > 1800:
        assert n_bins >= MOST_BINS - 1  # scanpy's default where genes are many


def test_a_set_that_takes_up_the_panel_is_not_scored(units):
    panel = log_normalised(units[:, GENES[:8]], "median")
    scores, failed = score_sets(panel, {"all": GENES[:8]}, seed=0, control_from=CONTROL_FROM)
    assert scores.empty and scores.shape[0] == N_UNITS
    assert "no gene besides its own" in failed["all"]


def test_the_gene_that_leads_a_set(units):
    levels = log_normalised(units, "median")
    mean = np.asarray(levels.X.mean(axis=0)).ravel()
    listed = GENES[20:24]
    found = leading_genes(levels, {"a": listed, "one": GENES[:1]})
    first = 20 + int(mean[20:24].argmax())
    assert found.loc["a", "leading_gene"] == GENES[first]
    assert found.loc["a", "leading_share"] == pytest.approx(mean[first] / mean[20:24].sum())
    assert found.loc["one", "leading_share"] == 1


def write_sets(folder, name, rows):
    path = folder / name
    pd.DataFrame(rows, columns=["set", "gene", "species", "organ"]).to_csv(
        path, sep="\t", index=False
    )
    return path


def test_sets_are_named_once_and_what_is_skipped_is_said(tmp_path):
    one = write_sets(
        tmp_path,
        "one.tsv",
        [
            ("left", "GENE0,GENE1,GENE2,ABSENT", "human", ""),
            ("few", "GENE0,ABSENT", "", ""),
            ("mouse", "Gene0,Gene1,Gene2", "mouse", ""),
            ("empty", "", "", ""),
            ("cell", "GENE0,GENE1,GENE2", "", "Kidney"),
            ("cell", "GENE3,GENE4,GENE5", "", "Lung"),
        ],
    )
    two = write_sets(tmp_path, "two.tsv", [("left", "GENE0,GENE1,GENE2", "", "")])
    sets = gather_programs([one, two], organs=None)
    table = programs_in_data(sets, GENES, "section", min_genes=3).set_index("set")
    assert list(table.index) == [
        "left [one.tsv]",
        "few",
        "mouse",
        "cell (Kidney)",
        "cell (Lung)",
        "empty",
        "left [two.tsv]",
    ]
    assert table.loc["left [one.tsv]", ["n_genes", "n_present"]].tolist() == [4, 3]
    assert table.loc["left [one.tsv]", "genes_present"] == "GENE0,GENE1,GENE2"
    assert table.loc["few", "reason"] == "1 of 2 genes in the data, fewer than 3"
    assert table.loc["mouse", "reason"] == "of mouse genes; the data are human"
    assert table.loc["empty", "reason"] == "no gene in the set"
    assert (table["status"] == SKIPPED).sum() == 3
    assert (table.loc[table["status"] == SCORED, "reason"] == "").all()
    assert list(genes_of_scored(table.reset_index())) == [
        "left [one.tsv]",
        "cell (Kidney)",
        "cell (Lung)",
        "left [two.tsv]",
    ]

    assert "cell" not in set(gather_programs([one], organs=[])["set"])
    kidney = gather_programs([one], organs=["kidney"])
    assert set(kidney["organ"]) == {"", "Kidney"}
    only = write_sets(tmp_path, "only.tsv", [("cell", "GENE0", "", "Lung")])
    with pytest.raises(UserError, match="some of Lung"):
        gather_programs([only], organs=["Kidney"])


def test_a_file_of_another_species_stops_the_run(tmp_path):
    path = write_sets(tmp_path, "m.tsv", [("a", "Gene0,Gene1,Gene2,Gene3", "", "")])
    with pytest.raises(UserError, match=r"m\.tsv against section: found what looks like mouse"):
        programs_in_data(gather_programs([path], None), GENES, "section", 3)
    table = programs_in_data(gather_programs([path], None), GENES, "section", 3, ignore_case=True)
    assert table["genes_present"].tolist() == ["GENE0,GENE1,GENE2,GENE3"]


def test_the_programs_that_ship_serve_human_and_mouse(repository):
    sets = gather_programs([repository / "resources/programs.tsv"], None)
    assert not sets.duplicated(["set", "gene"]).any()
    neurons = sets[sets["set"].str.startswith("neurons")]
    assert (neurons.groupby("set").size() == 5).all()  # the paper's top five
    human = sorted(set(sets.loc[sets["species"].str.contains("human"), "gene"]))
    mouse = [gene.capitalize() for gene in human] + ["H2-Aa", "H2-Ab1", "H2-Eb1", "Cd74"]
    for genes, shown in ((human, "HLA-DRA"), (mouse, "H2-Aa")):
        table = programs_in_data(sets, genes, "section", 3)
        assert (table["status"] == SCORED).all()
        row = table.set_index("set").loc["immune, antigen presentation"]
        assert shown in row["genes_present"].split(",")
    assert sets.drop_duplicates("set")["set"].str.len().max() <= 36  # titles of small maps


def test_agreement_is_the_correlation_of_scores_and_of_their_means(units):
    programs = {"left": GENES[:6], "other": GENES[50:56]}
    levels = log_normalised(units, "median")
    measured, _ = score_sets(levels, programs, seed=0, control_from=CONTROL_FROM)
    panel = units[:, GENES[:120]].copy()
    on_panel, _ = score_sets(log_normalised(panel, "median"), programs, 0, 1000)
    halves = scores_of_halves(units, programs, "median", 0, CONTROL_FROM)
    of_panel = scores_of_halves(panel, programs, "median", 0, 1000)
    rng = np.random.default_rng(1)
    truth = np.where(units.obsm["spatial"][:, 0] < 80, 1.0, 0.0)
    predicted = pd.DataFrame(
        {"left": truth, "other": rng.random(N_UNITS), "unmeasured": truth}, index=units.obs_names
    )
    xy_um = units.obsm["spatial"]
    table = compare_scores(measured, predicted, on_panel, halves, of_panel, xy_um, 16.0, 0)
    assert table["set"].tolist() == ["left", "other"]
    left, other = table.to_dict("records")
    assert left["pcc"] == pytest.approx(np.corrcoef(truth, measured["left"])[0, 1])
    assert left["pcc_same_genes"] == pytest.approx(np.corrcoef(truth, on_panel["left"])[0, 1])
    near = np.linalg.norm(xy_um[:, None] - xy_um, axis=2) <= 16.1
    averaged = [near @ v / near.sum(axis=1) for v in (truth, measured["left"].to_numpy())]
    assert left["pcc_pooled"] == pytest.approx(np.corrcoef(*averaged)[0, 1], abs=1e-6)
    assert left["pcc_pooled"] > left["pcc"]
    # The truth is known here: it reaches its ceiling, and nothing reaches much above it.
    assert left["pcc"] == pytest.approx(left["ceiling"], abs=0.03)
    assert abs(other["pcc"]) < 0.2 and other["ceiling"] < 0.3
    r = np.corrcoef(halves[0]["left"], halves[1]["left"])[0, 1]
    assert left["ceiling"] == pytest.approx(np.sqrt(2 * r / (1 + r)))
    r = np.corrcoef(of_panel[0]["left"], of_panel[1]["left"])[0, 1]
    assert left["ceiling_same_genes"] == pytest.approx(np.sqrt(2 * r / (1 + r)))
    apart = compare_scores(measured, predicted, on_panel, halves, of_panel, xy_um * 100, 16.0, 0)
    assert apart["pcc_pooled"].isna().all() and apart["ceiling_pooled"].isna().all()
    assert apart["pcc"].tolist() == table["pcc"].tolist()


def test_halves_share_out_every_molecule(units):
    whole = np.asarray(units.X.todense())
    ones = ad.AnnData(units.X, obs=units.obs, var=units.var)
    a, b = scores_of_halves(ones, {"left": GENES[:6]}, "median", 0, CONTROL_FROM)
    assert a.shape == b.shape == (N_UNITS, 1)
    assert not np.allclose(a, b)
    assert (np.asarray(units.X.todense()) == whole).all()


def test_predictions_are_read_without_their_layers(units, tmp_path):
    levels = np.asarray(log_normalised(units, "median").X.todense())
    adata = ad.AnnData(levels, obs=units.obs, var=units.var, obsm=dict(units.obsm))
    adata.layers["lower"] = levels
    adata.write_h5ad(tmp_path / "p.h5ad")
    read = read_h5ad(tmp_path / "p.h5ad", ())
    assert (levels == read.X).all() and not read.layers
    assert list(read.var_names) == GENES
    (tmp_path / "broken.h5ad").write_bytes(b"x")
    with pytest.raises(UserError, match=r"broken\.h5ad"):
        read_h5ad(tmp_path / "broken.h5ad", ())
