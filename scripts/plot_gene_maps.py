"""Draw measured and predicted maps of a section's best-predicted genes beside its H&E."""

from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.expression import targets
from histoscribe.figures.gene_maps import distinct_best_genes, draw_gene_maps
from histoscribe.figures.style import save_figure, use_style
from histoscribe.image import read_window
from histoscribe.joblog import job_log
from histoscribe.provenance import recall
from histoscribe.splits import TEST, units_in_role
from histoscribe.storage import read_h5ad

IMAGE_PX = 1200


def main(
    scores: Path,
    predicted: Path,
    units: Path,
    image: Path,
    style: Path,
    n_genes: int,
    um_per_px: float,
    blocks: dict | None,
    outputs: list[Path],
) -> None:
    use_style(style)
    table = pd.read_csv(scores, sep="\t").set_index("gene")
    adata, prediction = (units_in_role(read_h5ad(p), blocks, TEST) for p in (units, predicted))
    genes = distinct_best_genes(table["pcc"], prediction.to_df(), n_genes)
    facts = recall(adata.uns)
    xy_um = np.asarray(adata.obsm["spatial"])
    margin = facts["unit_size_um"]
    left, top = xy_um.min(axis=0) - margin
    right, bottom = xy_um.max(axis=0) + margin
    window = read_window(image, um_per_px, (left, top, right, bottom), IMAGE_PX)
    target_sum = recall(prediction.uns)["target_sum"]
    measured = pd.DataFrame(targets(adata, genes, target_sum), columns=genes)
    shown = pd.DataFrame(np.asarray(prediction[:, genes].X), columns=genes)
    figure = draw_gene_maps(
        window,
        (left, right, bottom, top),
        xy_um,
        facts["unit_size_um"],
        measured,
        shown,
        table,
    )
    plotted = pd.concat(
        [
            pd.DataFrame(xy_um, columns=["x_um", "y_um"]),
            measured.add_prefix("measured_"),
            shown.add_prefix("predicted_"),
        ],
        axis=1,
    )
    plotted.insert(0, "unit", adata.obs_names)
    save_figure(figure, plotted, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            scores=Path(snakemake.input.scores),
            predicted=Path(snakemake.input.predicted),
            units=Path(snakemake.input.units),
            image=Path(snakemake.input.image),
            style=Path(snakemake.input.style),
            n_genes=snakemake.params.n_genes,
            um_per_px=snakemake.params.um_per_px,
            blocks=snakemake.params.blocks,
            outputs=[Path(path) for path in snakemake.output],
        )
