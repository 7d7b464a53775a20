"""Search for better settings of one experiment's model, by training tissue held out."""

from pathlib import Path

from histoscribe.experiments import FeatureChoice
from histoscribe.joblog import job_log
from histoscribe.storage import written_whole
from histoscribe.tables import read_table
from histoscribe.training import TrainingSettings, prepare, read_sections
from histoscribe.tuning import TuningSettings, best_override, space_of, trials_table, tune


def main(
    units: list[Path],
    features: list[Path],
    validates: dict[str, bool],
    blocks: dict | None,
    genes: Path,
    kind: str,
    model_settings: dict,
    settings: TrainingSettings,
    search: TuningSettings,
    seed: int,
    threads: int,
    trials: Path,
    best: Path,
) -> None:
    space_of(kind)  # a kind without one stops here, before anything is read
    sections = read_sections(units, features, settings.features.encoders, validates, blocks)
    panel = read_table(genes)["gene"].tolist()
    training = prepare(sections, panel, kind, settings, seed).training
    study = tune(training, kind, model_settings, search, seed, threads, trials.parent)
    with written_whole(trials) as partial:
        trials_table(study).to_csv(partial, sep="\t", index=False)
    with written_whole(best) as partial:
        partial.write_text(best_override(study, kind))


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        minutes = snakemake.params.timeout_minutes
        main(
            units=[Path(path) for path in snakemake.input.units],
            features=[Path(path) for path in snakemake.input.features],
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
            search=TuningSettings(
                n_trials=snakemake.params.n_trials,
                timeout_s=None if minutes is None else 60 * minutes,
                block_um=snakemake.params.training["block_um"],
                code=snakemake.params.code,
            ),
            seed=snakemake.params.seed,
            threads=snakemake.threads,
            trials=Path(snakemake.output.trials),
            best=Path(snakemake.output.best),
        )
