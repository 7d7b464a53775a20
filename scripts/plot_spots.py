"""Draw measured spots, the predicted units summed over them, and the units one by one."""

from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.evaluation.stored import open_h5ad, read_columns
from histoscribe.figures.gene_maps import distinct_best_genes
from histoscribe.figures.spots import (
    N_GENES,
    SpotMaps,
    draw_skipped,
    draw_spots,
    enlarged_window,
    plotted_table,
)
from histoscribe.figures.style import read_palette, save_figure, use_style
from histoscribe.image import read_window
from histoscribe.joblog import job_log
from histoscribe.provenance import recall
from histoscribe.storage import read_h5ad
from histoscribe.tables import read_table

IMAGE_PX = 1200
CANDIDATES = 60  # best genes among which distinct ones are sought


def main(
    predicted: Path,
    aggregated: Path,
    genes: Path,
    section: Path,
    image: Path,
    style: Path,
    palette: Path,
    um_per_px: float,
    outputs: list[Path],
) -> None:
    use_style(style)
    spots = read_h5ad(aggregated)
    row = read_table(section).iloc[0].to_dict()
    scores = read_table(genes).set_index("gene")
    compared = spots[spots.obs["is_compared"].to_numpy(dtype=bool)]
    is_skipped = isinstance(row["note"], str)
    names = []
    if not is_skipped:
        best = scores.sort_values("pcc", ascending=False).index[:CANDIDATES]
        names = distinct_best_genes(scores.loc[best, "pcc"], compared[:, best].to_df(), N_GENES)
    spots_um = np.asarray(spots.obsm["spatial"])
    margin_um = row["diameter_um"]
    left, top = spots_um.min(axis=0) - margin_um
    right, bottom = spots_um.max(axis=0) + margin_um
    extent_um = left, right, bottom, top
    with open_h5ad(predicted) as units:
        facts = recall(units.uns)
        units_um = np.asarray(units.obsm["spatial"])
        shown = np.all((units_um > (left, top)) & (units_um < (right, bottom)), axis=1)
        places = [units.var_names.get_indexer([name]) for name in names]
        single = {
            name: read_columns(units.X, place)[shown, 0]
            for name, place in zip(names, places, strict=True)
        }
        unit_names = units.obs_names[shown]
    maps = SpotMaps(
        np.asarray((spots if is_skipped else compared).obsm["spatial"]),
        row["diameter_um"],
        compared[:, names].to_df(layer="measured").reset_index(drop=True),
        compared[:, names].to_df().reset_index(drop=True),
        units_um[shown],
        facts["unit_size_um"],
        facts["unit"],
        pd.DataFrame(single, index=range(int(shown.sum()))),
    )
    slide = read_window(image, um_per_px, (left, top, right, bottom), IMAGE_PX)
    if is_skipped:
        save_figure(draw_skipped(slide, extent_um, maps, row["note"]), spots.obs, outputs)
        return
    window_um = enlarged_window(maps, extent_um)
    box = window_um[0], window_um[3], window_um[1], window_um[2]
    part = read_window(image, um_per_px, box, IMAGE_PX)
    table = compared.obs.rename_axis("spot").reset_index()
    figure = draw_spots(
        slide, extent_um, part, window_um, maps, table, scores, row, read_palette(palette)
    )
    save_figure(figure, plotted_table(maps, table, scores, unit_names), outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            predicted=Path(snakemake.input.predicted),
            aggregated=Path(snakemake.input.aggregated),
            genes=Path(snakemake.input.genes),
            section=Path(snakemake.input.section),
            image=Path(snakemake.input.image),
            style=Path(snakemake.input.style),
            palette=Path(snakemake.input.palette),
            um_per_px=snakemake.params.um_per_px,
            outputs=[Path(path) for path in snakemake.output],
        )
