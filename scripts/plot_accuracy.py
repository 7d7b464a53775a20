"""Draw PCC and RMSE of the genes by section and tissue, beside ceiling and baselines."""

from pathlib import Path

import pandas as pd

from histoscribe.figures.accuracy import accuracy_table, density_table, draw_accuracy
from histoscribe.figures.style import read_palette, save_figure, use_style
from histoscribe.joblog import job_log
from histoscribe.storage import written_whole


def main(
    scores: list[tuple[str, str, str, Path]],
    summary: Path,
    groups: dict[str, str | None],
    kind: str,
    style: Path,
    palette: Path,
    density_path: Path,
    outputs: list[Path],
) -> None:
    use_style(style)
    colours = read_palette(palette)
    gathered = pd.concat(
        pd.read_csv(path, sep="\t").assign(experiment=experiment, fold=fold, sample=sample)
        for experiment, fold, sample, path in scores
    ).reset_index(drop=True)
    rows = pd.read_csv(summary, sep="\t")
    if gathered["fold"].nunique() > 1:
        names = gathered["sample"] + ", fold " + gathered["fold"]
        groups = {n: groups[s] for n, s in zip(names, gathered["sample"], strict=True)}
        gathered["sample"] = names
        rows["sample"] = rows["sample"] + ", fold " + rows["fold"]
    table, density = accuracy_table(gathered, rows, groups), density_table(gathered)
    with written_whole(density_path) as partial:
        density.to_csv(partial, sep="\t", index=False, float_format="%.5g")
    figure = draw_accuracy(table, density, colours[kind], colours["baseline"])
    save_figure(figure, table, outputs)


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
            groups=snakemake.params.groups,
            kind=snakemake.params.kind,
            style=Path(snakemake.input.style),
            palette=Path(snakemake.input.palette),
            density_path=Path(snakemake.output.density),
            outputs=[Path(snakemake.output[key]) for key in ("pdf", "svg", "png", "tsv")],
        )
