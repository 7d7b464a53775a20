"""Check that a section's image and its molecules belong together, and say loudly where not."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from histoscribe.alignment import (
    AlignmentSettings,
    alignment_table,
    check_alignment,
    warn_unless_fine,
    without_nuclear_stain,
)
from histoscribe.density import (
    nuclear_detail,
    nuclei_density,
    read_molecules,
    stain_density,
    tissue_tiles,
)
from histoscribe.features.stain import estimate_stain
from histoscribe.image import open_slide
from histoscribe.joblog import job_log
from histoscribe.storage import written_whole


def main(
    image: Path,
    measured: Path,
    nuclei: Path | None,
    sample: str,
    working_um_per_px: float,
    settings: dict,
    output: Path,
) -> None:
    limits = AlignmentSettings(**settings)
    molecules = read_molecules(measured)
    stain = estimate_stain(open_slide(image), working_um_per_px)
    densities = {"image": stain_density(image, working_um_per_px, stain)}
    if nuclei:
        outlines = gpd.read_parquet(nuclei)
        centre_um = shapely.get_coordinates(shapely.centroid(np.asarray(outlines.geometry)))
        densities["nuclei"] = nuclei_density(
            centre_um, outlines["area_um2"].to_numpy(), densities["image"].size_um
        )
    reports = {
        compared: check_alignment(density, molecules, limits)
        for compared, density in densities.items()
    }
    tiles = tissue_tiles(image, working_um_per_px, molecules.xy_um)
    detail = nuclear_detail(tiles, working_um_per_px, stain.white)
    reports["image"] = without_nuclear_stain(reports["image"], detail, limits)
    for compared, report in reports.items():
        warn_unless_fine(sample, report, compared)
    with written_whole(output) as partial:
        alignment_table(reports).to_csv(partial, sep="\t", index=False, float_format="%.4g")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(
            image=Path(inputs["image"]),
            measured=Path(inputs.get("measured") or inputs["transcripts"]),
            nuclei=Path(inputs["nuclei"]) if "nuclei" in inputs else None,
            sample=snakemake.wildcards.sample,
            working_um_per_px=snakemake.params.working_um_per_px,
            settings=snakemake.params.settings,
            output=Path(snakemake.output[0]),
        )
