"""Draw units in their order along groups of sections, and the factors and genes that change."""

from pathlib import Path

from histoscribe.figures.gradient import draw_gradient
from histoscribe.figures.style import save_figure, use_style
from histoscribe.joblog import job_log
from histoscribe.tables import read_table


def main(
    units: Path,
    sections: Path,
    table: Path,
    factors: Path,
    style: Path,
    title: str,
    outputs: list[Path],
) -> None:
    use_style(style)
    described = read_table(factors).set_index("factor")
    top = described.loc[described["is_used"], "top_genes"]
    genes = {name: genes if isinstance(genes, str) else "" for name, genes in top.items()}
    scored = read_table(units).astype({"section": str})
    by_section = read_table(sections).astype({"section": str})
    page, shown = draw_gradient(scored, by_section, read_table(table), genes, title)
    save_figure(page.figure, shown, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            units=Path(snakemake.input.units),
            sections=Path(snakemake.input.sections),
            table=Path(snakemake.input.table),
            factors=Path(snakemake.input.factors),
            style=Path(snakemake.input.style),
            title=snakemake.params.title,
            outputs=[Path(path) for path in snakemake.output],
        )
