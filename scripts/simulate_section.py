"""Simulate a section with known truth: a Space Ranger folder, its H&E and what is really there."""

from pathlib import Path

from histoscribe.joblog import job_log
from histoscribe.simulation import SimulationSettings, simulate_section, write_section


def main(folder: Path, sample: str, settings: dict) -> None:
    section = simulate_section(SimulationSettings(sample=sample, **settings))
    write_section(section, folder)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            folder=Path(snakemake.params.folder),
            sample=snakemake.wildcards.sample,
            settings=snakemake.params.settings,
        )
