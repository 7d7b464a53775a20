"""Score how strongly each unit of a section expresses each gene program."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.expression import log_normalised
from histoscribe.joblog import job_log
from histoscribe.programs.gathering import (
    SKIPPED,
    gather_programs,
    genes_of_scored,
    programs_in_data,
)
from histoscribe.programs.scoring import (
    leading_genes,
    score_sets,
)
from histoscribe.splits import TEST, units_in_role
from histoscribe.storage import read_h5ad, written_whole

log = logging.getLogger(__name__)


def main(
    expression: Path,
    is_measured: bool,
    sets: list[Path],
    blocks: dict | None,
    settings: dict,
    target_sum: float | str,
    seed: int,
    scores: Path,
    table: Path,
) -> None:
    if is_measured:
        units = read_h5ad(expression)
        levels = log_normalised(units, target_sum)
    else:
        units = levels = units_in_role(read_h5ad(expression, ()), blocks, TEST)
    programs = programs_in_data(
        gather_programs(sets, settings["organs"]),
        units.var_names,
        str(expression),
        settings["min_genes"],
        settings["ignore_case"],
    )
    genes_of = genes_of_scored(programs)
    scored, failed = score_sets(levels, genes_of, seed, settings["control_from"])
    programs = programs.merge(leading_genes(levels, genes_of), on="set", how="left")
    is_failed = programs["set"].isin(failed)
    programs.loc[is_failed, "status"] = SKIPPED
    programs.loc[is_failed, "reason"] = programs["set"].map(failed)
    n_skipped = int((programs["status"] == SKIPPED).sum())
    log.info("%d of %d sets skipped; %s says why", n_skipped, len(programs), table)
    if n_skipped == len(programs):
        log.warning("%s: no gene program could be scored; %s says why", expression, table)
    xy_um = np.asarray(units.obsm["spatial"], dtype=np.float32)
    places = pd.DataFrame(xy_um, columns=["x_um", "y_um"], index=units.obs_names)
    with written_whole(scores) as partial:
        places.join(scored).rename_axis("unit").to_parquet(partial)
    with written_whole(table) as partial:
        programs.to_csv(partial, sep="\t", index=False, float_format="%.3f")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            expression=Path(snakemake.input.expression),
            is_measured=snakemake.params.is_measured,
            sets=[Path(path) for path in snakemake.input.sets],
            blocks=snakemake.params.blocks,
            settings=snakemake.params.settings,
            target_sum=snakemake.params.target_sum,
            seed=snakemake.params.seed,
            scores=Path(snakemake.output.scores),
            table=Path(snakemake.output.sets),
        )
