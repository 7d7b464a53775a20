"""Draw one gene over a section as if it were an immunostain, predicted and measured."""

from pathlib import Path

import geopandas as gpd
import numpy as np

from histoscribe.errors import UserError
from histoscribe.figures.gene_maps import Pictured
from histoscribe.figures.maps import mapped_units
from histoscribe.figures.overlay import (
    PANEL_PX,
    Overlaid,
    draw_overlay,
    overlay_table,
    overlay_windows,
)
from histoscribe.figures.style import save_figure, use_style
from histoscribe.gene_names import unknown_gene
from histoscribe.image import read_window
from histoscribe.joblog import job_log
from histoscribe.side_by_side import SideBySide, open_side_by_side


def main(
    predicted: Path,
    units: Path,
    nuclei: Path | None,
    image: Path,
    style: Path,
    gene: str,
    sample: str,
    um_per_px: float,
    blocks: dict | None,
    outputs: list[Path],
) -> None:
    use_style(style)
    with open_side_by_side(units, predicted, blocks) as section:
        drawn = overlaid(section, gene, sample)
    mapped = mapped_units(section.units, gpd.read_parquet(nuclei) if nuclei else None)
    shown = drawn.values.get("measured", drawn.values.get("predicted"))
    windows = overlay_windows(mapped, shown, mapped.window())
    pictures = [Pictured(w, read_window(image, um_per_px, w.bounds, PANEL_PX)) for w in windows]
    figure = draw_overlay(drawn, mapped, pictures)
    table = overlay_table(drawn, mapped, windows)
    table.insert(0, "unit", section.units.obs_names)
    save_figure(figure, table, outputs)


def overlaid(section: SideBySide, gene: str, sample: str) -> Overlaid:
    """The gene's values by side. Raises UserError where neither side knows it."""
    is_predicted = gene in section.predicted_genes
    is_measured = gene in section.units.var_names
    if not is_predicted and not is_measured:
        known = [*section.predicted_genes, *section.units.var_names]
        raise UserError(unknown_gene(gene, dict.fromkeys(known), f"section {sample}"))
    values, notes = {}, []
    if is_predicted:
        values["predicted"] = np.asarray(section.predicted([gene])[gene], dtype=np.float64)
    else:
        notes.append("Measured only: the model does not predict this gene.")
    if is_measured:
        values["measured"] = np.asarray(section.measured([gene])[gene], dtype=np.float64)
    else:
        notes.append("Predicted only: the gene was not measured in this section.")
    notes += [f"No {side} value above 0." for side, v in values.items() if not v.max() > 0]
    return Overlaid(gene, sample, values, notes)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(
            predicted=Path(inputs["predicted"]),
            units=Path(inputs["units"]),
            nuclei=Path(inputs["nuclei"]) if "nuclei" in inputs else None,
            image=Path(inputs["image"]),
            style=Path(inputs["style"]),
            gene=snakemake.wildcards.gene,
            sample=snakemake.wildcards.sample,
            um_per_px=snakemake.params.um_per_px,
            blocks=snakemake.params.blocks,
            outputs=[Path(path) for path in snakemake.output],
        )
