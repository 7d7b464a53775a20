"""Describe every unit of a section by its image: the unit itself, and the tile around it."""

from pathlib import Path

import anndata as ad
import geopandas as gpd
import pandas as pd

from histoscribe.features.encoders import EncoderSettings, encode
from histoscribe.image import open_slide
from histoscribe.joblog import job_log
from histoscribe.polygons import footprints, unit_kind
from histoscribe.provenance import RECORD_KEY, recall, record
from histoscribe.stain_normalisation import (
    StainNormaliser,
    normalised_slide,
    read_reference,
    read_section_stain,
)
from histoscribe.storage import read_h5ad, write_h5ad


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
    slide, reference = open_slide(image), None
    if stain and stain_reference:
        reference = read_reference(stain_reference)
        slide = normalised_slide(slide, StainNormaliser(read_section_stain(stain), reference))
    outlines = footprints(adata, gpd.read_parquet(nuclei) if nuclei else None)
    features, identity = encode(
        slide,
        um_per_px,
        adata.obsm["spatial"],
        outlines,
        nuclei is not None,
        settings,
        unit_kind(recall(adata.uns)),
        threads,
        reference.to_dict() if reference else None,
    )
    result = ad.AnnData(obs=pd.DataFrame(index=adata.obs_names))
    result.obsm = {
        "spatial": adata.obsm["spatial"],
        "local": features.local,
        "global": features.context,
    }
    result.uns[RECORD_KEY] = record(
        encoder=identity,
        local_names=list(features.local_names),
        global_names=list(features.context_names),
    )
    write_h5ad(result, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(
            image=Path(inputs["image"]),
            units=Path(inputs["units"]),
            nuclei=Path(inputs["nuclei"]) if "nuclei" in inputs else None,
            um_per_px=snakemake.params.um_per_px,
            settings=EncoderSettings(
                **snakemake.params.encoder,
                tile_um=snakemake.params.tile_um,
                batch_size=snakemake.params.batch_size,
                weights=inputs.get("weights"),
            ),
            threads=snakemake.threads,
            stain=Path(inputs["stain"]) if "stain" in inputs else None,
            stain_reference=Path(inputs["reference"]) if "reference" in inputs else None,
            output=Path(snakemake.output[0]),
        )
