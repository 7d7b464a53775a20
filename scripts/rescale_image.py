"""Write the section's image at the working resolution, tiled and pyramidal."""

import logging
from pathlib import Path

from histoscribe.image import write_rescaled
from histoscribe.joblog import job_log
from histoscribe.readers import SectionSource, open_section
from histoscribe.storage import written_whole

log = logging.getLogger(__name__)


def main(source: SectionSource, working_um_per_px: float, output: Path, threads: int = 1) -> None:
    if working_um_per_px < source.um_per_px / 1.5:
        log.warning(
            "%s: the image has %.3g um/px and is upsampled to the working resolution of %.3g; what "
            "it does not show stays unseen, and nuclei may be missed",
            source.sample, source.um_per_px, working_um_per_px,
        )  # fmt: skip
    with written_whole(output) as partial:
        write_rescaled(source.slide, source.um_per_px, working_um_per_px, partial, threads)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            source=open_section(snakemake.wildcards.sample, **snakemake.params.section),
            working_um_per_px=snakemake.params.working_um_per_px,
            output=Path(snakemake.output[0]),
            threads=snakemake.threads,
        )
