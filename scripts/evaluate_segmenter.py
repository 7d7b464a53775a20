"""Score a segmenter on labelled images that it was not trained on."""

from pathlib import Path

import pandas as pd

from histoscribe.joblog import job_log
from histoscribe.nuclei import SegmentationSettings, load_segmenter
from histoscribe.segmenter.evaluation import score_images
from histoscribe.segmenter.labelled_images import read_folder, read_simulated
from histoscribe.storage import written_whole


def main(
    model: Path,
    simulated: list[Path],
    folders: dict[str, tuple[Path, float]],
    settings: dict,
    threads: int,
    output: Path,
) -> None:
    network = load_segmenter(model, threads)
    sets = {"simulated": [read_simulated(folder) for folder in simulated]} if simulated else {}
    sets |= {name: read_folder(folder, um_per_px) for name, (folder, um_per_px) in folders.items()}
    table = pd.concat(
        [
            score_images(network, images, SegmentationSettings(**settings)).assign(data=name)
            for name, images in sets.items()
        ]
    )
    with written_whole(output) as partial:
        table.to_csv(partial, sep="\t", index=False, float_format="%.4f")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            model=Path(snakemake.params.model),
            simulated=[Path(image).parent for image in snakemake.input.simulated],
            folders={
                name: (Path(folder), um_per_px)
                for name, (folder, um_per_px) in snakemake.params.folders.items()
            },
            settings=snakemake.params.settings,
            threads=snakemake.threads,
            output=Path(snakemake.output[0]),
        )
