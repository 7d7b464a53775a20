"""Draw the first genotype of an entry: where it lies, its copies, and what goes with it."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from histoscribe.figures.copy_profile import (
    chromosome_lengths,
    dna_profile,
    inferred_profiles,
)
from histoscribe.figures.genotype import MappedGenotype, draw_genotype, first_genotype, states
from histoscribe.figures.maps import MappedUnits, mapped_units
from histoscribe.figures.style import save_figure, use_style
from histoscribe.figures.windows import window_of
from histoscribe.image import read_window
from histoscribe.joblog import job_log
from histoscribe.provenance import recall
from histoscribe.storage import read_h5ad
from histoscribe.tables import read_table

PICTURE_PX = 900
TABLES = ("carriers", "genes", "dosage", "image", "units")


def located(path: Path, nuclei: Path | None) -> tuple[MappedUnits, pd.Index]:
    """All units of a section; of a file that does not say how wide they are, as wide as apart."""
    units = read_h5ad(path, ())
    if "unit_size_um" in recall(units.uns):
        mapped = mapped_units(units, gpd.read_parquet(nuclei) if nuclei else None)
    else:
        xy_um = np.asarray(units.obsm["spatial"], dtype=np.float64)[:, :2]
        apart, _ = cKDTree(xy_um).query(xy_um, k=2)
        mapped = MappedUnits(xy_um, float(np.median(apart[:, 1])))
    return mapped, units.obs_names


def main(
    tables: dict[str, Path],
    places: Path,
    nuclei: Path | None,
    image: Path | None,
    style: Path,
    title: str,
    is_inferred: bool,
    um_per_px: float,
    q_below: float,
    outputs: list[Path],
) -> None:
    use_style(style)
    read = {name: read_table(path) for name, path in tables.items()}
    shown = first_genotype(*(read[name] for name in TABLES))
    mapped, names = located(places, nuclei)
    units = read["units"].set_index("unit")
    units.index = units.index.astype(str)
    window = window_of(mapped.xy_um, mapped.size_um)
    picture = read_window(image, um_per_px, window.bounds, PICTURE_PX) if image else None
    state = states(units, shown.row).reindex(names)
    if is_inferred:
        profiles = inferred_profiles(read["segments"])
        lengths = chromosome_lengths(read["segments"])
    else:
        profiles = dna_profile(shown.dosage, shown.name)
        known = [shown.genes, *(profile.table for profile in profiles)]
        lengths = chromosome_lengths(pd.concat([t[["chromosome", "end"]] for t in known]))
    page = draw_genotype(
        shown,
        MappedGenotype(mapped, state, window, picture),
        profiles,
        lengths,
        is_inferred,
        q_below,
        title,
    )
    save_figure(page.figure, shown.genes, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(
            tables={name: Path(inputs[name]) for name in (*TABLES, "segments") if name in inputs},
            places=Path(inputs["places"]),
            nuclei=Path(inputs["nuclei"]) if "nuclei" in inputs else None,
            image=Path(inputs["slide"]) if "slide" in inputs else None,
            style=Path(inputs["style"]),
            title=snakemake.params.title,
            is_inferred=snakemake.params.is_inferred,
            um_per_px=snakemake.params.um_per_px,
            q_below=snakemake.params.q_below,
            outputs=[Path(path) for path in snakemake.output],
        )
