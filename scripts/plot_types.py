"""Draw a section's cell types: their map, their UMAP and the genes that mark them."""

from pathlib import Path

import geopandas as gpd
import pandas as pd

from histoscribe.figures.maps import mapped_units
from histoscribe.figures.style import save_figure, use_style
from histoscribe.figures.types import draw_types, drawn_types, marker_dots
from histoscribe.figures.windows import window_of
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad, written_whole
from histoscribe.tables import read_table
from histoscribe.type_colours import read_type_colours, run_colours


def main(
    annotated: Path,
    clusters: Path,
    markers: Path,
    nuclei: Path | None,
    all_annotated: list[Path],
    style: Path,
    palette: Path,
    title: str,
    dots_path: Path,
    outputs: list[Path],
) -> None:
    use_style(style)
    units = read_h5ad(annotated)
    mapped = mapped_units(units, gpd.read_parquet(nuclei) if nuclei else None)
    shown = pd.DataFrame(mapped.xy_um, columns=["x_um", "y_um"], index=units.obs_names)
    shown[["umap_1", "umap_2"]] = units.obsm["X_umap"]
    shown[["cluster", "type", "broad_class"]] = units.obs[["cluster", "type", "broad_class"]]
    table = read_table(clusters)
    dots = marker_dots(table, read_table(markers), drawn_types(units.obs["type"]))
    colours = run_colours(all_annotated, read_type_colours(palette))
    doubtful = set(table.loc[table["is_ambiguous"], "type"])
    window = window_of(mapped.xy_um, mapped.size_um)
    page = draw_types(mapped, window, shown, dots, doubtful, colours, title)
    with written_whole(dots_path) as partial:
        dots.to_csv(partial, sep="\t", index=False, float_format="%.5g")
    save_figure(page.figure, shown.rename_axis("unit").reset_index(), outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(
            annotated=Path(inputs["annotated"]),
            clusters=Path(inputs["clusters"]),
            markers=Path(inputs["markers"]),
            nuclei=Path(inputs["nuclei"]) if "nuclei" in inputs else None,
            all_annotated=[Path(path) for path in snakemake.input.all_annotated],
            style=Path(inputs["style"]),
            palette=Path(inputs["palette"]),
            title=snakemake.params.title,
            dots_path=Path(snakemake.output.dots),
            outputs=[Path(snakemake.output[key]) for key in ("pdf", "png", "tsv")],
        )
