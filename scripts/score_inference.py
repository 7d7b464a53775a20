"""Score inferred genes by some that were hidden from a section while it was integrated."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from histoscribe.evaluation.scores import pearson
from histoscribe.integration.hiding import without_genes
from histoscribe.integration.inference import (
    N_LIKE,
    SCORE_COLUMNS,
    describe,
    donors_of,
    drawn_units,
    infer_genes,
    log_expression,
    transferred_genes,
)
from histoscribe.integration.sections import Section, read_section
from histoscribe.joblog import job_log
from histoscribe.provenance import RECORD_KEY, recall, record
from histoscribe.storage import read_h5ad, write_h5ad, written_whole


def main(
    latent_path: Path,
    parts: list[dict],
    paths: list[Path],
    into: list[str],
    seed: int,
    scores_path: Path,
    maps_path: Path,
) -> None:
    integrated = read_h5ad(latent_path)
    facts = recall(integrated.uns)
    hidden = facts["hidden_genes"]
    known = {}
    for part, path in zip(parts, paths, strict=True):
        section = read_section(part["name"], path, part["is_predicted"], part["unit"])
        own = integrated.obsm["latent"][(integrated.obs["section"] == section.name).to_numpy()]
        known[section.name] = drawn_units(section, own, len(parts), seed)
    rows, maps = [], []
    for name in into:
        section, latent = known[name]
        givers = [known[part["name"]] for part in donors_of(parts, name, into)]
        sections = [*(donor for donor, _ in givers), without_genes(section, hidden)]
        latents = [*(its for _, its in givers), latent]
        *donors, receiver = describe(sections, latents, facts["genes_used"], hidden, seed)
        measured = log_expression(section, hidden).toarray()
        inferred = infer_genes(receiver, donors, hidden)
        table = pd.DataFrame({"section": name, "gene": hidden})
        table["share_of_units_with"] = (measured > 0).mean(axis=0)
        table["pcc"] = pearson(measured, inferred)
        for column, n_like in (("pcc_like_units", N_LIKE), ("pcc_nearest", 1)):
            table[column] = pearson(measured, transferred_genes(receiver, donors, hidden, n_like))
        rows.append(table)
        maps.append(_mapped(section, hidden, measured, inferred))
    with written_whole(scores_path) as partial:
        pd.concat(rows)[SCORE_COLUMNS].to_csv(partial, sep="\t", index=False, float_format="%.5g")
    joined = ad.concat(maps)
    joined.uns[RECORD_KEY] = record(into=into, hidden_genes=hidden, seed=seed)
    write_h5ad(joined, maps_path)


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
            latent_path=Path(snakemake.input.latent),
            parts=snakemake.params.parts,
            paths=[Path(path) for path in snakemake.input.sections],
            into=snakemake.params.into,
            seed=snakemake.params.seed,
            scores_path=Path(snakemake.output.scores),
            maps_path=Path(snakemake.output.maps),
        )
