"""Choose the genes to predict, on training units only, and say which units these were."""

from pathlib import Path

from histoscribe.gene_selection import GeneSettings, chosen_on, pool_sections, select_genes
from histoscribe.joblog import job_log
from histoscribe.splits import TRAIN, units_in_role
from histoscribe.storage import read_h5ad, written_whole


def main(
    units: dict[str, Path],
    blocks: dict | None,
    settings: dict,
    seed: int,
    output: Path,
    output_chosen_on: Path,
) -> None:
    training = {
        sample: units_in_role(read_h5ad(path), blocks, TRAIN) for sample, path in units.items()
    }
    choice = GeneSettings(**settings)
    genes = select_genes(pool_sections(training), choice, seed)
    for table, path in ((genes, output), (chosen_on(training, choice), output_chosen_on)):
        with written_whole(path) as partial:
            table.to_csv(partial, sep="\t", index=False)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            units=dict(
                zip(snakemake.params.samples, map(Path, snakemake.input.units), strict=True)
            ),
            blocks=snakemake.params.blocks,
            settings=snakemake.params.settings,
            seed=snakemake.params.seed,
            output=Path(snakemake.output.genes),
            output_chosen_on=Path(snakemake.output.chosen_on),
        )
