"""Find the terms that the marker genes of clusters, or the genes of factors, are rich in."""

import logging
from pathlib import Path

import pandas as pd

from histoscribe.errors import UserError, problem
from histoscribe.gene_matching import match_genes
from histoscribe.joblog import job_log
from histoscribe.programs.enrichment import (
    TermSize,
    enriched_terms,
    join_terms,
    loading_lists,
    marker_lists,
)
from histoscribe.programs.gathering import gather_programs
from histoscribe.storage import written_whole
from histoscribe.tables import read_table

log = logging.getLogger(__name__)


def main(
    genes: Path,
    sets: list[Path],
    obo: Path | None,
    annotation: Path | None,
    settings: dict,
    output: Path,
) -> None:
    table = read_table(genes)
    if "loading" in table:
        groups = loading_lists(table, settings["max_genes"])
    elif "log2_fold_change" in table:
        groups = marker_lists(
            table,
            settings["adjusted_p_below"],
            settings["log2_fold_change_from"],
            settings["max_genes"],
        )
    else:
        raise UserError(
            problem(
                str(genes),
                ", ".join(table.columns),
                "cluster, gene, log2_fold_change, z and adjusted_p; or factor, gene and loading",
                "Give the markers of clusters or the loadings of factors.",
            )
        )
    empty = [name for name, listed in groups.items() if not listed]
    if empty:
        log.info("%s: no gene passes for %s", genes, ", ".join(empty))
    background = table["gene"].unique()
    size = TermSize(settings["min_size"], settings["max_size"])
    results = []
    if sets:
        gathered = gather_programs(sets, organs=None)
        matched = pd.concat(
            match_genes(its, background, f"{name} against {genes}", settings["ignore_case"])
            for name, its in gathered.groupby("file", sort=False)
        )
        terms = matched.assign(gene=matched["measured"]).dropna(subset="gene")
        results.append(enriched_terms(groups, background, terms, size))
    if obo is not None:
        from histoscribe.programs.go_terms import (
            enriched_go_terms,
            read_annotation,
            read_ontology,
        )

        found = enriched_go_terms(
            groups,
            background,
            read_annotation(annotation),
            read_ontology(obo),
            size,
            f"{annotation} against {genes}",
        )
        results.append(found)
    enriched = join_terms(results)
    significant = enriched.loc[enriched["adjusted_p"] < settings["adjusted_p_below"], "group"]
    log.info(
        "%d background genes, %d lists; terms below %g: %s",
        len(background),
        len(groups),
        settings["adjusted_p_below"],
        significant.value_counts().to_dict(),
    )
    with written_whole(output) as partial:
        enriched.to_csv(partial, sep="\t", index=False, float_format="%.6g")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        ontology = snakemake.input.get("obo")
        main(
            genes=Path(snakemake.input.genes),
            sets=[Path(path) for path in snakemake.input.get("sets", [])],
            obo=Path(ontology) if ontology else None,
            annotation=Path(snakemake.input.annotation) if ontology else None,
            settings=snakemake.params.settings,
            output=Path(snakemake.output.table),
        )
