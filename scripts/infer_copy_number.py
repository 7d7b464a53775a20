"""Infer copies along the genome, and clones, from expression beside that of normal cells."""

from dataclasses import asdict
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from histoscribe.genome.cells import read_cells
from histoscribe.genome.clones import clone_names
from histoscribe.genome.copy_number import (
    CopyNumberSettings,
    InferredCopies,
    infer_copy_number,
)
from histoscribe.genome.nuisance import with_density
from histoscribe.genome.positions import place_genes, read_positions
from histoscribe.genome.proof import check_proof
from histoscribe.genome.settings import copy_number_settings
from histoscribe.genome.words import PREDICTED
from histoscribe.joblog import job_log
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.storage import write_h5ad, written_whole
from histoscribe.tables import read_table


def as_anndata(
    cells, places: pd.DataFrame, found: InferredCopies, settings: CopyNumberSettings, facts: dict
) -> ad.AnnData:
    """Units that were looked at: molecules that did not make the clones, clones, and profile."""
    rows, names = found.units, np.array(clone_names(len(found.clones.p)))
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical(cells.kind[rows]),
            "clone": pd.Categorical(names[found.clones.clone], categories=names),
            "posterior": found.clones.posterior,
            "clone_by_half": pd.Categorical(names[found.clones.of_half], categories=names),
        },
        index=cells.names[rows],
    )
    inferred = ad.AnnData(found.other_half, obs=obs, var=places.copy())
    inferred.obsm = {"spatial": cells.xy_um[rows], "copy_profile": found.profile.values}
    inferred.uns["windows"] = found.profile.windows
    inferred.uns[RECORD_KEY] = record(
        **{key: value for key, value in cells.facts.items() if key != "versions"},
        copy_number=asdict(settings), n_pooled=found.n_pooled, n_genes=found.n_genes, **facts,
    )  # fmt: skip
    return inferred


def main(
    entry: dict,
    units: Path,
    answers: Path | None,
    positions: Path,
    proof: Path | None,
    settings: dict,
    seed: int,
    outputs: dict[str, Path],
) -> None:
    where = entry["where"]
    is_predicted = entry["expression"] == PREDICTED
    if is_predicted:
        check_proof(read_table(proof), settings["least_proof"], where)
    cells = read_cells(units, entry["cells"], answers, is_predicted, seed, where)
    known = read_positions(positions)
    places = with_density(place_genes(cells.var, known, str(positions)), known)
    kinds = np.unique(cells.kind)
    reference = list(entry["reference"])
    among = list(entry["among"]) or [kind for kind in kinds if kind not in reference]
    own = copy_number_settings(settings, where)
    found = infer_copy_number(cells, places, reference, among, own, seed, where)
    facts = {"reference": reference, "among": among, "seed": seed, "is_predicted": is_predicted}
    write_h5ad(as_anndata(cells, places, found, own, facts), outputs["copies"])
    for name, table in (("clones", found.table), ("segments", found.segments)):
        with written_whole(outputs[name]) as partial:
            table.to_csv(partial, sep="\t", index=False, float_format="%.5g")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]), threadpool_limits(snakemake.threads):
        entry = snakemake.params.entry
        main(
            entry=entry,
            units=Path(snakemake.input.units),
            # Labels of a retrieved data set stand in `entry`; the input is what makes them.
            answers=Path(path)
            if (path := entry["labels"] or snakemake.input.get("cells"))
            else None,
            positions=Path(snakemake.input.positions),
            proof=Path(path) if (path := snakemake.input.get("proof")) else None,
            settings=snakemake.params.settings,
            seed=snakemake.params.seed,
            outputs={name: Path(path) for name, path in snakemake.output.items()},
        )
