"""Infer genes that a section never measured, from like units of the sections that did."""

import logging
from pathlib import Path

import anndata as ad
import pandas as pd

from histoscribe.integration.genes import most_variable
from histoscribe.integration.inference import infer_genes
from histoscribe.integration.sections import read_section
from histoscribe.joblog import job_log
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.storage import read_h5ad, write_h5ad

LOG = logging.getLogger(__name__)


def main(
    latent: Path,
    parts: list[dict],
    paths: list[Path],
    into: list[str],
    name: str,
    genes: int | list[str],
    n_neighbours: int,
    output: Path,
) -> None:
    units = read_h5ad(latent)
    sections = {
        part["name"]: read_section(part["name"], path, part["is_predicted"], part["unit"])
        for part, path in zip(parts, paths, strict=True)
        if part["name"] == name or part["name"] not in into
    }
    receiver = sections.pop(name)
    donors = list(sections.values())
    if isinstance(genes, int):
        lacked = {g for donor in donors for g in donor.genes} - set(receiver.genes)
        genes = most_variable(donors, sorted(lacked), genes)
    position = {
        part: units.obsm["latent"][units.obs["section"] == part] for part in [name, *sections]
    }
    values = infer_genes(
        position[name], donors, [position[donor.name] for donor in donors], genes, n_neighbours
    )
    LOG.info("%s: %d genes inferred", name, len(genes))
    inferred = ad.AnnData(values, obs=pd.DataFrame(index=receiver.units.astype(str)),
                          var=pd.DataFrame(index=genes))  # fmt: skip
    inferred.obsm["spatial"] = receiver.xy_um
    inferred.uns[RECORD_KEY] = record(
        section=name, donors=list(sections), n_neighbours=n_neighbours,
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
            n_neighbours=snakemake.params.n_neighbours,
            output=Path(snakemake.output[0]),
        )
