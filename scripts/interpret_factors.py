"""Tell what the spatial factors of integrated sections stand for, and which genes vary in space."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from histoscribe.integration.factors import (
    describe_factors,
    factor_genes,
    factor_shares,
    specificity,
    told_by,
)
from histoscribe.integration.gene_shares import Counted, refit_shares
from histoscribe.integration.sections import Section, read_section
from histoscribe.integration.variable_genes import variable_genes
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad, written_whole
from histoscribe.tables import read_table


def main(
    units_path: Path,
    loadings: Path,
    parts: list[dict],
    paths: list[Path],
    factors_path: Path,
    genes_path: Path,
    variable_path: Path,
) -> None:
    units = read_h5ad(units_path)
    table = read_table(loadings).set_index("gene")
    trained = factor_shares(table)
    counted, variable = [], []
    for part, path in zip(parts, paths, strict=True):
        section = read_section(part["name"], path, part["is_predicted"], part["unit"])
        variable.append(variable_genes(section))
        counted.append(counted_of(section, units, table[f"log_offset {section.name}"]))
    refitted = refit_shares(trained.to_numpy(), counted)
    shares = pd.DataFrame(refitted, trained.index, trained.columns)
    use = units.obsm["factors"].mean(axis=0, dtype=np.float64)
    genes = factor_genes(shares, specificity(shares, use), trained)
    factors = describe_factors(units, genes)
    best = told_by(genes, factors.loc[factors["is_used"], "factor"].tolist())
    joined = pd.concat(variable).join(best, on="gene")
    for table, path in (
        (factors, factors_path), (genes, genes_path), (joined, variable_path)
    ):  # fmt: skip
        with written_whole(path) as partial:
            table.to_csv(partial, sep="\t", index=False, float_format="%.6g")


def counted_of(section: Section, units: ad.AnnData, log_offset: pd.Series) -> Counted:
    """Counts of the integrated units on the integrated genes, beside their proportions."""
    own = (units.obs["section"] == section.name).to_numpy()
    rows = section.units.get_indexer(units.obs["unit"][own])
    place = section.genes.get_indexer(log_offset.index)
    chosen = section.counts[rows][:, np.maximum(place, 0)]
    measured = sparse.diags((place >= 0).astype(np.float32))
    proportions = np.asarray(units.obsm["factors"][own], dtype=np.float64)
    return Counted(sparse.csr_matrix(chosen @ measured), proportions, log_offset.to_numpy())


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            units_path=Path(snakemake.input.units),
            loadings=Path(snakemake.input.loadings),
            parts=snakemake.params.parts,
            paths=[Path(path) for path in snakemake.input.sections],
            factors_path=Path(snakemake.output.factors),
            genes_path=Path(snakemake.output.genes),
            variable_path=Path(snakemake.output.variable),
        )
