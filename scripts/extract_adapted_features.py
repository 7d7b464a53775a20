"""Describe every unit of a section by an encoder trained on the training sections."""

from pathlib import Path

from histoscribe.adapted.describe import describe_units
from histoscribe.adapted.encoder import read_encoder
from histoscribe.adapted.places import reading_points
from histoscribe.adapted.tile_network import Base, base_from
from histoscribe.errors import UserError, problem
from histoscribe.features.files import columns_digest, write_features
from histoscribe.joblog import job_log
from histoscribe.polygons import unit_kind
from histoscribe.provenance import recall
from histoscribe.splits import unseen_units
from histoscribe.stain_normalisation import open_normalised
from histoscribe.storage import read_h5ad


def main(
    name: str,
    encoder_file: Path,
    image: Path,
    units: Path,
    um_per_px: float,
    tile_um: float,
    stain: Path | None,
    stain_reference: Path | None,
    trained_as: str | None,
    kept: Path | None,
    blocks: dict | None,
    threads: int,
    base: Base | None,
    output: Path,
) -> None:
    encoder = read_encoder(encoder_file, name)
    adata = read_h5ad(units)
    facts = recall(adata.uns)
    if unit_kind(facts) != encoder.unit:
        raise UserError(
            problem(
                f"encoder {name} of {encoder_file}",
                f"an encoder for units that are a {encoder.unit}",
                f"one for a {unit_kind(facts)}",
                "Use the unit that the model was trained for.",
            )
        )
    slide, reference = open_normalised(image, stain, stain_reference)
    features = describe_units(
        slide,
        um_per_px,
        adata.obsm["spatial"],
        reading_points(facts, encoder.settings.um_per_px),
        encoder,
        tile_um,
        threads,
        trained_as,
        unseen_units(adata, read_h5ad(kept), blocks) if kept else None,
        base,
    )
    identity = {
        "kind": "adapted",
        "unit": encoder.unit,
        "tile_um": tile_um,
        "um_per_px": um_per_px,
        "stain": reference.to_dict() if reference else None,
        "weights_sha256": encoder.digest(),
        "columns_sha256": columns_digest(features),
    }
    if base is not None:
        identity["base_tile_um"] = base.tile_um
    write_features(adata, features, identity, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(
            name=snakemake.wildcards.encoder,
            encoder_file=Path(inputs["encoder"]),
            image=Path(inputs["image"]),
            units=Path(inputs["units"]),
            um_per_px=snakemake.params.um_per_px,
            tile_um=snakemake.params.tile_um,
            stain=Path(inputs["stain"]) if "stain" in inputs else None,
            stain_reference=Path(inputs["reference"]) if "reference" in inputs else None,
            trained_as=snakemake.wildcards.sample if snakemake.params.is_trained_on else None,
            kept=Path(inputs["kept"]) if "kept" in inputs else None,
            blocks=snakemake.params.blocks,
            threads=snakemake.threads,
            base=base_from(snakemake.params.base, inputs.get("base")),
            output=Path(snakemake.output[0]),
        )
