"""Compare the types of predicted with those of measured expression, and with given labels."""

from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.annotation.agreement import neighbourhood_enrichment, proportions, silhouette
from histoscribe.annotation.labellings import AGREEMENT_COLUMNS, agreement, confusion
from histoscribe.annotation.labels import read_labels
from histoscribe.annotation.levels import BROAD, CLUSTER, TYPE, shared_units
from histoscribe.joblog import job_log
from histoscribe.neighbourhood import typical_reach
from histoscribe.provenance import recall
from histoscribe.storage import read_h5ad, written_whole

MEASURED, LABELS = "measured", "labels"
LEVELS = (BROAD, TYPE, CLUSTER)


def main(
    measured: Path,
    predicted: Path,
    labels: Path | None,
    broad_classes: dict[str, str],
    seed: int,
    outputs: dict[str, Path],
) -> None:
    truth, guess = shared_units(read_h5ad(measured), read_h5ad(predicted))
    xy_um = np.asarray(truth.obsm["spatial"])
    references = {level: {MEASURED: truth.obs[level].astype(object)} for level in LEVELS}
    if labels is not None:
        facts = recall(truth.uns)
        given = read_labels(labels, truth, facts["unit_size_um"], facts["um_per_px"])
        own = {name.lower(): merged for name, merged in broad_classes.items()}
        merged = given.map(lambda name: own.get(str(name).lower(), name), na_action="ignore")
        references[TYPE][LABELS] = references[CLUSTER][LABELS] = given
        references[BROAD][LABELS] = merged
    rows, pairs, shares = [], [], []
    for level, named in references.items():
        own_labels = guess.obs[level].astype(object)
        for name, reference in named.items():
            used = {*truth.obs[level].dropna(), *own_labels.dropna()}
            vocabulary = set(map(str, used)) if name == LABELS else None
            rows.append(agreement(reference, own_labels, name, level, vocabulary))
            if level != CLUSTER:
                pairs.append(confusion(reference, own_labels).assign(against=name, level=level))
        if level != CLUSTER:
            sides = {**named, "predicted": own_labels}
            shares.append(proportions(sides).assign(level=level))
    table = pd.DataFrame(rows, columns=AGREEMENT_COLUMNS)
    table["silhouette_measured"] = [
        silhouette(truth.obsm["X_pca"], truth.obs[level], seed) for level in table["level"]
    ]
    table["silhouette_predicted"] = [
        silhouette(guess.obsm["X_pca"], guess.obs[level], seed) for level in table["level"]
    ]
    table["silhouette_reference_in_predicted"] = [
        silhouette(guess.obsm["X_pca"], references[level][name], seed)
        for level, name in zip(table["level"], table["reference"], strict=True)
    ]
    reach_um = typical_reach(xy_um)
    sides = {MEASURED: truth.obs["broad_class"], "predicted": guess.obs["broad_class"]}
    near = [
        neighbourhood_enrichment(xy_um, side, reach_um, seed).assign(side=name)
        for name, side in sides.items()
    ]
    tables = {
        "agreement": table,
        "confusion": pd.concat(pairs),
        "proportions": pd.concat(shares),
        "neighbourhoods": pd.concat(near),
    }
    for name, content in tables.items():
        with written_whole(outputs[name]) as partial:
            content.to_csv(partial, sep="\t", index=False, float_format="%.5g")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            measured=Path(snakemake.input.measured),
            predicted=Path(snakemake.input.predicted),
            labels=Path(labels) if (labels := snakemake.input.get("labels")) else None,
            broad_classes=snakemake.params.broad_classes,
            seed=snakemake.params.seed,
            outputs={name: Path(path) for name, path in snakemake.output.items()},
        )
