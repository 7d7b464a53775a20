"""Train one experiment's model on the training sections of a fold."""

from pathlib import Path

import pandas as pd

from histoscribe.joblog import job_log
from histoscribe.models.bundle import write_bundle
from histoscribe.storage import read_h5ad
from histoscribe.training import SectionData, TrainingSettings, train


def main(
    units: dict[str, Path],
    features: dict[str, Path],
    validates: dict[str, bool],
    genes: Path,
    kind: str,
    model_settings: dict,
    settings: TrainingSettings,
    seed: int,
    threads: int,
    output: Path,
) -> None:
    sections = [
        SectionData(name, read_h5ad(units[name]), read_h5ad(features[name]), validates[name])
        for name in units
    ]
    panel = pd.read_csv(genes, sep="\t")["gene"].tolist()
    bundle = train(sections, panel, kind, model_settings, settings, seed, threads)
    write_bundle(bundle, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        samples = snakemake.params.validates
        main(
            units=dict(zip(samples, map(Path, snakemake.input.units), strict=True)),
            features=dict(zip(samples, map(Path, snakemake.input.features), strict=True)),
            validates=samples,
            genes=Path(snakemake.input.genes),
            kind=snakemake.params.kind,
            model_settings=snakemake.params.model,
            settings=TrainingSettings(
                use=snakemake.params.use,
                target_sum=snakemake.params.target_sum,
                tile_um=snakemake.params.tile_um,
                **snakemake.params.training,
            ),
            seed=snakemake.params.seed,
            threads=snakemake.threads,
            output=Path(snakemake.output[0]),
        )
