"""Train an adapted encoder on the images and the expression of the training sections."""

from pathlib import Path

from histoscribe.adapted.encoder import AdaptedSettings, write_encoder
from histoscribe.adapted.fitting import SectionToLearn, adapt
from histoscribe.adapted.tile_network import Base, base_from
from histoscribe.joblog import job_log
from histoscribe.splits import TRAIN, units_in_role
from histoscribe.stain_normalisation import open_normalised
from histoscribe.storage import read_h5ad


def main(
    samples: list[str],
    images: list[Path],
    units: list[Path],
    blocks: dict | None,
    stains: list[Path | None],
    stain_reference: Path | None,
    um_per_px: float,
    settings: AdaptedSettings,
    target_sum: float | str,
    seed: int,
    threads: int,
    base: Base | None,
    output: Path,
) -> None:
    sections = []
    for name, image, file, stain in zip(samples, images, units, stains, strict=True):
        slide, _ = open_normalised(image, stain, stain_reference)
        training = units_in_role(read_h5ad(file), blocks, TRAIN)
        sections.append(SectionToLearn(name, slide, um_per_px, training))
    encoder = adapt(sections, settings, target_sum, seed, threads, base)
    write_encoder(encoder, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = snakemake.input
        settings = {k: v for k, v in snakemake.params.settings.items() if k != "kind"}
        main(
            samples=snakemake.params.samples,
            images=[Path(path) for path in inputs.images],
            units=[Path(path) for path in inputs.units],
            blocks=snakemake.params.blocks,
            stains=[Path(p) for p in inputs.get("stains", [])] or [None] * len(inputs.images),
            stain_reference=Path(inputs.reference) if inputs.get("reference") else None,
            um_per_px=snakemake.params.um_per_px,
            settings=AdaptedSettings(**settings),
            target_sum=snakemake.params.target_sum,
            seed=snakemake.params.seed,
            threads=snakemake.threads,
            base=base_from(snakemake.params.base, inputs.get("base")),
            output=Path(snakemake.output[0]),
        )
