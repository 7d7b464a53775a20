"""Choose the genes to predict, on units of the training sections only."""

from pathlib import Path

from histoscribe.gene_selection import GeneSettings, pool_sections, select_genes
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad, written_whole


def main(units: dict[str, Path], settings: dict, seed: int, output: Path) -> None:
    pooled = pool_sections({sample: read_h5ad(path) for sample, path in units.items()})
    genes = select_genes(pooled, GeneSettings(**settings), seed)
    with written_whole(output) as partial:
        genes.to_csv(partial, sep="\t", index=False)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            units=dict(
                zip(snakemake.params.samples, map(Path, snakemake.input.units), strict=True)
            ),
            settings=snakemake.params.settings,
            seed=snakemake.params.seed,
            output=Path(snakemake.output[0]),
        )
