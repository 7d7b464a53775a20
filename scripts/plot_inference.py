"""Draw genes that were hidden from an integration, as measured and as inferred."""

from pathlib import Path

from histoscribe.figures.inference import draw_inference, shown_genes, shown_units
from histoscribe.figures.style import save_figure, use_style
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad
from histoscribe.tables import read_table


def main(scores: Path, maps: Path, style: Path, title: str, outputs: list[Path]) -> None:
    use_style(style)
    table = read_table(scores)
    genes = shown_genes(table)
    shown = shown_units(read_h5ad(maps), list(genes.values()))
    save_figure(draw_inference(shown, table, genes, title).figure, shown, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            scores=Path(snakemake.input.scores),
            maps=Path(snakemake.input.maps),
            style=Path(snakemake.input.style),
            title=snakemake.params.title,
            outputs=[Path(path) for path in snakemake.output],
        )
