"""Draw the quadrants of a morphology-gene map, with tiles where features are low and high."""

from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.figures.morphology_map import (
    Gallery,
    draw_morphology_map,
    ends_of,
    gallery_um,
)
from histoscribe.figures.style import save_figure, use_style
from histoscribe.image import open_slide
from histoscribe.joblog import job_log
from histoscribe.morphology_map.extremes import FEATURE, most_extreme, shown_features
from histoscribe.tables import read_table


def gallery_of(
    shown: pd.DataFrame, units: pd.DataFrame, image: Path, um_per_px: float, tile_um: float
) -> Gallery:
    """Tiles at both ends of the most extreme feature of each quadrant."""
    xy_um = units[["x_um", "y_um"]].to_numpy()
    slide = open_slide(image)
    size_um = np.array([slide.width_px, slide.height_px]) * um_per_px
    gallery = {}
    for feature in most_extreme(shown).values():
        edge_um = gallery_um(feature, tile_um)
        edge = max(round(edge_um / um_per_px), 8)
        inside = ((xy_um > edge_um / 2) & (xy_um < size_um - edge_um / 2)).all(axis=1)
        ends = ends_of(units.loc[inside, FEATURE + feature].to_numpy(), xy_um[inside], edge_um)
        gallery[feature] = tuple(
            [
                slide.read_region(*np.round(xy / um_per_px - edge / 2).astype(int), edge, edge)
                for xy in xy_um[inside][end]
            ]
            for end in ends
        )
    return gallery


def main(
    table: Path,
    gains: Path,
    genes: Path,
    units: Path,
    image: Path | None,
    style: Path,
    title: str,
    question: str,
    um_per_px: float,
    tile_um: float,
    outputs: list[Path],
) -> None:
    use_style(style)
    shown = shown_features(read_table(table))
    gallery = {}
    if image is not None:
        gallery = gallery_of(shown, read_table(units), image, um_per_px, tile_um)
    page = draw_morphology_map(
        shown, read_table(gains), read_table(genes), gallery, question, title, tile_um
    )
    save_figure(page.figure, shown, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            table=Path(snakemake.input.table),
            gains=Path(snakemake.input.gains),
            genes=Path(snakemake.input.genes),
            units=Path(snakemake.input.units),
            image=Path(path) if (path := snakemake.input.get("image")) else None,
            style=Path(snakemake.input.style),
            title=snakemake.params.title,
            question=snakemake.params.question,
            um_per_px=snakemake.params.um_per_px,
            tile_um=snakemake.params.tile_um,
            outputs=[Path(path) for path in snakemake.output],
        )
