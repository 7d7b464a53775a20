"""Sum predicted nuclei or cells over the spots that were measured, and score the sums."""

from pathlib import Path

from histoscribe.evaluation.stored import open_h5ad
from histoscribe.joblog import job_log
from histoscribe.spots.comparison import SpotSettings, compare_with_spots
from histoscribe.storage import read_h5ad, write_h5ad, written_whole


def main(
    predicted: Path,
    spots: Path,
    settings: SpotSettings,
    origin: dict,
    seed: int,
    outputs: dict[str, Path],
) -> None:
    with open_h5ad(predicted) as units:
        comparison = compare_with_spots(units, read_h5ad(spots), settings, seed)
    section = comparison.section
    for place, (name, value) in enumerate(origin.items()):
        section.insert(place, name, value)
    tables = {
        "genes": comparison.genes,
        "spots": comparison.spots.obs.reset_index(),
        "section": section,
    }
    for name, table in tables.items():
        with written_whole(outputs[name]) as partial:
            table.to_csv(partial, sep="\t", index=False, float_format="%.6g")
    write_h5ad(comparison.spots, outputs["aggregated"])


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            predicted=Path(snakemake.input.predicted),
            spots=Path(snakemake.input.spots),
            settings=SpotSettings(**snakemake.params.settings),
            origin=snakemake.params.origin,
            seed=snakemake.params.seed,
            outputs={name: Path(path) for name, path in snakemake.output.items()},
        )
