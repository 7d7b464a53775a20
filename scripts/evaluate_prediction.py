"""Score a section's prediction against its measurement, gene by gene and as a whole."""

from contextlib import nullcontext
from pathlib import Path

from histoscribe.evaluation.section import EvaluationSettings, evaluate_section
from histoscribe.evaluation.stored import open_h5ad
from histoscribe.joblog import job_log
from histoscribe.splits import TEST, units_in_role
from histoscribe.storage import read_h5ad, written_whole


def main(
    predicted: Path,
    units: Path,
    blocks: dict | None,
    settings: EvaluationSettings,
    seed: int,
    outputs: dict[str, Path],
) -> None:
    measured = units_in_role(read_h5ad(units), blocks, TEST)
    whole = open_h5ad(predicted) if blocks is None else nullcontext(read_h5ad(predicted))
    with whole as prediction:
        tested = units_in_role(prediction, blocks, TEST)
        evaluation = evaluate_section(tested, measured, settings, seed)
    for name, path in outputs.items():
        with written_whole(path) as partial:
            table = getattr(evaluation, name)
            table.to_csv(partial, sep="\t", index=False, float_format="%.6g")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            predicted=Path(snakemake.input.predicted),
            units=Path(snakemake.input.units),
            blocks=snakemake.params.blocks,
            settings=EvaluationSettings(**snakemake.params.settings),
            seed=snakemake.params.seed,
            outputs={name: Path(path) for name, path in snakemake.output.items()},
        )
