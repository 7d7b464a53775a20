"""Grow nuclei into cells without overlap."""

from pathlib import Path

import geopandas as gpd

from histoscribe.expansion import expand_nuclei
from histoscribe.joblog import job_log
from histoscribe.storage import written_whole


def main(nuclei: Path, expand_um: float, output: Path) -> None:
    cells = expand_nuclei(gpd.read_parquet(nuclei), expand_um)
    with written_whole(output) as partial:
        cells.to_parquet(partial)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            nuclei=Path(snakemake.input.nuclei),
            expand_um=snakemake.params.expand_um,
            output=Path(snakemake.output[0]),
        )
