"""Draw PCC and RMSE of the genes by section and tissue, beside ceiling and baselines."""

from pathlib import Path

from histoscribe.evaluation.summary import gather_scores
from histoscribe.figures.accuracy import accuracy_table, density_table, draw_accuracy
from histoscribe.figures.style import read_palette, save_figure, use_style
from histoscribe.joblog import job_log
from histoscribe.storage import written_whole
from histoscribe.tables import read_table


def main(
    evaluated: list[tuple[str, str, str]],
    scores: list[Path],
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
    gathered = gather_scores(evaluated, scores)
    rows = read_table(summary)
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
            evaluated=snakemake.params.evaluated,
            scores=[Path(path) for path in snakemake.input.scores],
            summary=Path(snakemake.input.summary),
            groups=snakemake.params.groups,
            kind=snakemake.params.kind,
            style=Path(snakemake.input.style),
            palette=Path(snakemake.input.palette),
            density_path=Path(snakemake.output.density),
            outputs=[Path(snakemake.output[key]) for key in ("pdf", "svg", "png", "tsv")],
        )
