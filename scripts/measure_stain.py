"""Measure how a section is stained, over its tissue: once a section, never a tile."""

import json
from pathlib import Path

import geopandas as gpd

from histoscribe.image import open_slide
from histoscribe.joblog import job_log
from histoscribe.stain_normalisation import StainSettings, measure_stain
from histoscribe.storage import written_whole


def main(
    image: Path, tissue: Path, um_per_px: float, settings: StainSettings, output: Path
) -> None:
    stain = measure_stain(open_slide(image), um_per_px, gpd.read_parquet(tissue), settings)
    with written_whole(output) as partial:
        partial.write_text(json.dumps(stain.to_dict()))


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            image=Path(snakemake.input.image),
            tissue=Path(snakemake.input.tissue),
            um_per_px=snakemake.params.um_per_px,
            settings=StainSettings(**snakemake.params.settings),
            output=Path(snakemake.output[0]),
        )
