"""Factors told by genes and places, spatially variable genes, and their figure."""

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_text import overlapping, width_mm
from scipy import sparse

from histoscribe.evaluation.spatial import morans_i, neighbour_weights
from histoscribe.figures.factors import (
    best_terms,
    draw_factors,
    drawn_factors,
    drawn_sections,
    factor_maps,
)
from histoscribe.figures.style import use_style
from histoscribe.integration.factors import (
    describe_factors,
    factor_genes,
    specificity,
    states,
    told_by,
)
from histoscribe.integration.gene_shares import Counted, refit_shares
from histoscribe.integration.sections import Section
from histoscribe.integration.variable_genes import morans_test, variable_genes
from histoscribe.programs.enrichment import loading_lists

EDGE, N_GENES, N_FACTORS = 20, 40, 5
GENES = [f"G{number}" for number in range(N_GENES)]
FACTORS = [f"factor_{number + 1}" for number in range(N_FACTORS)]
MARKERS = {"factor_1": ["G0", "G1", "G2"], "factor_2": ["G5", "G6", "G7"], "factor_3": ["G10"]}
RARE = "G39"  # of next to no molecules


def grid(edge=EDGE):
    x, y = np.meshgrid(np.arange(edge), np.arange(edge))
    return 10.0 * np.column_stack([x.ravel(), y.ravel()])


def planted(seed=0):
    """Proportions (n_units, 5): three thirds of the section, one uniform, one absent; counts."""
    rng = np.random.default_rng(seed)
    third = (grid()[:, 0] * 3 // (10 * EDGE)).astype(int)
    proportions = np.full((EDGE**2, N_FACTORS), 0.05)
    proportions[np.arange(EDGE**2), third] = 0.6
    proportions[:, 3] = 0.28
    proportions[:, 4] = 0.02
    proportions /= proportions.sum(axis=1, keepdims=True)
    shares = rng.uniform(1, 3, N_GENES) * np.ones((N_FACTORS, 1))
    shares[:, -1] = 1e-4
    for number, names in enumerate(MARKERS.values()):
        shares[number, [GENES.index(name) for name in names]] *= 8
    shares /= shares.sum(axis=1, keepdims=True)
    counts = rng.poisson(150 * proportions @ shares).astype(np.float32)
    counts[0, -1] = 1  # one molecule of a gene that is nowhere else
    return proportions, shares, sparse.csr_matrix(counts)


def interpreted():
    proportions, shares, counts = planted()
    mean = np.tile(counts.toarray().mean(axis=0) + 0.01, (N_FACTORS, 1))
    trained = mean / mean.sum(axis=1, keepdims=True)
    found = refit_shares(trained, [Counted(counts, proportions, np.zeros(N_GENES))])
    table = pd.DataFrame(found, FACTORS, GENES)
    use = proportions.mean(axis=0)
    genes = factor_genes(table, specificity(table, use))
    return proportions, shares, found, genes


def integrated(proportions):
    n = len(proportions)
    obs = pd.DataFrame(
        {"section": pd.Categorical(["a"] * n + ["b"] * n), "unit": list(map(str, range(n))) * 2},
        index=[f"{s}/{u}" for s in "ab" for u in range(n)],
    )
    obs["domain"] = pd.Categorical(1 + np.tile(proportions[:, :3].argmax(axis=1), 2))
    units = ad.AnnData(obs=obs)
    units.obsm["factors"] = np.vstack([proportions, proportions]).astype(np.float32)
    units.obsm["spatial"] = np.vstack([grid(), grid()])
    return units


def test_planted_factors_are_named_by_their_markers():
    _, shares, found, genes = interpreted()
    assert np.allclose(found.sum(axis=1), 1)
    assert np.corrcoef(found[0], shares[0])[0, 1] > 0.98
    lists = loading_lists(genes, 3)
    for factor, names in MARKERS.items():
        assert set(lists[factor][: len(names)]) == set(names)
    assert RARE not in genes.loc[genes["loading"] > 0, "gene"].tolist()
    assert genes.loc[genes["loading"] > 0, "log2_fold"].min() >= 0.5
    best = told_by(genes, ["factor_1", "factor_2", "factor_3"])
    assert best.loc["G6", "factor"] == "factor_2"
    assert list(best.index.sort_values()) == sorted(GENES)


def test_a_gene_that_a_section_lacks_is_learnt_from_the_other():
    proportions, shares, counts = planted()
    lacking = counts.toarray()
    lacking[:, 0] = 0
    offset = np.where(np.arange(N_GENES) == 0, np.nan, 0.0)
    both = [
        Counted(counts, proportions, np.zeros(N_GENES)),
        Counted(sparse.csr_matrix(lacking), proportions, offset),
    ]
    start = np.full((N_FACTORS, N_GENES), 1 / N_GENES)
    found, alone = refit_shares(start, both), refit_shares(start, both[:1])
    assert found[0, 0] == pytest.approx(alone[0, 0], rel=0.03)
    assert found[0, 0] == pytest.approx(shares[0, 0], rel=0.25)


def test_factors_are_described_by_place_use_and_likeness():
    proportions, _, _, genes = interpreted()
    table = describe_factors(integrated(proportions), genes).set_index("factor")
    assert table["state"].tolist() == ["used"] * 3 + ["uniform", "absent"]
    assert table["is_used"].sum() == 3
    assert table["most_in_domain"].tolist()[:3] == [1, 2, 3]
    assert table.loc["factor_1", "morans_i"] > 0.8
    assert table.loc["factor_1", "mean a"] == pytest.approx(proportions[:, 0].mean())
    assert table.loc["factor_1", "correlation"] < 0
    assert table.loc["factor_4", "likest_factor"] == ""
    assert set(table.loc["factor_2", "top_genes"].split(",")[:3]) == set(MARKERS["factor_2"])
    assert sorted(drawn_factors(table.reset_index(), 2)) != ["factor_4", "factor_5"]
    assert len(drawn_factors(table.reset_index(), 8)) == 3


def test_a_factor_of_few_units_is_used_and_one_of_noise_is_not():
    rng = np.random.default_rng(0)
    proportions = rng.uniform(0, 0.05, (4000, 2))
    proportions[:40, 0] = 0.8  # a hundredth
    assert states(proportions).tolist() == ["used", "absent"]


@pytest.mark.parametrize("n_with", [20, 200])
def test_p_of_morans_i_is_even_where_there_is_no_pattern(n_with):
    rng = np.random.default_rng(n_with)
    xy_um = grid(50)
    values = np.zeros((len(xy_um), 500))
    for gene in range(values.shape[1]):
        values[rng.choice(len(xy_um), n_with, replace=False), gene] = rng.gamma(2, size=n_with)
    weights = neighbour_weights(xy_um)
    index, p = morans_test(sparse.csc_matrix(values), weights)
    assert np.allclose(index, morans_i(values, weights))
    for level, low, high in ((0.5, 0.4, 0.6), (0.05, 0.02, 0.08), (0.002, 0, 0.01)):
        assert low <= (p < level).mean() <= high


def test_genes_that_vary_in_space_are_found_and_others_are_not():
    rng = np.random.default_rng(0)
    xy_um = grid()
    depth = rng.gamma(5, 0.2, len(xy_um))[:, None]
    rate = np.ones((len(xy_um), 200))
    rate[:, :5] = 1 + 2 * (xy_um[:, :1] > 100)
    counts = rng.poisson(rate * depth).astype(np.float32)
    counts[:, 199] = 0
    counts[:5, 199] = 1  # found in too few units
    genes = pd.Index([f"G{i}" for i in range(200)])
    made = Section("a", sparse.csr_matrix(counts), genes, pd.Index(map(str, range(400))), xy_um,
                   False)  # fmt: skip
    table = variable_genes(made)
    assert set(table["gene"][:5]) == {"G0", "G1", "G2", "G3", "G4"}
    assert (table["p"][:5] < 1e-6).all()
    assert (table["q"][5:] < 0.05).mean() <= 0.02
    assert "G199" not in set(table["gene"])


def test_factor_figure_holds_its_words(repository):
    use_style(repository / "resources" / "matplotlibrc")
    proportions, _, _, genes = interpreted()
    units = integrated(proportions)
    long = "a-very-long-name-of-a-section-or-gene-that-somebody-gave-it"
    units.obs["section"] = units.obs["section"].cat.rename_categories({"a": long})
    table = describe_factors(units, genes)
    table["top_genes"] = [f"{long},ABCDEFGH1,ABCDEFGH2,ABCDEFGH3,ABCDEFGH4,ABCDEFGH5"] * N_FACTORS
    terms = pd.DataFrame(
        {"group": ["factor_1"] * 2, "name": ["worse", long], "p": [0.01, 0.001], "adjusted_p": 0.01}
    )
    named = best_terms(terms, 0.05)
    assert named == {"factor_1": long}
    maps = factor_maps(units, drawn_factors(table))
    page = draw_factors(maps, table, named, long)
    assert overlapping(page.figure) == []
    assert width_mm(page.figure) <= 186
    assert len(maps) == 2 * EDGE**2
    none = table.assign(is_used=False)
    assert drawn_factors(none) == []
    draw_factors(factor_maps(units, []), none, {}, "none")
    plt.close("all")


def test_of_many_sections_some_are_drawn_from_first_to_last():
    names = [f"s{i}" for i in range(13)]
    drawn = drawn_sections(names, 6)
    assert (len(set(drawn)), drawn[0], drawn[-1]) == (6, "s0", "s12")
