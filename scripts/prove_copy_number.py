"""Infer clones of held-out sections from predictions and from measurements: do they agree?"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from histoscribe.genome.cells import read_cells
from histoscribe.genome.copy_number import infer_copy_number
from histoscribe.genome.nuisance import with_density
from histoscribe.genome.positions import place_genes, read_positions
from histoscribe.genome.proof import PROOF_COLUMNS, proof_row
from histoscribe.genome.settings import copy_number_settings
from histoscribe.joblog import job_log
from histoscribe.storage import written_whole


def main(
    entry: dict,
    samples: list[str],
    labels: list[str | None],
    files: dict[str, list[Path]],
    positions: Path,
    settings: dict,
    seed: int,
    output: Path,
) -> None:
    own = replace(copy_number_settings(settings, entry["where"]), n_halvings=0)
    known = read_positions(positions)
    reference, rows = list(entry["reference"]), []
    for number, sample in enumerate(samples):
        where = f"{entry['where']}, {sample}"
        both = []
        for source in ("measured", "predicted"):
            cells = read_cells(
                files[source][number],
                entry["cells"],
                Path(labels[number] or files[f"{source}_cells"][number]),
                source == "predicted",
                seed,
                where,
            )
            kinds = [kind for kind in np.unique(cells.kind) if kind not in reference]
            among = list(entry["among"]) or kinds
            places = with_density(place_genes(cells.var, known, str(positions)), known)
            found = infer_copy_number(cells, places, reference, among, own, seed, where)
            both += [found, cells.names]
        rows.append(proof_row(sample, *both))
    with written_whole(output) as partial:
        table = pd.DataFrame(rows, columns=PROOF_COLUMNS)
        table.to_csv(partial, sep="\t", index=False, float_format="%.4g")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]), threadpool_limits(snakemake.threads):
        names = ("measured", "measured_cells", "predicted", "predicted_cells")
        main(
            entry=snakemake.params.entry,
            samples=snakemake.params.samples,
            labels=snakemake.params.labels,
            files={name: [Path(path) for path in snakemake.input[name]] for name in names},
            positions=Path(snakemake.input.positions),
            settings=snakemake.params.settings,
            seed=snakemake.params.seed,
            output=Path(snakemake.output[0]),
        )
