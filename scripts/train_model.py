"""Train one experiment's model on the training sections of a fold."""

from pathlib import Path

from histoscribe.adapted.encoder import read_encoder
from histoscribe.experiments import FeatureChoice
from histoscribe.joblog import job_log
from histoscribe.models.bundle import write_bundle
from histoscribe.tables import read_table
from histoscribe.training import TrainingSettings, read_sections, train


def main(
    units: list[Path],
    features: list[Path],
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
    sections = read_sections(units, features, settings.features.encoders, validates, blocks)
    panel = read_table(genes)["gene"].tolist()
    encoders = {name: read_encoder(path, name) for name, path in adapted.items()}
    bundle = train(sections, panel, kind, model_settings, settings, seed, threads, encoders)
    write_bundle(bundle, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            units=[Path(path) for path in snakemake.input.units],
            features=[Path(path) for path in snakemake.input.features],
            adapted=dict(
                zip(snakemake.params.adapted, map(Path, snakemake.input.adapted), strict=True)
            ),
            validates=snakemake.params.validates,
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
