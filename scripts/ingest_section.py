"""Read what a platform measured into one form: raw counts, positions in um in the image frame."""

from pathlib import Path

from histoscribe.image import open_slide
from histoscribe.joblog import job_log
from histoscribe.readers import full_um_per_px, read_section
from histoscribe.storage import write_h5ad


def main(
    image: Path,
    platform: str,
    files: dict[str, Path],
    sheet_um_per_px: float | None,
    sample: str,
    output: Path,
) -> None:
    slide = open_slide(image)
    um_per_px = full_um_per_px(slide, platform, files, sheet_um_per_px, sample)
    write_h5ad(read_section(platform, files, slide, um_per_px, sample), output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            image=Path(snakemake.params.section["image"]),
            platform=snakemake.params.section["platform"],
            files={k: Path(v) for k, v in snakemake.params.section["files"].items()},
            sheet_um_per_px=snakemake.params.section["um_per_px"],
            sample=snakemake.wildcards.sample,
            output=Path(snakemake.output[0]),
        )
