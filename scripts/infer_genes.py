"""Infer genes that a section never measured, from like units of the sections that did."""

import logging
from pathlib import Path

import anndata as ad
import pandas as pd

from histoscribe.integration.genes import most_variable
from histoscribe.integration.inference import describe, infer_genes
from histoscribe.integration.sections import read_section
from histoscribe.joblog import job_log
from histoscribe.provenance import RECORD_KEY, recall, record
from histoscribe.storage import read_h5ad, write_h5ad

LOG = logging.getLogger(__name__)


def main(
    latent: Path,
    parts: list[dict],
    paths: list[Path],
    into: list[str],
    name: str,
    genes: int | list[str],
    seed: int,
    output: Path,
) -> None:
    units = read_h5ad(latent)
    sections, latents = [], []
    for part, path in zip(parts, paths, strict=True):
        if part["name"] == name or part["name"] not in into:
            sections.append(read_section(part["name"], path, part["is_predicted"], part["unit"]))
            latents.append(units.obsm["latent"][(units.obs["section"] == part["name"]).to_numpy()])
    described = describe(sections, latents, recall(units.uns)["genes_used"], seed)
    receiver = next(its for its in described if its.section.name == name)
    donors = [its for its in described if its is not receiver]
    if isinstance(genes, int):
        lacked = {g for donor in donors for g in donor.section.genes} - set(receiver.section.genes)
        genes = most_variable([donor.section for donor in donors], sorted(lacked), genes)
    values = infer_genes(receiver, donors, genes)
    LOG.info("%s: %d genes inferred", name, len(genes))
    inferred = ad.AnnData(values, obs=pd.DataFrame(index=receiver.section.units.astype(str)),
                          var=pd.DataFrame(index=genes))  # fmt: skip
    inferred.obsm["spatial"] = receiver.section.xy_um
    inferred.uns[RECORD_KEY] = record(
        section=name, donors=[donor.section.name for donor in donors],
        values="log1p of molecules at the donors' median library",
    )  # fmt: skip
    write_h5ad(inferred, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            latent=Path(snakemake.input.latent),
            parts=snakemake.params.parts,
            paths=[Path(path) for path in snakemake.input.sections],
            into=snakemake.params.into,
            name=snakemake.wildcards.section,
            genes=snakemake.params.genes,
            seed=snakemake.params.seed,
            output=Path(snakemake.output[0]),
        )
