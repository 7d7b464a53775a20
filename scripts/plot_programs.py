"""Draw maps of a section's gene programs, measured above predicted, beside its H&E."""

from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.evaluation.stored import open_h5ad
from histoscribe.figures.program_maps import choose_programs, draw_program_maps
from histoscribe.figures.style import save_figure, use_style
from histoscribe.image import read_window
from histoscribe.joblog import job_log
from histoscribe.provenance import recall
from histoscribe.tables import read_table

IMAGE_PX = 1200
PLACES = ["x_um", "y_um"]


def main(
    predicted: Path,
    scores: dict[str, Path],
    agreement: Path | None,
    image: Path,
    style: Path,
    n_programs: int,
    um_per_px: float,
    outputs: list[Path],
) -> None:
    use_style(style)
    with open_h5ad(predicted) as prediction:
        unit_um = recall(prediction.uns)["unit_size_um"]
    tables = {side: pd.read_parquet(path) for side, path in scores.items()}
    units = tables["predicted"].index
    xy_um = tables["predicted"][PLACES].to_numpy(dtype=np.float64)
    tables = {side: table.loc[units].drop(columns=PLACES) for side, table in tables.items()}
    compared = None if agreement is None else read_table(agreement)
    chosen = choose_programs(compared, tables, n_programs)
    shown = {side: table[chosen] for side, table in tables.items()}
    captions = {}
    if compared is not None:
        captions = {
            row.set: f"PCC {row.pcc:.2f} (ceiling {row.ceiling:.2f})"
            for row in compared.itertuples()
        }
    left, top = xy_um.min(axis=0) - unit_um
    right, bottom = xy_um.max(axis=0) + unit_um
    window = read_window(image, um_per_px, (left, top, right, bottom), IMAGE_PX)
    figure = draw_program_maps(window, (left, right, bottom, top), xy_um, unit_um, shown, captions)
    plotted = pd.concat(
        [
            pd.DataFrame(xy_um, columns=PLACES, index=units),
            *(table.add_prefix(f"{side}_") for side, table in shown.items()),
        ],
        axis=1,
    )
    save_figure(figure, plotted.reset_index(names="unit"), outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        given = snakemake.input
        measured = {"measured": Path(given.measured_scores)} if given.get("measured_scores") else {}
        main(
            predicted=Path(given.predicted),
            scores={**measured, "predicted": Path(given.predicted_scores)},
            agreement=Path(given.agreement) if measured else None,
            image=Path(given.image),
            style=Path(given.style),
            n_programs=snakemake.params.n_programs,
            um_per_px=snakemake.params.um_per_px,
            outputs=[Path(path) for path in snakemake.output],
        )
