"""Write a section as a folder that Xenium Explorer opens."""

from pathlib import Path

from histoscribe.handover.files import SectionFiles, section_files
from histoscribe.handover.requirement import require_packages
from histoscribe.joblog import job_log


def main(files: SectionFiles, image: Path, image_um_per_px: float, output: Path) -> None:
    require_packages("xenium_explorer")
    from histoscribe.handover.xenium_explorer import write_explorer

    section, outlines, _ = files.read(layers=())
    write_explorer(section, outlines, image, image_um_per_px, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            files=section_files(dict(snakemake.input.items()), snakemake.params.blocks),
            image=Path(snakemake.input.image),
            image_um_per_px=snakemake.params.um_per_px,
            output=Path(snakemake.output[0]),
        )
