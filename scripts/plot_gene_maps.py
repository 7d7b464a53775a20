"""Draw measured and predicted maps of a section's best-predicted genes beside its H&E."""

from pathlib import Path

import geopandas as gpd
import pandas as pd

from histoscribe.figures.gene_maps import (
    CANDIDATES,
    PANEL_PX,
    Pictured,
    distinct_best_genes,
    draw_gene_maps,
    gene_insets,
    inset_table,
)
from histoscribe.figures.maps import mapped_units
from histoscribe.figures.style import save_figure, use_style
from histoscribe.image import read_window
from histoscribe.joblog import job_log
from histoscribe.side_by_side import open_side_by_side
from histoscribe.storage import written_whole
from histoscribe.tables import read_table


def main(
    scores: Path,
    predicted: Path,
    units: Path,
    nuclei: Path | None,
    image: Path,
    style: Path,
    n_genes: int,
    um_per_px: float,
    blocks: dict | None,
    insets_table: Path,
    outputs: list[Path],
) -> None:
    use_style(style)
    table = read_table(scores).set_index("gene")
    best = table["pcc"].sort_values(ascending=False).head(max(CANDIDATES, n_genes))
    with open_side_by_side(units, predicted, blocks) as section:
        genes = distinct_best_genes(best, section.predicted(list(best.index)), n_genes)
        measured, shown = section.measured(genes), section.predicted(genes)
    mapped = mapped_units(section.units, gpd.read_parquet(nuclei) if nuclei else None)
    whole = mapped.window()
    insets = gene_insets(mapped, measured, whole)

    def pictured(window):
        return Pictured(window, read_window(image, um_per_px, window.bounds, PANEL_PX))

    figure = draw_gene_maps(
        pictured(whole),
        {gene: pictured(window) for gene, window in insets.items()},
        mapped,
        measured,
        shown,
        table,
    )
    plotted = pd.concat(
        [
            pd.DataFrame(mapped.xy_um, columns=["x_um", "y_um"]),
            measured.add_prefix("measured_"),
            shown.add_prefix("predicted_"),
        ],
        axis=1,
    )
    plotted.insert(0, "unit", section.units.obs_names)
    with written_whole(insets_table) as partial:
        chosen = inset_table(insets, measured, shown, table)
        chosen.to_csv(partial, sep="\t", index=False, float_format="%.5g")
    save_figure(figure, plotted, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(
            scores=Path(inputs["scores"]),
            predicted=Path(inputs["predicted"]),
            units=Path(inputs["units"]),
            nuclei=Path(inputs["nuclei"]) if "nuclei" in inputs else None,
            image=Path(inputs["image"]),
            style=Path(inputs["style"]),
            n_genes=snakemake.params.n_genes,
            um_per_px=snakemake.params.um_per_px,
            blocks=snakemake.params.blocks,
            insets_table=Path(snakemake.output.insets),
            outputs=[Path(snakemake.output[key]) for key in ("pdf", "png", "tsv")],
        )
