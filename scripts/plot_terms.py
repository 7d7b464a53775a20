"""Draw the terms that the clusters of a section are richest in."""

from pathlib import Path

from histoscribe.figures.style import save_figure, use_style
from histoscribe.figures.term_dots import draw_terms, top_terms
from histoscribe.joblog import job_log
from histoscribe.tables import read_table


def main(
    terms: Path,
    clusters: Path,
    style: Path,
    n_terms: int,
    adjusted_p_below: float,
    outputs: list[Path],
) -> None:
    use_style(style)
    names = read_table(clusters)
    names = names[~names["is_dropped"].astype(bool)]
    enriched = read_table(terms)
    table = top_terms(enriched, n_terms, adjusted_p_below)
    labels = {row.cluster: f"{row.cluster} {row.type}" for row in names.itertuples()}
    save_figure(draw_terms(table, list(names["cluster"]), labels), table, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            terms=Path(snakemake.input.terms),
            clusters=Path(snakemake.input.clusters),
            style=Path(snakemake.input.style),
            n_terms=snakemake.params.n_terms,
            adjusted_p_below=snakemake.params.adjusted_p_below,
            outputs=[Path(path) for path in snakemake.output],
        )
