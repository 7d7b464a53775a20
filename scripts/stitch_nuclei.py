"""Join the nuclei of all blocks, each nucleus once."""

from pathlib import Path

import geopandas as gpd

from histoscribe.errors import UserError, problem
from histoscribe.image import open_slide
from histoscribe.joblog import job_log
from histoscribe.nuclei import stitch_nuclei
from histoscribe.polygons import require_on_image
from histoscribe.storage import written_whole


def main(parts: list[Path], tissue: Path, image: Path, um_per_px: float, output: Path) -> None:
    pieces = gpd.read_parquet(tissue)
    nuclei = stitch_nuclei([gpd.read_parquet(part) for part in parts], pieces)
    if nuclei.empty:
        raise UserError(
            problem(
                str(image),
                f"no nucleus on {pieces.area.sum() / 1e6:.3g} mm2 of tissue",
                "nuclei that segmentation.segmenter finds",
                "Check that segmenter's um_per_px and probability_threshold, and the resolution of "
                "the image (um_per_px in the sample sheet); or choose another segmenter.",
            )
        )
    slide = open_slide(image)
    size_um = (slide.width_px * um_per_px, slide.height_px * um_per_px)
    require_on_image(nuclei, size_um, str(image))
    with written_whole(output) as partial:
        nuclei.to_parquet(partial)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            parts=[Path(part) for part in snakemake.input.parts],
            tissue=Path(snakemake.input.tissue),
            image=Path(snakemake.input.image),
            um_per_px=snakemake.params.um_per_px,
            output=Path(snakemake.output[0]),
        )
