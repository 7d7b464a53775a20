"""Gather every experiment's scores into the one table that is read first."""

from pathlib import Path

import pandas as pd

from histoscribe.evaluation import SUMMARY_COLUMNS, summarise
from histoscribe.joblog import job_log
from histoscribe.storage import written_whole


def main(scores: list[tuple[str, str, str, Path]], output: Path) -> None:
    rows = []
    for experiment, fold, sample, path in scores:
        table = pd.read_csv(path, sep="\t")
        rows.append({"experiment": experiment, "fold": fold, "sample": sample, **summarise(table)})
    with written_whole(output) as partial:
        pd.DataFrame(rows, columns=SUMMARY_COLUMNS).to_csv(
            partial, sep="\t", index=False, float_format="%.4f"
        )


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            scores=[
                (*key, Path(path))
                for key, path in zip(snakemake.params.evaluated, snakemake.input, strict=True)
            ],
            output=Path(snakemake.output[0]),
        )
