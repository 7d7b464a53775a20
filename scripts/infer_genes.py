"""Infer genes that a section never measured, from the sections that did."""

import logging
from pathlib import Path

import anndata as ad
import pandas as pd

from histoscribe.errors import UserError, problem
from histoscribe.integration.genes import most_variable
from histoscribe.integration.inference import describe, donors_of, drawn_units, infer_genes
from histoscribe.integration.sections import read_section
from histoscribe.joblog import job_log
from histoscribe.provenance import RECORD_KEY, recall, record
from histoscribe.storage import read_h5ad, write_h5ad

LOG = logging.getLogger(__name__)


def main(
    latent_path: Path,
    parts: list[dict],
    paths: list[Path],
    into: list[str],
    name: str,
    genes: int | list[str],
    seed: int,
    output: Path,
) -> None:
    units = read_h5ad(latent_path)
    sections, latents = [], []
    of_name = {part["name"]: (part, path) for part, path in zip(parts, paths, strict=True)}
    for lender in [*(part["name"] for part in donors_of(parts, name, into)), name]:
        part, path = of_name[lender]
        section = read_section(lender, path, part["is_predicted"], part["unit"])
        latent = units.obsm["latent"][(units.obs["section"] == lender).to_numpy()]
        if lender != name:
            section, latent = drawn_units(section, latent, len(parts), seed)
        sections.append(section)
        latents.append(latent)
    if isinstance(genes, int):
        lenders, own = sections[:-1], sections[-1]
        lacked = {gene for section in lenders for gene in section.genes} - set(own.genes)
        if not lacked:
            raise UserError(
                problem(f"infer_genes, into {name}", "a section that measures all genes of the "
                        "others", "one that lacks some", "Take it out of into, or name genes.")
            )  # fmt: skip
        genes = most_variable(lenders, sorted(lacked), genes)
    used = recall(units.uns)["genes_used"]
    *donors, receiver = describe(sections, latents, used, genes, seed)
    values = infer_genes(receiver, donors, genes)
    LOG.info("%s: %d genes inferred", name, len(genes))
    inferred = ad.AnnData(values, obs=pd.DataFrame(index=receiver.section.units.astype(str)),
                          var=pd.DataFrame(index=genes))  # fmt: skip
    inferred.obsm["spatial"] = receiver.section.xy_um
    inferred.uns[RECORD_KEY] = record(
        section=name, donors=[donor.section.name for donor in donors],
        values="log1p of molecules at the median total of donors' units",
    )  # fmt: skip
    write_h5ad(inferred, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            latent_path=Path(snakemake.input.latent),
            parts=snakemake.params.parts,
            paths=[Path(path) for path in snakemake.input.sections],
            into=snakemake.params.into,
            name=snakemake.wildcards.section,
            genes=snakemake.params.genes,
            seed=snakemake.params.seed,
            output=Path(snakemake.output[0]),
        )
