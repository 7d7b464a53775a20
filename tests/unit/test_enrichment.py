"""Over-representation against independent computations, with and without an ontology."""

import gzip

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from histoscribe.errors import UserError
from histoscribe.programs.enrichment import (
    TERM_COLUMNS,
    TermSize,
    enriched_terms,
    loading_lists,
    marker_lists,
)
from histoscribe.programs.go_terms import enriched_go_terms, read_annotation, read_ontology

GENES = [f"GENE{i}" for i in range(300)]
ANY = TermSize(1, 1000)


def random_sets(n_sets=40, seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        (f"set{i}", gene)
        for i in range(n_sets)
        for gene in rng.choice(GENES, rng.integers(3, 60), replace=False)
    ]
    return pd.DataFrame(rows, columns=["set", "gene"])


def by_hand(listed, background, members):
    """Fisher's exact test of one set, from its table of four counts."""
    listed, members = set(listed) & set(background), set(members) & set(background)
    both = len(listed & members)
    rest = len(background) - len(listed | members)
    table = [[both, len(listed - members)], [len(members - listed), rest]]
    return both, *stats.fisher_exact(table, alternative="greater")


def test_every_term_as_fisher_and_benjamini_hochberg_by_hand():
    sets = random_sets()
    members = sets.groupby("set", sort=False)["gene"].agg(list).to_dict()
    background = GENES[:250]  # some genes of the sets lie outside
    groups = {"a": GENES[:40], "b": [*members["set3"], "NOT-MEASURED"], "empty": []}
    found = enriched_terms(groups, background, sets, ANY)
    assert list(found.columns) == TERM_COLUMNS
    for name, listed in groups.items():
        expected = {term: by_hand(listed, background, its) for term, its in members.items()}
        adjusted = dict(
            zip(
                expected,
                multipletests([p for _, _, p in expected.values()], method="fdr_bh")[1],
                strict=True,
            )
        )
        its = found[found["group"] == name].set_index("term")
        assert set(its.index) == {term for term, (both, _, _) in expected.items() if both}
        for term, row in its.iterrows():
            both, ratio, p = expected[term]
            assert row["n_overlap"] == both
            assert row["p"] == pytest.approx(p, rel=1e-9)
            assert row["odds_ratio"] == pytest.approx(ratio)
            assert row["adjusted_p"] == pytest.approx(adjusted[term], rel=1e-9)
            shared = set(listed) & set(members[term]) & set(background)
            assert set(row["genes"].split(",")) == shared
        assert its["p"].is_monotonic_increasing
    assert found[found["group"] == "b"].iloc[0]["term"] == "set3"
    assert (found["n_background"] == 250).all()


def test_only_terms_of_a_fit_size_are_tested_and_corrected_for():
    sets = random_sets()
    sizes = sets.groupby("set").size()
    found = enriched_terms({"a": GENES[:40]}, GENES, sets, TermSize(10, 30))
    fit = sizes[(sizes >= 10) & (sizes <= 30)]
    assert set(found["term"]) <= set(fit.index) and found["n_set"].between(10, 30).all()
    members = sets.groupby("set")["gene"].agg(list)
    p = [by_hand(GENES[:40], GENES, members[term])[2] for term in fit.index]
    adjusted = dict(zip(fit.index, multipletests(p, method="fdr_bh")[1], strict=True))
    for term, value in found.set_index("term")["adjusted_p"].items():
        assert value == pytest.approx(adjusted[term])
    assert enriched_terms({"a": GENES[:40]}, GENES, sets, TermSize(500, 900)).empty
    assert enriched_terms({}, GENES, sets, ANY).empty


def test_lists_of_markers_and_of_loadings():
    markers = pd.DataFrame(
        {
            "cluster": ["0", "0", "0", "0", "1"],
            "gene": ["A", "B", "C", "D", "A"],
            "log2_fold_change": [2.0, 3.0, 0.1, 2.0, -1.0],
            "z": [5.0, 9.0, 8.0, 7.0, -5.0],
            "adjusted_p": [0.01, 0.001, 0.001, 0.2, 0.01],
        }
    )
    assert marker_lists(markers, 0.05, 0.25, 10) == {"0": ["B", "A"], "1": []}
    assert marker_lists(markers, 0.05, 0.25, 1) == {"0": ["B"], "1": []}
    loadings = pd.DataFrame(
        {"factor": [1, 1, 1, 2], "gene": ["A", "B", "C", "A"], "loading": [0.1, 0.9, -2.0, 0.0]}
    )
    assert loading_lists(loadings, 5) == {"1": ["B", "A"], "2": []}


OBO = """format-version: 1.2
data-version: test

""" + "\n".join(
    f"[Term]\nid: {term}\nname: {name}\nnamespace: biological_process\n"
    + "".join(f"alt_id: {alt}\n" for alt in alts)
    + "".join(f"is_a: {parent}\n" for parent in parents)
    for term, name, parents, alts in (
        ("GO:0000001", "root", [], []),
        ("GO:0000002", "left", ["GO:0000001"], []),
        ("GO:0000003", "right", ["GO:0000001"], ["GO:0000099"]),
        ("GO:0000004", "left leaf", ["GO:0000002"], []),
        ("GO:0000005", "leaf of both", ["GO:0000002", "GO:0000003"], []),
    )
)
PARENTS = {
    "GO:0000001": [],
    "GO:0000002": ["GO:0000001"],
    "GO:0000003": ["GO:0000001"],
    "GO:0000004": ["GO:0000002", "GO:0000001"],
    "GO:0000005": ["GO:0000002", "GO:0000003", "GO:0000001"],
    "GO:0000099": ["GO:0000003", "GO:0000001"],
}


def gaf_line(gene, term, qualifier="involved_in", evidence="IDA", taxon="taxon:9606"):
    fields = ["UniProtKB", f"P-{gene}", gene, qualifier, term, "PMID:1", evidence, "", "P", "name"]
    return "\t".join([*fields, "", "protein", taxon, "20200101", "UniProt", "", ""])


@pytest.fixture
def ontology(tmp_path):
    rng = np.random.default_rng(1)
    given = {gene: rng.choice(list(PARENTS), rng.integers(1, 3)) for gene in GENES[:200]}
    lines = [gaf_line(gene, term) for gene, terms in given.items() for term in set(terms)]
    lines += [gaf_line(gene, "GO:0000004", "NOT|involved_in") for gene in GENES[200:]]
    lines += [gaf_line(gene, "GO:0000001", evidence="ND") for gene in GENES[200:]]
    (tmp_path / "go.obo").write_text(OBO)
    text = "!gaf-version: 2.2\n" + "\n".join(lines) + "\n"
    (tmp_path / "x.gaf.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path, given


def test_goatools_as_our_own_test_on_propagated_terms(ontology):
    folder, given = ontology
    propagated = {
        (primary, gene)
        for gene, terms in given.items()
        for term in terms
        for primary in (
            "GO:0000003" if term == "GO:0000099" else str(term),  # the name it has now
            *PARENTS[str(term)],
        )
    }
    sets = pd.DataFrame(sorted(propagated), columns=["set", "gene"])
    leaf = sets.loc[sets["set"] == "GO:0000004", "gene"].tolist()
    groups = {"leaf": leaf[:30], "first": GENES[:50], "none": []}
    size = TermSize(5, 180)
    own = enriched_terms(groups, GENES, sets, size)
    found = enriched_go_terms(
        groups,
        GENES,
        read_annotation(folder / "x.gaf.gz"),
        read_ontology(folder / "go.obo"),
        size,
        "x",
    )
    assert list(found.columns) == TERM_COLUMNS
    assert len(found) == len(own) > 5
    assert "GO:0000001" not in set(found["term"])  # every annotated gene: too large
    keyed = found.set_index(["group", "term"])
    for _, row in own.iterrows():
        other = keyed.loc[(row["group"], row["term"])]
        for column in ("n_overlap", "n_set", "n_group", "n_background"):
            assert other[column] == row[column]
        for column in ("p", "adjusted_p", "odds_ratio"):
            assert other[column] == pytest.approx(row[column], rel=1e-9)
        assert set(other["genes"].split(",")) == set(row["genes"].split(","))
    assert keyed.loc[("leaf", "GO:0000004"), "name"] == "left leaf"
    assert found.iloc[0]["term"] == "GO:0000004"


def test_ontologies_and_annotations_that_do_not_fit_are_said(ontology):
    folder, _ = ontology
    dag = read_ontology(folder / "go.obo")
    annotation = read_annotation(folder / "x.gaf.gz")
    with pytest.raises(UserError, match="sets of human genes alone against mouse data"):
        mouse = [gene.capitalize() for gene in GENES]
        enriched_go_terms({"a": mouse}, mouse, annotation, dag, ANY, "x")
    with pytest.raises(UserError, match="no term of the ontology with a gene of the data"):
        other = annotation.assign(set="GO:7777777")
        enriched_go_terms({"a": GENES}, GENES, other, dag, ANY, "x")
    gene2go = folder / "gene2go"
    gene2go.write_text("#tax_id\tGeneID\tGO_ID\tEvidence\n9606\t1\tGO:1\tIDA\n")
    with pytest.raises(UserError, match="gene2go has no symbols"):
        read_annotation(gene2go)
    with pytest.raises(UserError, match="an OBO file"):
        read_ontology(gene2go)
    with pytest.raises(UserError, match="no readable ontology"):
        read_ontology(folder / "absent.obo")
