"""Write the section's image at the working resolution, tiled and pyramidal."""

import logging
from pathlib import Path

from histoscribe.image import open_slide, write_rescaled
from histoscribe.joblog import job_log
from histoscribe.readers import full_um_per_px
from histoscribe.storage import written_whole

log = logging.getLogger(__name__)


def main(
    image: Path,
    platform: str,
    files: dict[str, Path],
    sheet_um_per_px: float | None,
    working_um_per_px: float,
    sample: str,
    output: Path,
    threads: int = 1,
) -> None:
    slide = open_slide(image)
    um_per_px = full_um_per_px(slide, platform, files, sheet_um_per_px, sample)
    if working_um_per_px < um_per_px / 1.5:
        log.warning(
            "%s: the image has %.3g um/px and is upsampled to the working resolution of %.3g; what "
            "it does not show stays unseen, and nuclei may be missed",
            sample, um_per_px, working_um_per_px,
        )  # fmt: skip
    with written_whole(output) as partial:
        write_rescaled(slide, um_per_px, working_um_per_px, partial, threads)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            image=Path(snakemake.params.section["image"]),
            platform=snakemake.params.section["platform"],
            files={k: Path(v) for k, v in snakemake.params.section["files"].items()},
            sheet_um_per_px=snakemake.params.section["um_per_px"],
            working_um_per_px=snakemake.params.working_um_per_px,
            sample=snakemake.wildcards.sample,
            output=Path(snakemake.output[0]),
            threads=snakemake.threads,
        )
