"""Draw stacked sections before and after alignment, and all of them in 3D."""

from pathlib import Path

from histoscribe.figures.stack import draw_stack, stacked_units
from histoscribe.figures.style import save_figure, use_style
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad
from histoscribe.tables import read_table


def main(stack: Path, alignments: Path, style: Path, title: str, outputs: list[Path]) -> None:
    use_style(style)
    shown = stacked_units(read_h5ad(stack))
    page = draw_stack(shown, read_table(alignments), title)
    save_figure(page.figure, shown, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            stack=Path(snakemake.input.stack),
            alignments=Path(snakemake.input.alignments),
            style=Path(snakemake.input.style),
            title=snakemake.params.title,
            outputs=[Path(path) for path in snakemake.output],
        )
