"""Describe every unit of a section by its image: the unit itself, and the tile around it."""

from pathlib import Path

import geopandas as gpd
import numpy as np

from histoscribe.features.encoders import EncoderSettings, encode
from histoscribe.features.files import write_features
from histoscribe.features.totals import describe_totals
from histoscribe.joblog import job_log
from histoscribe.polygons import footprints, unit_kind
from histoscribe.provenance import recall
from histoscribe.stain_normalisation import open_normalised
from histoscribe.storage import read_h5ad


def main(
    image: Path,
    units: Path,
    nuclei: Path | None,
    um_per_px: float,
    settings: EncoderSettings,
    threads: int,
    stain: Path | None,
    stain_reference: Path | None,
    output: Path,
) -> None:
    adata = read_h5ad(units)
    if settings.kind == "totals":
        write_features(adata, describe_totals(adata), {"kind": "totals"}, output)
        return
    slide, reference = open_normalised(image, stain, stain_reference)
    outlines = gpd.read_parquet(nuclei) if nuclei else None
    units_are_nuclei = nuclei is not None and settings.kind != "nuclei"
    features, identity = encode(
        slide,
        um_per_px,
        adata.obsm["spatial"],
        footprints(adata, outlines if units_are_nuclei else None),
        units_are_nuclei,
        settings,
        unit_kind(recall(adata.uns)),
        threads,
        reference.to_dict() if reference else None,
        np.asarray(outlines.geometry) if outlines is not None else None,
    )
    write_features(adata, features, identity, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(
            image=Path(inputs["image"]),
            units=Path(inputs["units"]),
            nuclei=Path(inputs["nuclei"]) if "nuclei" in inputs else None,
            um_per_px=snakemake.params.um_per_px,
            settings=EncoderSettings(
                **{"tile_um": snakemake.params.tile_um, **snakemake.params.encoder},
                batch_size=snakemake.params.batch_size,
                weights=inputs.get("weights"),
            ),
            threads=snakemake.threads,
            stain=Path(inputs["stain"]) if "stain" in inputs else None,
            stain_reference=Path(inputs["reference"]) if "reference" in inputs else None,
            output=Path(snakemake.output[0]),
        )
