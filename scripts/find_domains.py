"""Find the domains that integrated sections share, and lay their units out."""

from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.annotation.embedding import umap_layout
from histoscribe.clustering import nearest_neighbours
from histoscribe.integration.domains import DomainSettings, find_domains
from histoscribe.integration.given_labels import known_labels
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad, write_h5ad, written_whole

LAID_OUT = 20_000  # units, drawn where there are more
SPACES = {"latent": "X_umap", "unintegrated": "X_umap_unintegrated"}


def main(
    latent: Path,
    sections: dict[str, Path],
    labels: dict[str, Path],
    label_column: str | None,
    settings: DomainSettings,
    seed: int,
    units_path: Path,
    shares_path: Path,
) -> None:
    units = read_h5ad(latent)
    units.obs["label"] = pd.Categorical(
        known_labels(units.obs, sections, labels, label_column).to_numpy()
    )
    domain = find_domains(units.obsm["latent"], settings, seed)
    units.obs["domain"] = pd.Categorical(domain + 1)
    shares = pd.crosstab(units.obs["section"], units.obs["domain"], normalize="index")
    drawn = np.random.default_rng(seed).permutation(units.n_obs)[:LAID_OUT]
    for space, layout in SPACES.items():
        position = units.obsm[space][drawn]
        nearest = nearest_neighbours(position, settings.n_neighbours)
        units.obsm[layout] = np.full((units.n_obs, 2), np.nan, dtype=np.float32)
        units.obsm[layout][drawn] = umap_layout(position, nearest, seed)
    write_h5ad(units, units_path)
    with written_whole(shares_path) as partial:
        shares.add_prefix("domain ").to_csv(partial, sep="\t", float_format="%.5f")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        names = snakemake.params.names
        main(
            latent=Path(snakemake.input.latent),
            sections=dict(zip(names, map(Path, snakemake.input.sections), strict=True)),
            labels=dict(
                zip(snakemake.params.labelled, map(Path, snakemake.input.labels), strict=True)
            ),
            label_column=snakemake.params.label_column,
            settings=DomainSettings(**snakemake.params.settings),
            seed=snakemake.params.seed,
            units_path=Path(snakemake.output.units),
            shares_path=Path(snakemake.output.shares),
        )
