"""Set genotypes beside expression of matched neighbours, dosage, and the image."""

from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from histoscribe.annotation.labels import read_labels
from histoscribe.features.files import named_features
from histoscribe.genome.cells import Cells, read_cells
from histoscribe.genome.dna import DnaFeatures, read_dna
from histoscribe.genome.phenotypes import find_phenotypes
from histoscribe.genome.positions import place_genes, read_positions
from histoscribe.genome.segments import BESIDE_OTHERS
from histoscribe.genome.settings import phenotype_settings
from histoscribe.joblog import job_log
from histoscribe.morphology_map.inputs import components_of_features, own_features
from histoscribe.provenance import recall
from histoscribe.storage import read_h5ad, written_whole
from histoscribe.tables import read_table

UNIT_UM = 10.0  # where a file does not say how wide its units are


def read_inferred(path: Path) -> tuple[Cells, DnaFeatures]:
    """Clones as one half of the molecules tells them, with the counts of the other half."""
    read = read_h5ad(path)
    cells = Cells(
        read.X,
        read.var,
        read.obs_names,
        read.obs["kind"].to_numpy(dtype=str),
        np.asarray(read.obsm["spatial"]),
        recall(read.uns),
    )
    clones = read.obs[["clone_by_half"]].astype(object)
    return cells, DnaFeatures(clones.set_axis(["clone"], axis=1), {"clone": "clone"})


def read_given(entry: dict, files: dict[str, Path], seed: int) -> tuple[Cells, DnaFeatures]:
    """Cells with their counts, and what is known of their DNA."""
    where = entry["where"]
    # Files of a retrieved data set stand in `entry`; the inputs are what makes them.
    answers = entry["labels"] or files.get("cells")
    answers = Path(answers) if answers else None
    cells = read_cells(files["units"], entry["cells"], answers, False, seed, where)
    bare = cells.bare()
    sizes = cells.facts.get("unit_size_um", UNIT_UM), cells.facts.get("um_per_px", 1.0)
    if entry["regions"]:
        regions = read_labels(Path(entry["regions"]), bare, *sizes)
    else:  # of a file: what its column says
        regions = pd.Series(cells.kind, index=cells.names)
    return cells, read_dna(Path(entry["dna"]), bare, *sizes, regions)


def read_features(entry: dict, files: dict[str, Path], cells: Cells, seed: int):
    """Features of the cells, in their order; None where a file names none."""
    if "features" in files:
        features = named_features(files["features"])
    elif entry["features"]:
        where = f"{entry['where']}/features"
        features = own_features(read_h5ad(files["units"], ()), entry["features"], where)
    else:
        return None
    if not entry["is_named"]:
        features = components_of_features(features, seed)
    return features.reindex(cells.names)


def main(
    entry: dict,
    files: dict[str, Path],
    settings: dict,
    buffer_um: float,
    target_sum: float | str,
    seed: int,
    outputs: dict[str, Path],
) -> None:
    called = None
    if entry["is_inferred"]:
        cells, dna = read_inferred(files["copies"])
        segments = read_table(files["segments"])
        called = segments[segments["call"].notna() & (segments["beside"] == BESIDE_OTHERS)]
    else:
        cells, dna = read_given(entry, files, seed)
    places = place_genes(cells.var, read_positions(files["positions"]), str(files["positions"]))
    features = read_features(entry, files, cells, seed)
    own = phenotype_settings(settings, buffer_um)
    found = find_phenotypes(
        cells, dna, places, called, features, own, target_sum, seed, entry["where"]
    )
    for name, path in outputs.items():
        with written_whole(path) as partial:
            getattr(found, name).to_csv(partial, sep="\t", index=False, float_format="%.5g")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]), threadpool_limits(snakemake.threads):
        main(
            entry=snakemake.params.entry,
            files={name: Path(path) for name, path in snakemake.input.items()},
            settings=snakemake.params.settings,
            buffer_um=snakemake.params.buffer_um,
            target_sum=snakemake.params.target_sum,
            seed=snakemake.params.seed,
            outputs={name: Path(path) for name, path in snakemake.output.items()},
        )
