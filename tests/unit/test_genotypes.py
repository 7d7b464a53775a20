"""Genotypes of units, their dosage, and expression beside matched neighbours and chance."""

import numpy as np
import pandas as pd
import pytest
from made_up_cells import made_up_places
from scipy import sparse

from histoscribe.genome.association import (
    associate,
    matched_contrast,
    matched_weights,
    shares_near,
)
from histoscribe.genome.contrast import Contrast, contrast
from histoscribe.genome.dna import DnaFeatures
from histoscribe.genome.dosage import dosage
from histoscribe.genome.genotypes import comparable, genotypes_of, log2_copies
from histoscribe.genome.territories import random_field, smoothness, territories

N = 400


def dna_of(**columns):
    """Features by their names: text is a clone, chr... a segment, else a mutation."""
    table = pd.DataFrame(columns)
    kinds = {}
    for name in table:
        kinds[name] = "segment" if name.startswith("chr") else "mutation"
        if table[name].dtype == object:
            kinds[name] = "clone"
    return DnaFeatures(table, kinds)


@pytest.fixture
def cells():
    """Places of two kinds of units, and where x is in the right half."""
    rng = np.random.default_rng(0)
    xy_um = rng.uniform(0, 600, (N, 2))
    kind = np.where(rng.random(N) < 0.7, "tumour", "T")
    return xy_um, kind, xy_um[:, 0] > 300


def weights_of(carrier, kind, xy_um, reach_um=150.0):
    return matched_weights(carrier[None], kind, xy_um, reach_um)[0]


def test_only_kinds_with_both_are_compared():
    carrier = np.array([True] * 30 + [False] * 30 + [True] * 25 + [False] * 5 + [True, False] * 20)
    kind = np.repeat(["a", "b", ""], [60, 30, 40])
    assert comparable(carrier, kind, 20).tolist() == (kind == "a").tolist()
    assert comparable(carrier, kind, 5).tolist() == (kind != "").tolist()
    assert not comparable(carrier, kind, 31).any()
    assert not comparable(np.ones(130, dtype=bool), kind, 1).any()


def test_each_question_is_asked_once():
    clone = np.repeat(["A", "B", "C"], [50, 60, 70]).astype(object)
    in_a = (clone == "A").astype(float)
    almost = in_a.copy()
    almost[0] = 0
    dna = dna_of(clone=clone, TP53=in_a, KRAS=1 - in_a, NRAS=almost,
                 chr3=np.where(clone == "B", 3.0, 2.0), chr4=np.full(180, 2.0))  # fmt: skip
    found = genotypes_of(dna, np.full(180, "tumour"), 20)
    # KRAS is the complement of clone A: no name of its own, and no question of its own.
    assert [one.names for one in found] == [("A", "TP53", "NRAS"), ("B", "chr3 altered"), ("C",)]
    assert all(one.comparable.all() for one in found)
    assert [int(one.carrier.sum()) for one in found] == [50, 60, 70]


def test_of_two_clones_one_is_asked():
    clone = np.repeat(["A", "B"], [50, 60]).astype(object)
    found = genotypes_of(dna_of(clone=clone), np.full(110, "tumour"), 20)
    assert [one.names for one in found] == [("A",)]


def test_units_without_dna_are_of_neither_side():
    clone = np.repeat(["A", "B", None], [50, 60, 70]).astype(object)
    tp53 = np.repeat([1.0, np.nan, 0.0], [50, 60, 70])
    found = genotypes_of(dna_of(clone=clone, TP53=tp53), np.full(180, "tumour"), 20)
    assert [one.name for one in found] == ["A", "TP53"]
    assert np.flatnonzero(found[0].comparable).tolist() == list(range(110))
    assert np.flatnonzero(found[1].comparable).tolist() == [*range(50), *range(110, 180)]
    assert not genotypes_of(dna_of(clone=clone), np.full(180, "tumour"), 51)


def test_columns_of_clones_keep_their_names():
    clone = np.repeat(["A", "B"], 50).astype(object)
    found = genotypes_of(dna_of(cnv_clone=clone), np.full(100, "tumour"), 20)
    assert [one.name for one in found] == ["cnv_clone: A"]


def test_copies_of_genes_are_of_their_segments():
    places = made_up_places(3, 10)
    places.loc["GENE29", "chromosome"] = None
    carrier = np.repeat([True, False], 20)
    weights = np.where(carrier, 1 / 20, -1 / 20)
    weights[:10], weights[10:20] = 0.1, 0.0  # only these are matched
    segment = np.where(np.arange(40) < 10, 8.0, np.where(carrier, 99.0, 2.0))
    gone = np.where(carrier, 0.0, 2.0)
    unknown = np.where(carrier, np.nan, 2.0)
    dna = dna_of(**{"chr1:3000001-5000001": segment, "chr2": gone, "chr9": unknown})
    found = log2_copies(dna, places, weights)
    # By the middle of the gene, 25 kb on from its start.
    assert np.flatnonzero(found[:10]).tolist() == [3, 4] and found[3] == pytest.approx(2)
    assert np.allclose(found[10:20], np.log2(0.1 / 2))
    assert np.allclose(found[20:29], 0) and np.isnan(found[29])


def test_sides_are_the_same_kinds_at_the_same_places(cells):
    xy_um, kind, is_right = cells
    rng = np.random.default_rng(1)
    # Tumour units carry it, mostly on the right; T cells seldom.
    carrier = rng.random(N) < np.where(kind == "tumour", np.where(is_right, 0.8, 0.3), 0.1)
    weights = weights_of(carrier, kind, xy_um)
    assert weights[carrier].sum() == pytest.approx(1) and (weights[carrier] >= 0).all()
    assert weights[~carrier].sum() == pytest.approx(-1) and (weights[~carrier] <= 0).all()
    for name in ("tumour", "T"):
        assert weights[kind == name].sum() == pytest.approx(0, abs=1e-6)
    # What changes smoothly over the section, and between kinds, differs by little between sides.
    gradient = xy_um @ [1 / 600, 0.5 / 600] + 3 * (kind == "tumour")
    naive = gradient[carrier].mean() - gradient[~carrier].mean()
    assert naive > 0.5 and abs(weights @ gradient) < 0.03 * naive


def test_shares_are_of_neighbours_of_the_same_kind(cells, monkeypatch):
    xy_um, kind, is_right = cells
    carriers = np.column_stack([is_right, np.random.default_rng(0).random(N) < 0.3])
    apart = np.linalg.norm(xy_um[:, None] - xy_um[None], axis=2)
    near = (apart <= 90) & (kind[:, None] == kind[None])
    expected = near.astype(float) @ carriers / near.sum(axis=1)[:, None]
    assert np.allclose(shares_near(carriers, kind, xy_um, 90), expected, atol=1e-6)
    monkeypatch.setattr("histoscribe.genome.association.PAIRS_AT_ONCE", 100)
    assert np.allclose(shares_near(carriers, kind, xy_um, 90), expected, atol=1e-6)


def test_carriers_without_others_in_reach_weigh_nothing(cells):
    xy_um, kind, is_right = cells
    apart = xy_um + np.where(is_right, 1000, 0)[:, None]
    assert not weights_of(is_right, kind, apart).any()
    only = (kind == "tumour") & is_right
    assert not weights_of(only, np.where(only, "tumour", "T"), xy_um).any()


def test_territories_of_chance_have_as_many_carriers_of_each_kind(cells):
    xy_um, kind, is_right = cells
    drawn = list(territories(is_right, kind, xy_um, 20, 3))
    assert len(drawn) == 20 and len({one.tobytes() for one in drawn}) == 20
    for one in drawn:
        for name in ("tumour", "T"):
            assert one[kind == name].sum() == is_right[kind == name].sum()
    again = list(territories(is_right, kind, xy_um, 20, 3))
    assert np.array_equal(drawn, again)
    # Anywhere: no unit carries it more often than its kind's share and chance say.
    share = np.mean(list(territories(is_right, kind, xy_um, 200, 4)), axis=0)
    assert abs(share - is_right.mean()).max() < 0.25


def shared_near(carrier, xy_um):
    """Share of pairs within 40 um that are of one genotype."""
    apart = np.linalg.norm(xy_um[:, None] - xy_um[None], axis=2)
    first, second = np.nonzero((apart < 40) & (apart > 0))
    return (carrier[first] == carrier[second]).mean()


@pytest.mark.parametrize("ragged", [0.0, 0.25, 1.0])
def test_territories_of_chance_are_as_ragged(ragged):
    rng = np.random.default_rng(5)
    xy_um, kind = rng.uniform(0, 800, (1200, 2)), np.full(1200, "tumour")
    carrier = random_field(xy_um, 250, 0.0, rng) > 0
    dealt = rng.random(1200) < ragged
    carrier[dealt] = rng.permutation(carrier[dealt])
    drawn = [shared_near(one, xy_um) for one in territories(carrier, kind, xy_um, 30, 0)]
    assert np.mean(drawn) == pytest.approx(shared_near(carrier, xy_um), abs=0.05)


def test_units_at_one_place_have_no_territories():
    carrier = np.repeat([True, False], 30)
    place = np.zeros((60, 2)), np.random.default_rng(0)
    assert smoothness(carrier, np.full(60, "a"), *place) == (0, 1)


def values_on(xy_um, seed, n_genes=120):
    """log1p counts of genes that change smoothly over the section, (n_units, n_genes)."""
    rng = np.random.default_rng(seed)
    rate = np.column_stack(
        [np.exp(0.6 * random_field(xy_um, 120, 0.3, rng)) for _ in range(n_genes)]
    )
    return sparse.csr_matrix(np.log1p(rng.poisson(rate).astype(np.float64)))


NAMES = pd.Index([f"GENE{i}" for i in range(120)])


def table_of(values, carrier, kind, xy_um, seed=0):
    others = np.array(list(territories(carrier, kind, xy_um, 80, seed)))
    by_chance = matched_weights(others, kind, xy_um, 150.0)
    return associate(values, NAMES, weights_of(carrier, kind, xy_um), by_chance)


@pytest.mark.parametrize("is_smooth", [False, True])
def test_chance_alone_is_below_five_per_cent_as_often(is_smooth):
    """Over 16 sections 5 % of genes have p < 0.05: within 3.5 to 7.5 %, as genes hang together."""
    share = []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        xy_um, kind = rng.uniform(0, 600, (N, 2)), np.where(rng.random(N) < 0.7, "tumour", "T")
        field = random_field(xy_um, 150, 0.1, rng) if is_smooth else rng.random(N)
        carrier = field > np.median(field)
        table = table_of(values_on(xy_um, seed), carrier, kind, xy_um, seed)
        share.append((table["p"] < 0.05).mean())
    assert 0.035 < np.mean(share) < 0.075, share


def test_planted_genes_are_found(cells):
    xy_um, kind, _ = cells
    rng = np.random.default_rng(2)
    carrier = random_field(xy_um, 80, 0.1, rng) > 0
    values = values_on(xy_um, 9).toarray()
    linear = np.expm1(values)
    linear[carrier, 0] += rng.poisson(2.5, carrier.sum())
    linear[carrier, 1] = 0
    values = sparse.csr_matrix(np.log1p(linear))
    table = table_of(values, carrier, kind, xy_um)
    assert set(table["gene"][:2]) == {"GENE0", "GENE1"}
    found = table.set_index("gene")
    assert (found.loc[["GENE0", "GENE1"], "q"] < 0.05).all()
    assert found.loc["GENE0", "log2_fold_change"] > 0.7 and found.loc["GENE0", "z"] > 0
    assert found.loc["GENE1", "log2_fold_change"] < -10 and found.loc["GENE1", "z"] < 0
    others = found.drop(["GENE0", "GENE1"])
    assert (others["q"] < 0.05).mean() < 0.03
    weights = weights_of(carrier, kind, xy_um)
    one = found.loc["GENE0"]
    assert one["difference"] == pytest.approx(values[:, [0]].toarray()[:, 0] @ weights)
    assert one["mean_carriers"] == pytest.approx(linear[:, 0] @ weights.clip(min=0))
    assert one["mean_others"] == pytest.approx(linear[:, 0] @ -weights.clip(max=0))


def test_a_gene_of_a_kind_is_none_of_a_genotype(cells):
    xy_um, kind, _ = cells
    rng = np.random.default_rng(3)
    carrier = rng.random(N) < np.where(kind == "tumour", 0.7, 0.2)
    values = np.log1p(rng.poisson(1.0, (N, 120)).astype(float))
    values[:, 0] = np.log1p(rng.poisson(np.where(kind == "tumour", 12, 1)))
    table = table_of(sparse.csr_matrix(values), carrier, kind, xy_um)
    assert table.set_index("gene").loc["GENE0", "q"] > 0.05


@pytest.mark.parametrize("slope", [1.0, 0.4, 0.0, -0.5])
def test_dosage_is_exact_without_noise(slope):
    copies = np.repeat([0.0, np.log2(1.5), -1.0, 2.0], [300, 60, 50, 20])
    weight = np.random.default_rng(0).uniform(1, 50, len(copies))
    found = dosage(Contrast(0.3 + slope * copies, weight), copies)
    assert found.slope == pytest.approx(slope, abs=1e-9) and found.n_genes == 130
    assert found.low == pytest.approx(found.slope) and found.high == pytest.approx(found.slope)


def test_dosage_has_an_interval_that_holds_the_truth():
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        copies = np.repeat([0.0, 0.58, -1.0], [300, 60, 50])
        weight = rng.uniform(1, 50, len(copies))
        found = dosage(Contrast(copies + rng.normal(0, weight**-0.5), weight), copies)
        held += found.low <= 1 <= found.high
    assert held >= 52  # 57 are expected; fewer than 52 in 2 % of runs


def test_without_alterations_there_is_no_dosage():
    found = dosage(Contrast(np.ones(9), np.ones(9)), np.zeros(9))
    assert found.n_genes == 0 and np.isnan([found.slope, found.low, found.high]).all()
    everywhere = dosage(Contrast(np.ones(9), np.ones(9)), np.ones(9))
    assert np.isnan(everywhere.slope)


def test_genes_of_an_amplified_segment_are_not_clipped_as_if_alone():
    """Sixteen copies beside two: a gene alone so far off is a marker, twenty are a segment."""
    usual = np.full(600, 20_000.0)
    counts = usual.copy()
    counts[:20] *= 8
    counts[300] *= 64
    alike = np.where(np.arange(600) < 20, "chr17", "elsewhere")
    of = contrast(counts, usual, alike=alike)
    assert np.allclose(of.log2_ratio[:20], 3, atol=0.02) and of.log2_ratio[300] <= 1.01
    assert contrast(counts, usual).log2_ratio[0] <= 1.01
    copies = np.where(alike == "chr17", 3.0, 0.0)
    assert dosage(of, copies).slope == pytest.approx(1, abs=0.02)


def test_a_matched_contrast_counts_units_by_what_they_are_worth():
    rng = np.random.default_rng(0)
    carrier = np.repeat([True, False], 100)
    rate = np.where(carrier[:, None] & (np.arange(80) < 8), 6, 3)
    counts = sparse.csr_matrix(rng.poisson(rate))
    even = np.where(carrier, 0.01, -0.01)
    one = matched_contrast(counts, even)
    assert np.median(one.log2_ratio[:8]) == pytest.approx(1, abs=0.2)
    few = np.where(np.arange(200) % 10 == 0, even * 10, 0)  # a tenth of the units
    assert np.median(matched_contrast(counts, few).weight / one.weight) < 0.3
