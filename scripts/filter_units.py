"""Keep the units worth learning from, and write down how many were lost to which rule."""

from pathlib import Path

import pandas as pd

from histoscribe.filtering import FilterSettings, filter_units
from histoscribe.joblog import job_log
from histoscribe.provenance import recall
from histoscribe.storage import read_h5ad, write_h5ad, written_whole


def main(raw: Path, settings: dict, output: Path, accounting: Path) -> None:
    units = read_h5ad(raw)
    facts = recall(units.uns)
    measured = facts["platform"] != "image"
    kept, rules = filter_units(units, FilterSettings(**settings), facts["um_per_px"], measured)
    before = pd.DataFrame(
        [{"rule": rule, "left": count} for rule, count in facts["accounting"].items()]
    )
    stages = [before.assign(stage="counting"), rules.assign(stage="filter")]
    if measured:
        umi_kept = pd.DataFrame([{"rule": "umi_kept", "left": int(kept.X.sum())}])
        stages.append(umi_kept.assign(stage="kept"))
    table = pd.concat(stages)
    with written_whole(accounting) as partial:
        table[["stage", "rule", "failing", "removed", "left"]].astype(
            {"failing": "Int64", "removed": "Int64", "left": "Int64"}
        ).to_csv(partial, sep="\t", index=False)
    write_h5ad(kept, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            raw=Path(snakemake.input.raw),
            settings=snakemake.params.settings,
            output=Path(snakemake.output.units),
            accounting=Path(snakemake.output.accounting),
        )
