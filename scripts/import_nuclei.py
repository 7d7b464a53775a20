"""Bring nuclei that the user already has into um in the image frame, and say what was mended."""

import logging
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from histoscribe.joblog import job_log
from histoscribe.polygons import GivenPolygons, mend_polygons, read_polygons
from histoscribe.readers import SectionSource, open_section, stereoseq, xenium
from histoscribe.storage import written_whole

log = logging.getLogger(__name__)


def main(source: SectionSource, polygons: Path, kind: str, output: Path, repairs: Path) -> None:
    nuclei, counts = read_outlines(source, polygons, kind)
    table = pd.Series(counts, name="count").rename_axis("repair")
    mended = table[(table > 0) & ~table.index.isin(["read", "kept"])]
    if len(mended):
        said = ", ".join(f"{name} {count}" for name, count in mended.items())
        log.warning("%s: of %d polygons %s", polygons, table["read"], said)
    with written_whole(output) as partial:
        nuclei.to_parquet(partial)
    with written_whole(repairs) as partial:
        table.to_csv(partial, sep="\t")


def read_outlines(
    source: SectionSource, polygons: Path, kind: str
) -> tuple[gpd.GeoDataFrame, dict[str, int]]:
    """Outlines in um of the image, mended, and what was mended."""
    um_per_px, size_um = source.um_per_px, source.size_um
    if polygons in source.files.values():  # cells in Stereo-seq's file of molecules
        outlines, names = stereoseq.read_cell_outlines(source.files, um_per_px)
        given = GivenPolygons(outlines, np.arange(len(names)), names, in_px=False)
        return mend_polygons(given, um_per_px, size_um, str(polygons))
    # What Xenium gives in um lies in its own frame.
    is_xenium = source.platform == "xenium"
    to_image = xenium.um_to_image(source.files, um_per_px) if is_xenium else None
    return read_polygons(polygons, um_per_px, size_um, kind, to_image)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            source=open_section(snakemake.wildcards.sample, **snakemake.params.section),
            polygons=Path(snakemake.input.polygons),
            kind="cell" if snakemake.wildcards.outlines == "cells" else "nucleus",
            output=Path(snakemake.output.nuclei),
            repairs=Path(snakemake.output.repairs),
        )
