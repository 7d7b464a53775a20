"""Compare predicted with measured scores of gene programs on the units of a section."""

from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.evaluation.stored import open_h5ad
from histoscribe.expression import log_normalised
from histoscribe.joblog import job_log
from histoscribe.programs.agreement import compare_scores, scores_of_halves
from histoscribe.programs.gathering import genes_of_scored
from histoscribe.programs.scoring import score_sets
from histoscribe.storage import read_h5ad, written_whole
from histoscribe.tables import read_table

PLACES = ["x_um", "y_um"]


def main(
    units: Path,
    predicted: Path,
    scores: dict[str, Path],
    sets: dict[str, Path],
    smoothing_um: float,
    control_from: int,
    target_sum: float | str,
    seed: int,
    output: Path,
) -> None:
    scored = {side: pd.read_parquet(path) for side, path in scores.items()}
    tables = {side: read_table(path) for side, path in sets.items()}
    measurable, predictable = (genes_of_scored(tables[s]) for s in ("measured", "predicted"))
    names = scored["predicted"].index
    adata = read_h5ad(units)[names].copy()
    with open_h5ad(predicted) as prediction:
        of_panel = adata[:, adata.var_names.isin(prediction.var_names)].copy()
    shared = {name: genes for name, genes in measurable.items() if name in predictable}
    on_panel, _ = score_sets(log_normalised(of_panel, target_sum), predictable, seed, control_from)
    table = compare_scores(
        scored["measured"].loc[names].drop(columns=PLACES),
        scored["predicted"].drop(columns=PLACES),
        on_panel,
        scores_of_halves(adata, shared, target_sum, seed, control_from),
        scores_of_halves(of_panel, predictable, target_sum, seed, control_from),
        scored["predicted"][PLACES].to_numpy(dtype=np.float64),
        smoothing_um,
        seed,
    )
    counts = pd.DataFrame(
        {f"n_{side}": its.set_index("set")["n_present"] for side, its in tables.items()}
    )
    with written_whole(output) as partial:
        table.merge(counts, left_on="set", right_index=True).to_csv(
            partial, sep="\t", index=False, float_format="%.5g"
        )


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            units=Path(snakemake.input.units),
            predicted=Path(snakemake.input.predicted),
            scores={
                "measured": Path(snakemake.input.measured_scores),
                "predicted": Path(snakemake.input.predicted_scores),
            },
            sets={
                "measured": Path(snakemake.input.measured_sets),
                "predicted": Path(snakemake.input.predicted_sets),
            },
            smoothing_um=snakemake.params.smoothing_um,
            control_from=snakemake.params.control_from,
            target_sum=snakemake.params.target_sum,
            seed=snakemake.params.seed,
            output=Path(snakemake.output.table),
        )
