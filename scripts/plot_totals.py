"""Draw total counts and numbers of genes, measured over predicted, beside the H&E."""

from pathlib import Path

import geopandas as gpd

from histoscribe.figures.gene_maps import Pictured
from histoscribe.figures.maps import mapped_units
from histoscribe.figures.style import save_figure, use_style
from histoscribe.figures.totals import PANEL_PX, agreement_table, draw_totals
from histoscribe.image import read_window
from histoscribe.joblog import job_log
from histoscribe.side_by_side import open_side_by_side, unit_sums
from histoscribe.storage import written_whole


def main(
    predicted: Path,
    units: Path,
    nuclei: Path | None,
    image: Path,
    style: Path,
    sample: str,
    um_per_px: float,
    blocks: dict | None,
    agreement_path: Path,
    outputs: list[Path],
) -> None:
    use_style(style)
    with open_side_by_side(units, predicted, blocks) as section:
        depth = section.depth
        sums = unit_sums(section)
        n_genes = len(section.shared_genes)
    mapped = mapped_units(section.units, gpd.read_parquet(nuclei) if nuclei else None)
    window = mapped.window()
    whole = Pictured(window, read_window(image, um_per_px, window.bounds, PANEL_PX))
    agreement = agreement_table(sums, depth)
    figure = draw_totals(whole, mapped, sums, agreement, sample, n_genes, depth)
    with written_whole(agreement_path) as partial:
        agreement.to_csv(partial, sep="\t", index=False, float_format="%.5g")
    sums.insert(0, "unit", section.units.obs_names)
    sums.insert(1, "x_um", mapped.xy_um[:, 0])
    sums.insert(2, "y_um", mapped.xy_um[:, 1])
    save_figure(figure, sums, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(
            predicted=Path(inputs["predicted"]),
            units=Path(inputs["units"]),
            nuclei=Path(inputs["nuclei"]) if "nuclei" in inputs else None,
            image=Path(inputs["image"]),
            style=Path(inputs["style"]),
            sample=snakemake.wildcards.sample,
            um_per_px=snakemake.params.um_per_px,
            blocks=snakemake.params.blocks,
            agreement_path=Path(snakemake.output.agreement),
            outputs=[Path(snakemake.output[key]) for key in ("pdf", "png", "tsv")],
        )
