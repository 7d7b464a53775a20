"""Draw the labels that integrated sections have and those they get from each other."""

from pathlib import Path

import pandas as pd

from histoscribe.figures.label_transfer import draw_label_transfer
from histoscribe.figures.style import save_figure, use_style
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad
from histoscribe.tables import read_table


def main(
    units: Path,
    labels: Path,
    scores: Path,
    confusion: Path,
    style: Path,
    title: str,
    outputs: list[Path],
) -> None:
    use_style(style)
    shown = _read_text(labels)
    shown[["x_um", "y_um"]] = read_h5ad(units).obsm["spatial"]
    page = draw_label_transfer(shown, read_table(scores), _read_text(confusion), title)
    save_figure(page.figure, shown, outputs)


def _read_text(path: Path) -> pd.DataFrame:
    """A table whose labels stay text, as numbers too; only an empty cell is missing."""
    columns = ("section", "unit", "label", "transferred", "against", "reference", "predicted")
    return pd.read_csv(
        path, sep="\t", dtype=dict.fromkeys(columns, str), keep_default_na=False, na_values=[""]
    )


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            units=Path(snakemake.input.units),
            labels=Path(snakemake.input.labels),
            scores=Path(snakemake.input.scores),
            confusion=Path(snakemake.input.confusion),
            style=Path(snakemake.input.style),
            title=snakemake.params.title,
            outputs=[Path(path) for path in snakemake.output],
        )
