"""Draw maps of spatial factors, each beside the genes and the term that tell it."""

from pathlib import Path

from histoscribe.figures.factors import best_terms, draw_factors, drawn_factors, factor_maps
from histoscribe.figures.style import save_figure, use_style
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad
from histoscribe.tables import read_table


def main(
    units: Path,
    factors: Path,
    terms: Path | None,
    style: Path,
    title: str,
    adjusted_p_below: float,
    outputs: list[Path],
) -> None:
    use_style(style)
    described = read_table(factors)
    named = {} if terms is None else best_terms(read_table(terms), adjusted_p_below)
    maps = factor_maps(read_h5ad(units), drawn_factors(described))
    save_figure(draw_factors(maps, described, named, title).figure, maps, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            units=Path(snakemake.input.units),
            factors=Path(snakemake.input.factors),
            terms=Path(snakemake.input.terms) if snakemake.input.get("terms") else None,
            style=Path(snakemake.input.style),
            title=snakemake.params.title,
            adjusted_p_below=snakemake.params.adjusted_p_below,
            outputs=[Path(path) for path in snakemake.output],
        )
