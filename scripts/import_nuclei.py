"""Bring nuclei that the user already has into um in the image frame, and say what was mended."""

import logging
from pathlib import Path

import pandas as pd

from histoscribe.image import open_slide
from histoscribe.joblog import job_log
from histoscribe.polygons import read_polygons
from histoscribe.readers import full_um_per_px, xenium
from histoscribe.storage import written_whole

log = logging.getLogger(__name__)


def main(
    image: Path,
    polygons: Path,
    platform: str,
    files: dict[str, Path],
    sheet_um_per_px: float | None,
    sample: str,
    kind: str,
    output: Path,
    repairs: Path,
) -> None:
    slide = open_slide(image)
    um_per_px = full_um_per_px(slide, platform, files, sheet_um_per_px, sample)
    size_um = (slide.width_px * um_per_px, slide.height_px * um_per_px)
    # What Xenium gives in um lies in its own frame.
    to_image = xenium.um_to_image(files, um_per_px) if platform == "xenium" else None
    nuclei, counts = read_polygons(polygons, um_per_px, size_um, kind, to_image)
    table = pd.Series(counts, name="count").rename_axis("repair")
    mended = table[(table > 0) & ~table.index.isin(["read", "kept"])]
    if len(mended):
        said = ", ".join(f"{name} {count}" for name, count in mended.items())
        log.warning("%s: of %d polygons %s", polygons, table["read"], said)
    with written_whole(output) as partial:
        nuclei.to_parquet(partial)
    with written_whole(repairs) as partial:
        table.to_csv(partial, sep="\t")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            image=Path(snakemake.input.image),
            polygons=Path(snakemake.input.polygons),
            platform=snakemake.params.section["platform"],
            files={k: Path(v) for k, v in snakemake.params.section["files"].items()},
            sheet_um_per_px=snakemake.params.section["um_per_px"],
            sample=snakemake.wildcards.sample,
            kind="cell" if snakemake.wildcards.outlines == "cells" else "nucleus",
            output=Path(snakemake.output.nuclei),
            repairs=Path(snakemake.output.repairs),
        )
