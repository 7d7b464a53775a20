"""What genotypes go with: genes, dosage and the image, of made-up cells; and the proof."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_up_cells import change_of_arms, made_up_cells, made_up_places

from histoscribe.errors import UserError
from histoscribe.genome.appearance import features_told, told_by_image, within_kinds
from histoscribe.genome.comparison import MatchingSettings
from histoscribe.genome.dna import DnaFeatures
from histoscribe.genome.phenotypes import PhenotypeSettings, find_phenotypes
from histoscribe.genome.proof import PROOF_COLUMNS, check_proof, proof_row
from histoscribe.genome.settings import copy_number_settings, phenotype_settings
from histoscribe.genome.territories import random_field, territories
from histoscribe.morphology_map.information import blocked_parts
from histoscribe.morphology_map.quadrants import MapSettings

PLACES = made_up_places()
ARMS = change_of_arms(PLACES)
SETTINGS = PhenotypeSettings(
    matching=MatchingSettings(n_maps=60), image=MapSettings(buffer_um=20), block_um=80
)


def dna_of(cells, clones=("plain", "changed"), with_copies=True):
    """Clones, and the copies that ARMS stand for, of tumour cells."""
    is_changed, is_tumour = cells.facts["is_changed"], cells.kind == "tumour"
    clone = np.where(is_changed, clones[1], clones[0]).astype(object)
    table = pd.DataFrame({"clone": clone}, index=cells.names)
    table.loc[~is_tumour, "clone"] = np.nan
    if with_copies:
        table["chr2"] = np.where(is_changed, 3.0, 2.0)
        table["chr5"] = np.where(is_changed, 1.0, 2.0)
    return DnaFeatures(table, {c: "clone" if c == "clone" else "segment" for c in table})


def found_of(cells, dna, features=None, settings=SETTINGS, called=None):
    places = cells.var[["chromosome", "start", "end"]]
    return find_phenotypes(cells, dna, places, called, features, settings, 1000, 0, "here")


def patches(seed=0, **how):
    """Cells whose `is_changed` is a ragged territory, so that neighbours differ."""
    cells = made_up_cells(np.ones(600), seed, n_tumour=600, **how)
    rng = np.random.default_rng(seed)
    carrier = (random_field(cells.xy_um, 60, 0.1, rng) > 0) & (cells.kind == "tumour")
    # All are drawn anew, since mean log counts fall where counts vary more.
    rate = cells.counts.toarray() * np.where(carrier[:, None], ARMS, 1.0)
    counts = type(cells.counts)(rng.poisson(rate).astype(np.float32))
    return replace(cells, counts=counts, facts={"is_changed": carrier})


@pytest.fixture(scope="module")
def cells():
    return patches()


@pytest.fixture(scope="module")
def features(cells):
    rng = np.random.default_rng(4)
    carrier, n = cells.facts["is_changed"], len(cells.kind)
    values = {
        "planted": 1.2 * carrier + rng.normal(size=n),
        "unrelated": rng.normal(size=n),
        "field": random_field(cells.xy_um, 60, 0.1, rng),
        "of kinds": 5.0 * (cells.kind == "tumour") + rng.normal(size=n),
        "constant": np.ones(n),
    }
    return pd.DataFrame(values, index=cells.names)


@pytest.fixture(scope="module")
def found(cells, features):
    return found_of(cells, dna_of(cells), features)


def test_each_table_has_its_rows(cells, found):
    assert found.carriers["genotype"].tolist() == ["changed"]
    row = found.carriers.iloc[0]
    carrier, is_tumour = cells.facts["is_changed"], cells.kind == "tumour"
    assert row["n_carriers"] == carrier.sum() and row["kinds"] == "tumour"
    assert row["n_others"] == (is_tumour & ~carrier).sum()
    assert len(found.genes) == row["n_genes_tested"] > 500
    assert found.units["unit"].tolist() == list(cells.names)
    assert found.units["clone"].notna().sum() == is_tumour.sum()


def test_altered_genes_and_their_dosage_are_found(found):
    genes = found.genes.set_index("gene")
    is_altered = ARMS[[int(name[4:]) for name in genes.index]] != 1
    told = genes["q"] < 0.05
    assert told[is_altered].mean() > 0.2 > 0.03 > told[~is_altered].mean()
    assert np.allclose(2 ** genes["log2_copies"], ARMS[[int(name[4:]) for name in genes.index]])
    row = found.carriers.iloc[0]
    assert row["slope_low"] < row["slope"] < row["slope_high"]
    assert row["slope"] == pytest.approx(1, abs=0.1) and row["n_altered_genes"] == is_altered.sum()
    segments = found.dosage.set_index("segment")
    assert segments["n_genes"].sum() == len(genes)
    for name, factor in (("chr2", 1.5), ("chr5", 0.5), ("elsewhere", 1.0)):
        assert segments.loc[name, "log2_copies"] == pytest.approx(np.log2(factor))
        assert segments.loc[name, "log2_ratio"] == pytest.approx(np.log2(factor), abs=0.12)


def test_of_many_genotypes_those_with_the_larger_sides_are_looked_at(cells, caplog):
    """A segment that ten units carry, one that a third does, and the clones, of about halves."""
    table, tumour = dna_of(cells).table[["clone"]], np.flatnonzero(cells.kind == "tumour")
    for name, some in (("chr1", tumour[::60]), ("chr7", tumour[::3])):
        table[name] = 2.0
        table.iloc[some, table.columns.get_loc(name)] = 4.0
    dna = DnaFeatures(table, {c: "clone" if c == "clone" else "segment" for c in table})
    settings = replace(SETTINGS, matching=replace(SETTINGS.matching, least_units=5, n_maps=20))
    every = found_of(cells, dna, settings=settings).carriers["genotype"].tolist()
    assert every == ["changed", "chr1 altered", "chr7 altered"]
    assert not caplog.text
    found = found_of(cells, dna, settings=replace(settings, max_genotypes=2))
    assert found.carriers["genotype"].tolist() == ["changed", "chr7 altered"]
    assert "of 3 genotypes the 2 with most units on the smaller side" in caplog.text


def test_inferred_segments_have_no_copies(cells):
    called = pd.DataFrame(
        {"clone": ["changed", "plain"], "chromosome": ["chr2", "chr5"], "start": [1, 1],
         "end": [60_000_000, 60_000_000], "call": ["gain", "gain"]}
    )  # fmt: skip
    found = found_of(cells, dna_of(cells, with_copies=False), called=called)
    segments = found.dosage.set_index("segment")
    assert set(segments.index) == {"chr2:1-60000000 gain", "elsewhere"}
    assert np.isnan(segments.loc["chr2:1-60000000 gain", "log2_copies"])
    assert np.isnan(found.carriers.loc[0, "slope"]) and found.genes["log2_copies"].isna().all()
    assert found.image.empty and "image: changed" not in found.units


def test_only_features_of_the_genotype_tell(found):
    image = found.image.set_index("feature")
    assert set(image.index) == {"planted", "unrelated", "field", "of kinds"}
    assert image["told_counts"].to_dict() == {
        "planted": True, "unrelated": False, "field": False, "of kinds": False,
    }  # fmt: skip
    assert image.index[0] == "planted" and image.loc["planted", "difference"] > 0.7
    row = found.carriers.iloc[0]
    assert row["n_features"] == 1 and row["image_p"] <= 0.05
    assert row["image_low"] < row["image_accuracy"] < row["image_high"]
    assert row["image_accuracy"] > 0.65 > 0.58 > row["image_by_chance"]
    answers = found.units["image: changed"].dropna()
    assert set(answers) == {0, 1} and len(answers) <= 600


def test_composition_does_not_pose_as_genotype():
    """Two kinds that carry at other rates: a feature that tells the kinds tells nothing else."""
    rng = np.random.default_rng(0)
    kind = np.repeat(["a", "b"], 300)
    xy_um = rng.uniform(0, 400, (600, 2))
    carrier = rng.random(600) < np.where(kind == "a", 0.8, 0.2)
    given = pd.DataFrame({"kind": 3.0 * (kind == "a") + rng.normal(size=600)})
    given["noise"] = rng.normal(size=600)
    parts = blocked_parts(xy_um, 80, 20, 5, 0)
    others = list(territories(carrier, kind, xy_um, 60, 0))
    own = within_kinds(given, kind)
    told = features_told(own, carrier, others, parts, MapSettings())
    assert not told["told_counts"].any()
    facts, answers = told_by_image(own, carrier, others, xy_um, parts, 80, 0)
    assert facts["image_p"] > 0.05 and abs(facts["image_accuracy"] - 0.5) < 0.08
    assert (answers >= 0).all()
    # As they are, it would.
    naive = features_told(given, carrier, others, parts, MapSettings())
    assert naive.loc[0, "feature"] == "kind" and naive.loc[0, "told"] > 0.05


def test_features_that_say_nothing_are_borne(cells, features, caplog):
    dna = dna_of(cells, with_copies=False)
    for given in (features[["constant"]], features[["planted"]] * np.nan):
        found = found_of(cells, dna, given)
        assert found.image.empty and np.isnan(found.carriers.loc[0, "image_accuracy"])
        assert found.units["image: changed"].isna().all()
    assert "no feature has values that vary within kinds" in caplog.text
    wide = replace(SETTINGS, block_um=5000)
    assert found_of(cells, dna, features, wide).image.empty
    assert "too few blocks" in caplog.text


def test_units_without_features_are_left_out(cells, features):
    some = features.copy()
    some.iloc[:100, 0] = np.nan
    found = found_of(cells, dna_of(cells, with_copies=False), some)
    assert found.units["image: changed"][:100].isna().all()
    assert found.image.loc[0, "feature"] == "planted"


def test_as_many_units_with_features_carry_by_chance(cells, features, monkeypatch):
    asked = []

    def told(own, carrier, others, *rest):
        asked.append((carrier, others))
        return features_told(own, carrier, others, *rest)

    monkeypatch.setattr("histoscribe.genome.phenotypes.features_told", told)
    some = features[["planted"]].where(cells.xy_um[:, [0]] < 150)
    found_of(cells, dna_of(cells, with_copies=False), some)
    ((carrier, others),) = asked
    assert len(carrier) < 300 and others.shape == (60, len(carrier))
    assert (others.sum(axis=1) == carrier.sum()).all()


def test_columns_of_dna_may_be_called_like_ours(cells):
    dna = dna_of(cells, with_copies=False)
    named = DnaFeatures(dna.table.rename(columns={"clone": "kind"}), {"kind": "clone"})
    units = found_of(cells, named).units
    assert set(units["kind of the DNA"].dropna()) == {"plain", "changed"}
    assert set(units["kind"]) == {"tumour", "T", "B"}


def test_one_clone_is_said(cells):
    words = "here: found the same DNA of all 600 units: clone one; expected two clones"
    with pytest.raises(UserError, match=words):
        found_of(cells, dna_of(cells, ("one", "one"), with_copies=False))


def test_genotypes_of_kinds_are_said(cells):
    dna = DnaFeatures(pd.DataFrame({"clone": cells.kind.astype(object)}, cells.names),
                      {"clone": "clone"})  # fmt: skip
    with pytest.raises(UserError, match=r"no kind of cells with 20 carriers .* tumour \(600\)"):
        found_of(cells, dna)


def test_carriers_out_of_reach_are_said(cells, caplog):
    """Clones of two islands: one genotype is left out, or all are and it is said."""
    far = cells.xy_um + 2000.0 * cells.facts["is_changed"][:, None]
    apart = replace(cells, xy_um=far)
    dna = dna_of(cells, with_copies=False)
    with pytest.raises(UserError, match="no carrier of changed within 150 um"):
        found_of(apart, dna)
    rng = np.random.default_rng(0)
    table = dna.table.assign(TP53=rng.integers(0, 2, len(dna.table)).astype(float))
    both = found_of(apart, DnaFeatures(table, {"clone": "clone", "TP53": "mutation"}))
    assert both.carriers["genotype"].tolist() == ["TP53"]
    assert "changed is left out" in caplog.text
    # It takes no place from those that can be looked at.
    one = replace(SETTINGS, max_genotypes=1)
    table["TP53"] = (rng.random(len(table)) < 0.2).astype(float)
    both = found_of(apart, DnaFeatures(table, {"clone": "clone", "TP53": "mutation"}), settings=one)
    assert both.carriers["genotype"].tolist() == ["TP53"]


def inferred_clones(clone, names):
    """What a proof looks at."""
    n = int(np.max(clone)) + 1
    clones = SimpleNamespace(clone=np.array(clone), p=np.zeros(n))
    return SimpleNamespace(units=np.arange(len(clone)), clones=clones), pd.Index(names)


def test_a_proof_is_of_units_that_both_look_at():
    measured = inferred_clones([0, 0, 1, 1, 0], list("abcde"))
    predicted = inferred_clones([1, 1, 0, 0, 0], list("abcdx"))
    row = proof_row("s", *measured, *predicted)
    assert row == {"sample": "s", "n_units": 4, "n_measured": 2, "n_predicted": 2, "ari": 1.0}
    none = proof_row("s", *measured, *inferred_clones([0, 1], ["y", "z"]))
    assert (none["n_units"], none["ari"]) == (0, 0.0)


def proof(*rows):
    return pd.DataFrame(rows, columns=PROOF_COLUMNS)


def test_a_proof_passes_where_every_section_with_clones_agrees():
    check_proof(proof(("a", 90, 2, 2, 0.8), ("b", 90, 1, 1, 1.0)), 0.6, "here")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", 90, 1, 1, 1.0)], "one clone in every held-out section: nothing to prove it on"),
        ([("a", 90, 2, 2, 0.9), ("b", 80, 3, 1, 0.25)],
         r"an ARI of 0.25 between .* of b \(1 and 3 clones of 80 units\); expected an ARI of 0.6"),
    ],
)  # fmt: skip
def test_a_proof_that_fails_says_why(rows, words):
    with pytest.raises(UserError, match=f"^here: found {words}"):
        check_proof(proof(*rows), 0.6, "here")


COPY_NUMBER = {
    "pool_umi": 1, "most_pooled": 2, "least_count": 3, "window_genes": 4, "least_genes": 5,
    "exclude": ["HLA-*"], "least_log2": 6, "least_units": 7, "p_below": 0.01,
    "n_shuffles": 1999, "n_halvings": 10, "max_units": 8, "least_proof": 9,
}  # fmt: skip


def test_settings_come_from_their_keys():
    own = copy_number_settings(COPY_NUMBER, "here")
    assert (own.pool_umi, own.most_pooled, own.least_count, own.window_genes) == (1, 2, 3, 4)
    assert (own.segments.least_genes, own.segments.least_log2) == (5, 6)
    assert (own.clones.least_units, own.clones.p_below, own.clones.n_shuffles) == (7, 0.01, 1999)
    assert (own.max_units, own.n_halvings) == (8, 10)
    given = {"reach_um": 1, "least_units": 2, "n_maps": 3, "q_below": 4, "least_nats": 5,
             "n_folds": 6, "block_um": 7, "buffer_um": None, "max_units": 8,
             "max_genotypes": 9}  # fmt: skip
    found = phenotype_settings(given, 55)
    assert (found.matching.reach_um, found.matching.least_units, found.matching.n_maps) == (1, 2, 3)
    assert (found.q_below, found.image.q_below, found.image.least_nats) == (4, 4, 5)
    assert (found.image.n_folds, found.block_um, found.image.buffer_um) == (6, 7, 55)
    assert (found.max_units, found.max_genotypes) == (8, 9)
    assert phenotype_settings(given | {"buffer_um": 0}, 55).image.buffer_um == 0


def test_shuffles_too_few_to_find_anything_are_refused():
    words = "here, copy_number: found n_shuffles 99, .* least p is 0.01.* Set n_shuffles above 99"
    with pytest.raises(UserError, match=words):
        copy_number_settings(COPY_NUMBER | {"n_shuffles": 99}, "here")
