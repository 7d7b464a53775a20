"""Train one experiment's model on the training sections of a fold."""

from pathlib import Path

import pandas as pd

from histoscribe.adapted.encoder import read_encoder
from histoscribe.experiments import FeatureChoice
from histoscribe.joblog import job_log
from histoscribe.models.bundle import write_bundle
from histoscribe.splits import TRAIN, units_in_role
from histoscribe.storage import read_h5ad
from histoscribe.training import SectionData, TrainingSettings, train


def main(
    units: dict[str, Path],
    features: dict[str, dict[str, Path]],
    adapted: dict[str, Path],
    validates: dict[str, bool],
    blocks: dict | None,
    genes: Path,
    kind: str,
    model_settings: dict,
    settings: TrainingSettings,
    seed: int,
    threads: int,
    output: Path,
) -> None:
    sections = [
        SectionData(
            name,
            units_in_role(read_h5ad(units[name]), None if validates[name] else blocks, TRAIN),
            {encoder: read_h5ad(file) for encoder, file in features[name].items()},
            validates[name],
        )
        for name in units
    ]
    panel = pd.read_csv(genes, sep="\t")["gene"].tolist()
    encoders = {name: read_encoder(path, name) for name, path in adapted.items()}
    bundle = train(sections, panel, kind, model_settings, settings, seed, threads, encoders)
    write_bundle(bundle, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        samples = snakemake.params.validates
        encoders = snakemake.params.features["encoders"]
        main(
            units=dict(zip(samples, map(Path, snakemake.input.units), strict=True)),
            features={
                sample: {
                    encoder: Path(snakemake.input.features[i * len(encoders) + j])
                    for j, encoder in enumerate(encoders)
                }
                for i, sample in enumerate(samples)
            },
            adapted=dict(
                zip(snakemake.params.adapted, map(Path, snakemake.input.adapted), strict=True)
            ),
            validates=samples,
            blocks=snakemake.params.blocks,
            genes=Path(snakemake.input.genes),
            kind=snakemake.params.kind,
            model_settings=snakemake.params.model,
            settings=TrainingSettings(
                features=FeatureChoice(**snakemake.params.features),
                target_sum=snakemake.params.target_sum,
                tile_um=snakemake.params.tile_um,
                **snakemake.params.training,
            ),
            seed=snakemake.params.seed,
            threads=snakemake.threads,
            output=Path(snakemake.output[0]),
        )
