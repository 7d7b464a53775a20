"""Read what a platform measured into one form: raw counts, positions in um in the image frame."""

from pathlib import Path

from histoscribe.joblog import job_log
from histoscribe.readers import SectionSource, open_section, read_section
from histoscribe.storage import write_h5ad


def main(source: SectionSource, output: Path) -> None:
    write_h5ad(read_section(source), output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            source=open_section(snakemake.wildcards.sample, **snakemake.params.section),
            output=Path(snakemake.output[0]),
        )
