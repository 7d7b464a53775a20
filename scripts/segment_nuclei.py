"""Find nuclei in the section's image with StarDist."""

from pathlib import Path

from histoscribe.image import open_slide
from histoscribe.joblog import job_log
from histoscribe.nuclei import SegmentationSettings, segment_nuclei
from histoscribe.polygons import require_on_image
from histoscribe.storage import written_whole


def main(
    image: Path, um_per_px: float, model: Path, settings: dict, threads: int, output: Path
) -> None:
    slide = open_slide(image)
    nuclei = segment_nuclei(slide, um_per_px, model, SegmentationSettings(**settings), threads)
    size_um = (slide.width_px * um_per_px, slide.height_px * um_per_px)
    require_on_image(nuclei, size_um, str(image))
    with written_whole(output) as partial:
        nuclei.to_parquet(partial)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            image=Path(snakemake.input.image),
            um_per_px=snakemake.params.um_per_px,
            model=Path(snakemake.input.model),
            settings={k: v for k, v in snakemake.params.settings.items() if k != "model"},
            threads=snakemake.threads,
            output=Path(snakemake.output[0]),
        )
