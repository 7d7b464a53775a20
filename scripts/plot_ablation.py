"""Draw how well each experiment predicts, gene by gene."""

from pathlib import Path

import pandas as pd

from histoscribe.figures.ablation import CEILING, ablation_table, draw_ablation
from histoscribe.figures.style import read_palette, save_figure, use_style
from histoscribe.joblog import job_log


def main(
    scores: list[tuple[str, str, str, Path]],
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
    gathered = pd.concat(
        pd.read_csv(path, sep="\t").assign(experiment=experiment, fold=fold, sample=sample)
        for experiment, fold, sample, path in scores
    ).reset_index(drop=True)
    rows = pd.read_csv(summary, sep="\t")
    if rows["fold"].nunique() > 1:
        for frame in (gathered, rows):
            frame["sample"] = frame["sample"] + ", fold " + frame["fold"]
    table = ablation_table(gathered, rows)
    save_figure(draw_ablation(table, colours), table, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            scores=[
                (*key, Path(path))
                for key, path in zip(
                    snakemake.params.evaluated, snakemake.input.scores, strict=True
                )
            ],
            summary=Path(snakemake.input.summary),
            kinds=snakemake.params.kinds,
            style=Path(snakemake.input.style),
            palette=Path(snakemake.input.palette),
            outputs=[Path(path) for path in snakemake.output],
        )
