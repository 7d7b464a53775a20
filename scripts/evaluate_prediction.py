"""Score a section's prediction against its measurement, gene by gene, and in resampled sections."""

from pathlib import Path

from histoscribe.evaluation import EvaluationSettings, evaluate_section
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad, written_whole


def main(
    predicted: Path,
    units: Path,
    settings: EvaluationSettings,
    seed: int,
    output: Path,
    replicates: Path,
) -> None:
    tables = evaluate_section(read_h5ad(predicted), read_h5ad(units), settings, seed)
    for table, path in zip(tables, (output, replicates), strict=True):
        with written_whole(path) as partial:
            table.to_csv(partial, sep="\t", index=False, float_format="%.6g")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            predicted=Path(snakemake.input.predicted),
            units=Path(snakemake.input.units),
            settings=EvaluationSettings(**snakemake.params.settings),
            seed=snakemake.params.seed,
            output=Path(snakemake.output.scores),
            replicates=Path(snakemake.output.replicates),
        )
