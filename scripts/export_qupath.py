"""Write a section's units as GeoJSON that QuPath lays on the slide it was given."""

from pathlib import Path

from histoscribe.handover.files import SectionFiles, section_files
from histoscribe.handover.qupath import write_qupath
from histoscribe.image.vendor import bounds_origin_px
from histoscribe.joblog import job_log


def main(files: SectionFiles, slide: Path, n_genes: int, output: Path) -> None:
    section, outlines, colours = files.read(layers=())
    origin_px = bounds_origin_px(slide)
    write_qupath(section, outlines, output, n_genes, colours, origin_px)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            files=section_files(dict(snakemake.input.items()), snakemake.params.blocks),
            slide=Path(snakemake.params.slide),
            n_genes=snakemake.params.n_genes,
            output=Path(snakemake.output[0]),
        )
