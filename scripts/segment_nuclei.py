"""Find nuclei with StarDist in one share of the blocks of a section's image."""

from pathlib import Path

import geopandas as gpd

from histoscribe.image import open_slide
from histoscribe.joblog import job_log
from histoscribe.nuclei import SegmentationSettings, segment_nuclei
from histoscribe.storage import written_whole


def main(
    image: Path,
    tissue: Path,
    um_per_px: float,
    model: Path,
    settings: dict,
    share: tuple[int, int],
    threads: int,
    output: Path,
) -> None:
    nuclei = segment_nuclei(
        open_slide(image),
        um_per_px,
        model,
        SegmentationSettings(**settings),
        threads,
        gpd.read_parquet(tissue),
        share,
    )
    with written_whole(output) as partial:
        nuclei.to_parquet(partial)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        k, n = snakemake.wildcards.scatteritem.split("-of-")
        main(
            image=Path(snakemake.input.image),
            tissue=Path(snakemake.input.tissue),
            um_per_px=snakemake.params.um_per_px,
            model=Path(snakemake.params.model),
            settings=snakemake.params.settings,
            share=(int(k), int(n)),
            threads=snakemake.threads,
            output=Path(snakemake.output[0]),
        )
