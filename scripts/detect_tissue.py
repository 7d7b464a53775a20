"""Find the tissue on a section's image, so that bare glass, pen and frames are left alone."""

from pathlib import Path

from histoscribe.joblog import job_log
from histoscribe.storage import written_whole
from histoscribe.tissue import TissueSettings, detect_tissue


def main(image: Path, um_per_px: float, settings: TissueSettings, output: Path) -> None:
    tissue = detect_tissue(image, um_per_px, settings)
    with written_whole(output) as partial:
        tissue.to_parquet(partial)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            image=Path(snakemake.input.image),
            um_per_px=snakemake.params.um_per_px,
            settings=TissueSettings(**snakemake.params.settings),
            output=Path(snakemake.output[0]),
        )
