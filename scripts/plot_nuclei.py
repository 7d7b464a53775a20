"""Draw a section's nuclei over its H&E at three zooms."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from histoscribe.figures.nuclei_overlay import choose_windows, draw_nuclei, overlay_table
from histoscribe.figures.style import read_palette, save_figure, use_style
from histoscribe.image import open_slide, read_window
from histoscribe.joblog import job_log

IMAGE_PX = 1000


def main(
    image: Path,
    nuclei: Path,
    tissue: Path | None,
    um_per_px: float,
    style: Path,
    palette: Path,
    outputs: list[Path],
) -> None:
    use_style(style)
    slide = open_slide(image)
    frame = gpd.read_parquet(nuclei)
    outlines = np.asarray(frame.geometry)
    centre_um = shapely.get_coordinates(shapely.centroid(outlines))
    size_um = (slide.width_px * um_per_px, slide.height_px * um_per_px)
    windows = choose_windows(centre_um, size_um)
    images = [read_window(image, um_per_px, window.bounds, IMAGE_PX) for window in windows]
    covered = np.asarray(gpd.read_parquet(tissue).geometry) if tissue else None
    table = overlay_table(frame, windows, covered)
    figure = draw_nuclei(images, windows, outlines, table, read_palette(palette))
    save_figure(figure, table, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(
            image=Path(inputs["image"]),
            nuclei=Path(inputs["nuclei"]),
            tissue=Path(inputs["tissue"]) if "tissue" in inputs else None,
            um_per_px=snakemake.params.um_per_px,
            style=Path(inputs["style"]),
            palette=Path(inputs["palette"]),
            outputs=[Path(path) for path in snakemake.output],
        )
