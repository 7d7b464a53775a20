"""Gather every experiment's scores into the one table that is read first."""

from pathlib import Path

import pandas as pd

from histoscribe.evaluation import SUMMARY_COLUMNS, summarise, trust_of_alignment
from histoscribe.joblog import job_log
from histoscribe.storage import written_whole


def main(
    scores: list[tuple[str, str, str, Path]], alignments: dict[str, Path], output: Path
) -> None:
    verdicts = {
        sample: str(pd.read_csv(path, sep="\t").loc[0, "verdict"])
        for sample, path in alignments.items()
    }
    tested = {sample for _, _, sample, _ in scores}
    trained = {sample: verdict for sample, verdict in verdicts.items() if sample not in tested}
    rows = [
        {
            "experiment": experiment,
            "fold": fold,
            "sample": sample,
            **summarise(pd.read_csv(path, sep="\t")),
            "alignment": trust_of_alignment(verdicts[sample], trained),
        }
        for experiment, fold, sample, path in scores
    ]
    with written_whole(output) as partial:
        pd.DataFrame(rows, columns=SUMMARY_COLUMNS).to_csv(
            partial, sep="\t", index=False, float_format="%.4f"
        )


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            scores=[
                (*key, Path(path))
                for key, path in zip(
                    snakemake.params.evaluated, snakemake.input.scores, strict=True
                )
            ],
            alignments=dict(
                zip(snakemake.params.aligned, map(Path, snakemake.input.alignments), strict=True)
            ),
            output=Path(snakemake.output[0]),
        )
