"""Gather the scores of every experiment into the one table that a user reads first."""

from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.block_bootstrap import compare
from histoscribe.evaluation.summary import summarise, summary_table, trust_of_alignment
from histoscribe.experiments import BASELINE
from histoscribe.joblog import job_log
from histoscribe.morphology_map.kinds import overestimation_share
from histoscribe.storage import written_whole
from histoscribe.tables import read_table

Key = tuple[str, str, str]  # experiment, fold, sample


def main(
    scores: dict[Key, Path],
    replicates: dict[Key, Path],
    sections: dict[Key, Path],
    alignments: dict[str, Path],
    learnt_from: dict[str, list[str]],
    maps: dict[str, Path],
    summary: Path,
    comparisons: Path,
) -> None:
    verdicts = {
        sample: str(read_table(path).loc[0, "verdict"]) for sample, path in alignments.items()
    }
    genes = {key: read_table(path) for key, path in scores.items()}
    mapped = {sample: read_table(path) for sample, path in maps.items()}
    resampled = {key: read_table(path) for key, path in replicates.items()}
    wholes = {key: read_table(path) for key, path in sections.items()}
    rows, differences = [], []
    for experiment, fold, sample in genes:
        key = experiment, fold, sample
        trained = {name: verdicts[name] for name in learnt_from[fold] if name != sample}
        baseline = genes.get((BASELINE, fold, sample))
        rows.append(
            {
                "experiment": experiment,
                "fold": fold,
                "sample": sample,
                **summarise(genes[key], resampled[key], wholes[key], baseline),
                "alignment": trust_of_alignment(verdicts[sample], trained),
                "overestimation_share": (
                    overestimation_share(genes[key], mapped[sample])
                    if sample in mapped and len(mapped[sample])
                    else np.nan
                ),
            }
        )
    first = next(iter(genes))[0]
    for fold, sample in dict.fromkeys((fold, sample) for _, fold, sample in genes):
        beside = {e: table for (e, f, s), table in resampled.items() if (f, s) == (fold, sample)}
        if len(beside[first]):
            reached = {e: genes[e, fold, sample]["pcc"].mean() for e in beside}
            found = compare(beside, reached, first)
            differences.append(found.assign(fold=fold, sample=sample))
    table = pd.concat(differences) if differences else compare({}, {}, first)
    for frame, path in ((summary_table(rows), summary), (table, comparisons)):
        with written_whole(path) as partial:
            frame.to_csv(partial, sep="\t", index=False, float_format="%.4f")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        keys = [tuple(key) for key in snakemake.params.evaluated]
        main(
            scores=dict(zip(keys, map(Path, snakemake.input.scores), strict=True)),
            replicates=dict(zip(keys, map(Path, snakemake.input.replicates), strict=True)),
            sections=dict(zip(keys, map(Path, snakemake.input.sections), strict=True)),
            alignments=dict(
                zip(snakemake.params.aligned, map(Path, snakemake.input.alignments), strict=True)
            ),
            learnt_from=snakemake.params.learnt_from,
            maps=dict(zip(snakemake.params.mapped, map(Path, snakemake.input.maps), strict=True)),
            summary=Path(snakemake.output.summary),
            comparisons=Path(snakemake.output.comparisons),
        )
