"""Bring nuclei that the user already has into um in the image frame."""

from pathlib import Path

from histoscribe.image import open_slide
from histoscribe.joblog import job_log
from histoscribe.polygons import read_polygons
from histoscribe.readers import full_um_per_px
from histoscribe.storage import written_whole


def main(
    image: Path,
    polygons: Path,
    platform: str,
    files: dict[str, Path],
    sheet_um_per_px: float | None,
    sample: str,
    output: Path,
) -> None:
    slide = open_slide(image)
    um_per_px = full_um_per_px(slide, platform, files, sheet_um_per_px, sample)
    size_um = (slide.width_px * um_per_px, slide.height_px * um_per_px)
    nuclei = read_polygons(polygons, um_per_px, size_um)
    with written_whole(output) as partial:
        nuclei.to_parquet(partial)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            image=Path(snakemake.input.image),
            polygons=Path(snakemake.input.polygons),
            platform=snakemake.params.section["platform"],
            files={k: Path(v) for k, v in snakemake.params.section["files"].items()},
            sheet_um_per_px=snakemake.params.section["um_per_px"],
            sample=snakemake.wildcards.sample,
            output=Path(snakemake.output[0]),
        )
