"""Score a section's prediction against its measurement, gene by gene."""

from pathlib import Path

from histoscribe.evaluation import evaluate_section
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad, written_whole


def main(predicted: Path, units: Path, n_repeats: int, seed: int, output: Path) -> None:
    scores = evaluate_section(read_h5ad(predicted), read_h5ad(units), n_repeats, seed)
    with written_whole(output) as partial:
        scores.to_csv(partial, sep="\t", index=False, float_format="%.6g")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            predicted=Path(snakemake.input.predicted),
            units=Path(snakemake.input.units),
            n_repeats=snakemake.params.ceiling_repeats,
            seed=snakemake.params.seed,
            output=Path(snakemake.output[0]),
        )
