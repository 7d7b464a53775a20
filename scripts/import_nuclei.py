"""Bring nuclei that the user already has into um in the image frame, and say what was mended."""

import logging
from pathlib import Path

import pandas as pd

from histoscribe.joblog import job_log
from histoscribe.polygons import read_polygons
from histoscribe.readers import SectionSource, open_section, xenium
from histoscribe.storage import written_whole

log = logging.getLogger(__name__)


def main(source: SectionSource, polygons: Path, kind: str, output: Path, repairs: Path) -> None:
    # What Xenium gives in um lies in its own frame.
    is_xenium = source.platform == "xenium"
    to_image = xenium.um_to_image(source.files, source.um_per_px) if is_xenium else None
    nuclei, counts = read_polygons(polygons, source.um_per_px, source.size_um, kind, to_image)
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
            source=open_section(snakemake.wildcards.sample, **snakemake.params.section),
            polygons=Path(snakemake.input.polygons),
            kind="cell" if snakemake.wildcards.outlines == "cells" else "nucleus",
            output=Path(snakemake.output.nuclei),
            repairs=Path(snakemake.output.repairs),
        )
