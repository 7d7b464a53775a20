"""Score inferred genes by genes that were hidden while sections were integrated."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from histoscribe.evaluation.scores import pearson
from histoscribe.integration.inference import (
    SCORE_COLUMNS,
    UNITS,
    infer_genes,
    log_expression,
    standardised,
)
from histoscribe.integration.sections import Section, read_section, some_units
from histoscribe.joblog import job_log
from histoscribe.provenance import recall
from histoscribe.storage import read_h5ad, write_h5ad, written_whole


def main(
    latent: Path,
    parts: list[dict],
    paths: list[Path],
    into: list[str],
    n_neighbours: int,
    seed: int,
    scores_path: Path,
    maps_path: Path,
) -> None:
    integrated = read_h5ad(latent)
    facts = recall(integrated.uns)
    hidden, kept = facts["hidden_genes"], facts["genes_used"]
    rng = np.random.default_rng(seed)
    sections, positions = [], []
    for part, path in zip(parts, paths, strict=True):
        section = read_section(part["name"], path, part["is_predicted"], part["unit"])
        drawn = np.sort(rng.permutation(section.n_units)[:UNITS])
        own = integrated.obsm["latent"][(integrated.obs["section"] == section.name).to_numpy()]
        sections.append(some_units(section, drawn))
        positions.append(own[drawn])
    is_donor = [section.name not in into for section in sections]
    by_all = [gene for gene in kept if all(gene in section.genes for section in sections)]
    by_genes = standardised(sections, by_all, seed)
    donors = [s for s, gives in zip(sections, is_donor, strict=True) if gives]
    ways = {
        "pcc_latent": (positions, n_neighbours),
        "pcc_genes": (by_genes, n_neighbours),
        "pcc_nearest": (by_genes, 1),
    }
    rows, maps = [], []
    for number, section in enumerate(sections):
        if is_donor[number]:
            continue
        median = float(np.median(section.totals()))
        measured = log_expression(section, hidden, median).toarray()
        table = pd.DataFrame({"section": section.name, "gene": hidden})
        table["share_of_units_with"] = (measured > 0).mean(axis=0)
        for column, (position, k) in ways.items():
            given = [p for p, gives in zip(position, is_donor, strict=True) if gives]
            values = infer_genes(position[number], donors, given, hidden, k)
            table[column] = pearson(measured, values)
            if column == "pcc_latent":
                maps.append(_mapped(section, hidden, measured, values))
        rows.append(table)
    with written_whole(scores_path) as partial:
        pd.concat(rows)[SCORE_COLUMNS].to_csv(partial, sep="\t", index=False, float_format="%.5g")
    write_h5ad(ad.concat(maps), maps_path)


def _mapped(
    section: Section, genes: list[str], measured: np.ndarray, inferred: np.ndarray
) -> ad.AnnData:
    """Hidden genes of one section: inferred in X, measured in a layer."""
    obs = pd.DataFrame({"section": section.name}, index=section.name + "/" + section.units)
    maps = ad.AnnData(inferred, obs=obs, var=pd.DataFrame(index=genes))
    maps.layers["measured"] = measured
    maps.obsm["spatial"] = section.xy_um
    return maps


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            latent=Path(snakemake.input.latent),
            parts=snakemake.params.parts,
            paths=[Path(path) for path in snakemake.input.sections],
            into=snakemake.params.into,
            n_neighbours=snakemake.params.n_neighbours,
            seed=snakemake.params.seed,
            scores_path=Path(snakemake.output.scores),
            maps_path=Path(snakemake.output.maps),
        )
