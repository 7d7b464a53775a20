"""Read a platform's molecules into one form: gene and position in um in the image frame."""

from pathlib import Path

from histoscribe.joblog import job_log
from histoscribe.readers import SectionSource, open_section, write_transcript_section


def main(source: SectionSource, output: Path) -> None:
    write_transcript_section(source, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            source=open_section(snakemake.wildcards.sample, **snakemake.params.section),
            output=Path(snakemake.output[0]),
        )
