"""Draw the units of integrated sections before and after, and the domains they share."""

from pathlib import Path

import pandas as pd

from histoscribe.figures.integration import draw_integration, shown_units
from histoscribe.figures.style import save_figure, use_style
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad
from histoscribe.tables import read_table


def main(units: Path, mixing: Path, style: Path, title: str, outputs: list[Path]) -> None:
    use_style(style)
    shown: pd.DataFrame = shown_units(read_h5ad(units))
    page = draw_integration(shown, read_table(mixing), title)
    save_figure(page.figure, shown, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            units=Path(snakemake.input.units),
            mixing=Path(snakemake.input.mixing),
            style=Path(snakemake.input.style),
            title=snakemake.params.title,
            outputs=[Path(path) for path in snakemake.output],
        )
