"""Read the spots that were measured over a section whose nuclei or cells are predicted."""

from pathlib import Path

from histoscribe.filtering import add_quality
from histoscribe.joblog import job_log
from histoscribe.readers import SectionSource, open_section, read_section
from histoscribe.storage import write_h5ad


def main(source: SectionSource, output: Path) -> None:
    spots = read_section(source)
    add_quality(spots)
    write_h5ad(spots, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            source=open_section(snakemake.wildcards.sample, **snakemake.params.section),
            output=Path(snakemake.output[0]),
        )
