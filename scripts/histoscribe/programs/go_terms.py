"""Over-representation of Gene Ontology terms with goatools, where the ontology is given.

A gene of a term belongs to all of the term's parents (is_a).
"""

import gzip
import io
import logging
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path

import pandas as pd
from goatools.go_enrichment import GOEnrichmentStudy
from goatools.obo_parser import GODag

from histoscribe.errors import UserError, problem
from histoscribe.gene_matching import match_genes
from histoscribe.programs.enrichment import TERM_COLUMNS, TermSize, join_terms, odds_ratio

log = logging.getLogger(__name__)

TAXA = {"9606": "human", "10090": "mouse"}
GAF_SYMBOL, GAF_QUALIFIER, GAF_TERM, GAF_EVIDENCE, GAF_TAXON = 2, 3, 4, 6, 12
NO_DATA = "ND"  # the evidence code of a term that says nothing is known


def read_annotation(path: Path) -> pd.DataFrame:
    """Which genes a GAF file (gzip or not) gives to which terms: columns set, gene, species.

    Annotations that say NOT, or that nothing is known (ND), are left out. Raises UserError for
    other files; gene2go of the NCBI has no gene symbols.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(
            problem(str(path), f"no readable file ({error})", "a GAF file", "Correct the path.")
        ) from error
    rows = []
    for line in io.StringIO(text):
        if line.startswith("!"):
            continue
        fields = line.rstrip("\n").split("\t")
        if len(fields) <= GAF_TAXON or not fields[GAF_TERM].startswith("GO:"):
            raise UserError(
                problem(
                    str(path),
                    f"a line {line[:60].strip()!r}",
                    "a GAF file, whose third column is the symbol and fifth the term",
                    "Take goa_human.gaf or mgi.gaf of geneontology.org; gene2go has no symbols.",
                )
            )
        is_not = "NOT" in fields[GAF_QUALIFIER].split("|")
        if not is_not and fields[GAF_EVIDENCE] != NO_DATA:
            taxon = fields[GAF_TAXON].split("|")[0].removeprefix("taxon:")
            rows.append((fields[GAF_TERM], fields[GAF_SYMBOL], TAXA.get(taxon, f"taxon {taxon}")))
    return pd.DataFrame(rows, columns=["set", "gene", "species"]).drop_duplicates()


def read_ontology(path: Path) -> GODag:
    """The terms of an OBO file. Raises UserError where it has none."""
    try:
        with redirect_stdout(io.StringIO()):
            dag = GODag(str(path), prt=None)
    except (OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise UserError(
            problem(str(path), f"no readable ontology ({error})", "an OBO file", "Correct it.")
        ) from error
    if not dag:
        raise UserError(
            problem(str(path), "no term", "an OBO file", "Take go-basic.obo of geneontology.org.")
        )
    return dag


def enriched_go_terms(
    groups: Mapping[str, Iterable[str]],
    background: Iterable[str],
    annotation: pd.DataFrame,
    dag: GODag,
    size: TermSize,
    where: str,
) -> pd.DataFrame:
    """As enriched_terms, by goatools: columns, one-sided test and correction are the same.

    `annotation` of read_annotation, matched to the spelling of the background. All three branches
    of the ontology are tested together.
    """
    background = list(dict.fromkeys(background))
    matched = match_genes(annotation, background, where).dropna(subset="measured")
    known = matched[matched["set"].isin(dag.keys())]
    primary = known["set"].map({term: dag[term].item_id for term in known["set"].unique()})
    if primary.empty:
        raise UserError(
            problem(
                where,
                "no term of the ontology with a gene of the data",
                "an ontology and an annotation of one release",
                "Correct enrichment.obo or enrichment.annotation.",
            )
        )
    terms_of = {gene: set(terms) for gene, terms in primary.groupby(known["measured"])}
    with redirect_stdout(io.StringIO()):
        study = GOEnrichmentStudy(
            background,
            terms_of,
            dag,
            propagate_counts=True,
            methods=["fdr_bh"],
            alternative="greater",
            log=None,
        )
        tested = {
            term
            for term, genes in study.go2popitems.items()
            if size.least <= len(genes) <= size.most
        }
        return join_terms(_group_table(study, name, its, tested) for name, its in groups.items())


def _group_table(
    study: GOEnrichmentStudy, name: str, genes: Iterable[str], tested: set[str]
) -> pd.DataFrame:
    rows = [
        (
            name,
            record.GO,
            record.name,
            record.study_count,
            record.pop_count,
            record.study_n,
            record.pop_n,
            record.p_uncorrected,
            record.p_fdr_bh,
            ",".join(sorted(record.study_items)),
        )
        for record in study.run_study(set(genes), selected_goids=tested)
        if record.study_count
    ]
    table = pd.DataFrame(rows, columns=[c for c in TERM_COLUMNS if c != "odds_ratio"])
    ratio = odds_ratio(
        table["n_overlap"].to_numpy(),
        table["n_set"].to_numpy(),
        table["n_group"].to_numpy(),
        table["n_background"].to_numpy(),
    )
    table.insert(TERM_COLUMNS.index("odds_ratio"), "odds_ratio", ratio)
    return table.sort_values(["p", "odds_ratio"], ascending=[True, False], kind="stable")
