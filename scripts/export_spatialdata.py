"""Write a section as a SpatialData store: image pyramid, shapes, tables, all in um."""

from pathlib import Path

from histoscribe.handover.files import SectionFiles, section_files
from histoscribe.handover.requirement import require_packages
from histoscribe.joblog import job_log


def main(
    files: SectionFiles, image: Path, image_um_per_px: float, threads: int, output: Path
) -> None:
    require_packages("spatialdata")
    from histoscribe.handover.store import build_spatialdata, write_store

    section, outlines, colours = files.read()
    data = build_spatialdata(section, outlines, image, image_um_per_px, colours)
    write_store(data, output, threads)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            files=section_files(dict(snakemake.input.items()), snakemake.params.blocks),
            image=Path(snakemake.input.image),
            image_um_per_px=snakemake.params.um_per_px,
            threads=snakemake.threads,
            output=Path(snakemake.output[0]),
        )
