"""Measure how well sections mix before and after integration, and what of labels is kept."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from histoscribe.integration.mixing import MIXING_COLUMNS, mixing
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad, written_whole

BEFORE, AFTER = "unintegrated", "latent"


def main(units: Path, seed: int, mixing_path: Path, domains_path: Path) -> None:
    integrated = read_h5ad(units)
    section = integrated.obs["section"].cat.codes.to_numpy()
    label = integrated.obs["label"].astype(object)
    spaces = {name: integrated.obsm[name] for name in (BEFORE, AFTER, "factors")}
    rows = [mixing(name, position, section, label, seed) for name, position in spaces.items()]
    with written_whole(mixing_path) as partial:
        pd.DataFrame(rows, columns=MIXING_COLUMNS).to_csv(
            partial, sep="\t", index=False, float_format="%.5g"
        )
    known = label.notna()
    agreement = [
        ("all", *_agreement(label[known], integrated.obs.loc[known, "domain"])),
        *(
            (name, *_agreement(label[own], integrated.obs.loc[own, "domain"]))
            for name in integrated.obs["section"].cat.categories
            if (own := known & (integrated.obs["section"] == name)).any()
        ),
    ]
    columns = ["section", "n_labelled", "n_labels", "n_domains", "ari", "nmi"]
    with written_whole(domains_path) as partial:
        pd.DataFrame(agreement, columns=columns).to_csv(
            partial, sep="\t", index=False, float_format="%.5g"
        )


def _agreement(label: pd.Series, domain: pd.Series) -> tuple[int, int, int, float, float]:
    """Units, labels and domains compared, ARI and NMI; NaN without labels."""
    if label.empty:
        return 0, 0, int(domain.nunique()), np.nan, np.nan
    one, other = label.astype(str), domain.astype(str)
    return (
        len(one), one.nunique(), other.nunique(), adjusted_rand_score(one, other),
        normalized_mutual_info_score(one, other),
    )  # fmt: skip


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            units=Path(snakemake.input.units),
            seed=snakemake.params.seed,
            mixing_path=Path(snakemake.output.mixing),
            domains_path=Path(snakemake.output.domains),
        )
