"""Label the units of each integrated section by like units of the others, and score it."""

import logging
from pathlib import Path

import pandas as pd

from histoscribe.integration.borrowing import transfer_labels
from histoscribe.integration.label_scores import SCORE_COLUMNS, label_confusion, label_scores
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad, written_whole

LOG = logging.getLogger(__name__)
SPACES = ("unintegrated", "latent")


def main(
    units: Path,
    tissue_of: dict[str, str],
    n_neighbours: int,
    labels_path: Path,
    scores_path: Path,
    confusion_path: Path,
) -> None:
    integrated = read_h5ad(units)
    section = integrated.obs["section"].to_numpy().astype(str)
    label = integrated.obs["label"].astype(object)
    tissue = integrated.obs["section"].astype(str).map(tissue_of).to_numpy()
    scores = []
    for space in SPACES:
        found = transfer_labels(integrated.obsm[space], tissue, label, n_neighbours)
        scores += label_scores(space, section, tissue, label, found["transferred"])
    for name in pd.unique(section):
        own = found[section == name]
        LOG.info("%s: %d of %d units labelled by others", name, own.notna().all(axis=1).sum(),
                 len(own))  # fmt: skip
    table = integrated.obs[["section", "unit"]].assign(label=label).join(found)
    with written_whole(labels_path) as partial:
        table.to_csv(partial, sep="\t", index=False, float_format="%.4f", compression="gzip")
    with written_whole(scores_path) as partial:
        pd.DataFrame(scores, columns=SCORE_COLUMNS).to_csv(
            partial, sep="\t", index=False, float_format="%.5g"
        )
    with written_whole(confusion_path) as partial:
        label_confusion(section, label, found["transferred"]).to_csv(
            partial, sep="\t", index=False, float_format="%.5f"
        )


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            units=Path(snakemake.input.units),
            tissue_of={part["name"]: part["tissue"] for part in snakemake.params.parts},
            n_neighbours=snakemake.params.n_neighbours,
            labels_path=Path(snakemake.output.labels),
            scores_path=Path(snakemake.output.scores),
            confusion_path=Path(snakemake.output.confusion),
        )
