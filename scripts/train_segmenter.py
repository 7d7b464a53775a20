"""Train the segmenter that HistoScribe ships, on simulated and openly licensed images alone."""

from pathlib import Path

from histoscribe.archives import filled_at_once
from histoscribe.joblog import job_log
from histoscribe.segmenter.labelled_images import read_folder, read_simulated
from histoscribe.segmenter.training import TrainingSettings, prepare_images, train_segmenter


def main(
    simulated: list[Path], stained: Path, settings: TrainingSettings, threads: int, output: Path
) -> None:
    training, validation = prepare_images(
        [read_simulated(folder) for folder in simulated], read_folder(stained, None), settings
    )
    with filled_at_once(output) as folder:
        train_segmenter(training, validation, folder, settings, threads)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            simulated=[Path(image).parent for image in snakemake.input.simulated],
            stained=Path(snakemake.input.stained),
            settings=TrainingSettings(**snakemake.params.settings),
            threads=snakemake.threads,
            output=Path(snakemake.output[0]),
        )
