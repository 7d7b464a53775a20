"""Tell what the spatial factors of integrated sections stand for, and which genes vary in space."""

from pathlib import Path

import numpy as np
import pandas as pd

from histoscribe.integration.factors import (
    describe_factors,
    factor_genes,
    factor_shares,
    specificity,
    told_by,
)
from histoscribe.integration.sections import read_section
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
    shares = factor_shares(table)
    variable = [
        variable_genes(read_section(part["name"], path, part["is_predicted"], part["unit"]))
        for part, path in zip(parts, paths, strict=True)
    ]
    use = units.obsm["factors"].mean(axis=0, dtype=np.float64)
    genes = factor_genes(shares, specificity(shares, use))
    factors = describe_factors(units, genes)
    best = told_by(genes, factors.loc[factors["is_used"], "factor"].tolist())
    joined = pd.concat(variable).join(best, on="gene")
    for table, path in (
        (factors, factors_path), (genes, genes_path), (joined, variable_path)
    ):  # fmt: skip
        with written_whole(path) as partial:
            table.to_csv(partial, sep="\t", index=False, float_format="%.6g")


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
