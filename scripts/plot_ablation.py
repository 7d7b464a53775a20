"""Draw how well each experiment predicts, gene by gene."""

from pathlib import Path

from histoscribe.evaluation.summary import gather_scores
from histoscribe.figures.ablation import CEILING, ablation_table, draw_ablation
from histoscribe.figures.style import read_palette, save_figure, use_style
from histoscribe.joblog import job_log
from histoscribe.tables import read_table


def main(
    evaluated: list[tuple[str, str, str]],
    scores: list[Path],
    summary: Path,
    kinds: dict[str, str],
    style: Path,
    palette: Path,
    outputs: list[Path],
) -> None:
    use_style(style)
    palette_colours = read_palette(palette)
    colours = {name: palette_colours[kind] for name, kind in kinds.items()}
    colours[CEILING] = palette_colours["ceiling"]
    gathered = gather_scores(evaluated, scores)
    rows = read_table(summary)
    if rows["fold"].nunique() > 1:
        for frame in (gathered, rows):
            frame["sample"] = frame["sample"] + ", fold " + frame["fold"]
    table = ablation_table(gathered, rows)
    save_figure(draw_ablation(table, colours), table, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            evaluated=snakemake.params.evaluated,
            scores=[Path(path) for path in snakemake.input.scores],
            summary=Path(snakemake.input.summary),
            kinds=snakemake.params.kinds,
            style=Path(snakemake.input.style),
            palette=Path(snakemake.input.palette),
            outputs=[Path(path) for path in snakemake.output],
        )
