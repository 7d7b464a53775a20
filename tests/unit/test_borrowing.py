"""What integrated sections lend each other: labels and genes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from histoscribe.errors import UserError
from histoscribe.evaluation.scores import pearson
from histoscribe.integration.borrowing import like_units, transfer_labels
from histoscribe.integration.genes import most_variable
from histoscribe.integration.hiding import hidden_genes, without_genes
from histoscribe.integration.inference import (
    describe,
    donors_of,
    infer_genes,
    log_expression,
    log_expression_alike,
    strips_of,
    transferred_genes,
)
from histoscribe.integration.label_scores import SCORE_COLUMNS, label_confusion, label_scores
from histoscribe.integration.sections import Section

N_UNITS, N_GENES = 300, 40


def section(name, seed, genes=N_GENES):
    """A section whose genes follow two directions, and these: what a latent space would hold."""
    rng = np.random.default_rng(seed)
    position = rng.uniform(-1, 1, (N_UNITS, 2))
    direction = np.random.default_rng(0).standard_normal((2, N_GENES))
    counts = rng.poisson(5 * np.exp(position @ direction))[:, :genes]
    names = pd.Index([f"G{i}" for i in range(genes)])
    units = pd.Index([f"u{i}" for i in range(N_UNITS)])
    xy_um = rng.uniform(0, 100, (N_UNITS, 2))
    counts = sparse.csr_matrix(counts.astype(np.float32))
    return Section(name, counts, names, units, xy_um, False, "cell"), position


def test_weights_are_of_the_nearest_and_sum_to_one():
    weights = like_units(np.array([[0.0], [10.0]]), np.array([[0.1], [0.3], [9.0], [50.0]]), 2)
    assert np.allclose(weights.sum(axis=1), 1)
    assert list(np.flatnonzero(weights.toarray()[0])) == [0, 1]
    assert weights[0, 0] > weights[0, 1]
    assert like_units(np.zeros((3, 2)), np.zeros((2, 2)), 15).shape == (3, 2)


def test_labels_come_from_other_sections_alone():
    rng = np.random.default_rng(0)
    position = rng.uniform(-1, 1, (600, 2))
    name = np.repeat(["one", "two"], 300)
    label = pd.Series(np.where(position[:, 0] > 0, "right", "left"), dtype=object)
    label[name == "two"] = label[name == "two"].map({"right": "left", "left": "right"})
    found = transfer_labels(position, name, label, 15)
    assert (found["transferred"] != label).mean() > 0.9  # the own section's would agree
    label[name == "two"] = np.nan
    found = transfer_labels(position, name, label, 15)
    assert found["transferred"][name == "one"].isna().all()
    truth = np.where(position[:, 0] > 0, "right", "left")
    assert (found["transferred"] == truth)[name == "two"].mean() > 0.95
    assert found["confidence"][name == "two"].between(0.5, 1.0001).all()
    assert label_scores("latent", name, name, label, found["transferred"]) == []
    assert label_confusion(name, label, found["transferred"]).empty


def test_transferred_labels_are_scored_by_section():
    name = np.repeat(["one", "two"], 4)
    label = pd.Series(["a", "a", "b", "c", "a", "b", "b", None], dtype=object)
    given = pd.Series(["a", "a", "b", "b", "a", "b", "a", "a"], dtype=object)
    table = pd.DataFrame(label_scores("latent", name, name, label, given))[SCORE_COLUMNS]
    table = table.set_index("section")
    assert list(table.index) == ["one", "two", "all"]
    assert table.loc["one", "accuracy"] == pytest.approx(0.75)
    assert table.loc["two", "accuracy"] == pytest.approx(2 / 3)
    assert table.loc["one", ["n_labels", "n_labels_elsewhere"]].tolist() == [3, 2]
    assert table.loc["all", "n_labels_elsewhere"] == 2
    one_tissue = np.repeat("one", 8)  # measured and predicted
    table = pd.DataFrame(label_scores("latent", name, one_tissue, label, given))
    assert (table["n_labels_elsewhere"] == 0).all()
    confusion = label_confusion(name, label, given)
    own = confusion[(confusion["against"] == "one") & (confusion["reference"] == "c")]
    assert own.set_index("predicted").loc["b", "n_units"] == 1


def test_a_gene_never_measured_is_inferred():
    (donor, among), (receiver, position) = section("donor", 1), section("receiver", 2)
    hidden = hidden_genes([donor, receiver], ["receiver"], 10, seed=0)
    assert len(set(hidden)) == 10
    blind = without_genes(receiver, hidden)
    assert not set(hidden) & set(blind.genes)
    assert blind.counts.shape == (N_UNITS, N_GENES - 10)
    truth = log_expression(receiver, hidden).toarray()
    genes = list(receiver.genes)
    giver, taker = describe([donor, blind], [among, position], genes, hidden, seed=0)
    assert taker.own.shape == (N_UNITS, 29)  # one component fewer than genes
    inferred = infer_genes(taker, [giver], hidden)
    nearest = transferred_genes(taker, [giver], hidden, 1)
    assert pearson(truth, inferred).mean() > 0.7
    assert pearson(truth, inferred).mean() > pearson(truth, nearest).mean() + 0.05
    rows = np.random.default_rng(0).permutation(N_UNITS)
    shuffled = replace(taker, latent=taker.latent[rows], own=taker.own[rows])
    assert abs(pearson(truth, infer_genes(shuffled, [giver], hidden)).mean()) < 0.15


def test_each_gene_comes_from_the_sections_that_measure_it():
    wide, among_wide = section("wide", 1)
    narrow, among_narrow = section("narrow", 2, genes=20)
    genes = [gene for gene in narrow.genes if gene != "G1"]
    silent = narrow.counts @ sparse.diags((narrow.genes != "G1").astype(np.float32))
    found = []
    for counts in (narrow.counts, silent.tocsr()):
        donors = [wide, replace(narrow, counts=counts)]
        latents = [among_wide, among_narrow]
        described = describe([*donors, wide], [*latents, among_wide], genes, [], seed=0)
        found.append(infer_genes(described[2], described[:2], ["G30", "G1"]))
    assert found[0].shape == (N_UNITS, 2)
    means = [made.mean(axis=0) for made in found]
    assert means[1][0] == pytest.approx(means[0][0], rel=0.05)  # of the wide section alone
    assert means[1][1] < 0.7 * means[0][1]  # of both
    with pytest.raises(UserError, match="found G99; expected genes that a section"):
        infer_genes(described[2], described[:2], ["G99"])


def test_donors_that_lack_a_gene_lend_none_of_it():
    """Where a donor lacks a gene, transfer goes by the others alone, not by another gene."""
    wide, among_wide = section("wide", 1)
    narrow, among_narrow = section("narrow", 2, genes=20)
    receiver, position = section("receiver", 3)
    genes = list(narrow.genes)
    latents = [among_wide, among_narrow, position]
    wide, narrow, receiver = describe([wide, narrow, receiver], latents, genes, [], seed=0)
    both = transferred_genes(receiver, [wide, narrow], ["G30"], 5)
    alone = transferred_genes(receiver, [wide], ["G30"], 5)
    assert np.corrcoef(both[:, 0], alone[:, 0])[0, 1] > 0.99
    with pytest.raises(ValueError, match="narrow lacks"):
        log_expression(narrow.section, ["G30"])


def test_donors_of_unlike_panels_are_on_one_scale():
    wide, _ = section("wide", 1)
    narrow, _ = section("narrow", 2, genes=20)
    one, other = (x.toarray() for x in log_expression_alike([wide, narrow], ["G3", "G7"]))
    assert np.allclose(one.mean(axis=0), other.mean(axis=0), rtol=0.15)


def test_empty_units_do_not_set_the_scale():
    some, _ = section("some", 1)
    keep = sparse.diags((np.arange(N_UNITS) % 5 < 2).astype(np.float32))
    sparse_one = replace(some, counts=(keep @ some.counts).tocsr())
    values = log_expression(sparse_one, ["G3"]).toarray()[::5]
    assert values.mean() > 0.5
    assert np.allclose(values, log_expression_alike([sparse_one], ["G3"])[0].toarray()[::5])


def test_genes_asked_for_are_not_inferred_from_themselves():
    (donor, among), (receiver, position) = section("donor", 1), section("receiver", 2)
    sections, places = [donor, receiver], [among, position]
    asked = ["G1", "G2"]
    rest = [gene for gene in donor.genes if gene not in asked]
    told = [
        describe(sections, places, genes, asked, 0)[1].own for genes in (list(donor.genes), rest)
    ]
    assert np.array_equal(*told)


def test_donors_are_of_other_tissue():
    names = ["one", "one.predicted", "two", "three"]
    parts = [{"name": name, "tissue": name.removesuffix(".predicted")} for name in names]
    lenders = donors_of(parts, "one", ["one", "three"])
    assert [part["name"] for part in lenders] == ["two"]
    with pytest.raises(UserError, match="no other tissue"):
        donors_of(parts[:2], "one", ["one"])


def test_genes_that_are_few_are_ranked_among_all():
    one = section("one", 1)[0]
    narrow = section("narrow", 2, genes=20)[0]
    assert set(most_variable([one, narrow], ["G30", "G31"], 5)) == {"G30", "G31"}
    assert most_variable([one], ["G99"], 5) == []


def test_strips_are_even_and_run_along_the_section():
    xy_um = np.random.default_rng(0).uniform(0, [100, 1000], (50, 2))
    strips = strips_of(xy_um)
    assert np.bincount(strips).tolist() == [10] * 5
    assert (np.diff(strips[np.argsort(xy_um[:, 1])]) >= 0).all()


def test_too_many_hidden_genes_are_refused():
    sections = [section("donor", 1)[0], section("receiver", 2)[0]]
    with pytest.raises(UserError, match="found 30 of 40 genes that receiver"):
        hidden_genes(sections, ["receiver"], 30, seed=0)
