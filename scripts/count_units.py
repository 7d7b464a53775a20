"""Give every unit its molecules: bins or transcripts summed over nuclei, or bins as they are."""

from pathlib import Path

import anndata as ad
import geopandas as gpd

from histoscribe.counting import (
    count_given,
    count_nuclei,
    count_table,
    grid_units,
    outline_units,
    read_bins,
)
from histoscribe.expansion import expand_nuclei
from histoscribe.filtering import add_quality
from histoscribe.image import open_slide
from histoscribe.joblog import job_log
from histoscribe.provenance import RECORD_KEY, recall, record
from histoscribe.readers import open_section
from histoscribe.readers.transcript_table import open_transcripts
from histoscribe.storage import read_h5ad, write_h5ad


def main(
    section: dict,
    image: Path,
    measured: Path | None,
    transcripts: Path | None,
    nuclei: Path | None,
    sample: str,
    unit: str,
    own_counts: bool,
    bin_um: float,
    working_um_per_px: float,
    strategy: str,
    expand_um: float,
    seed: int,
    output: Path,
) -> None:
    outlines = gpd.read_parquet(nuclei) if nuclei else None
    if unit == "cell" and strategy == "expanded":
        strategy = "nucleus"  # cells are grown already
    if measured or transcripts:
        if own_counts:
            counted = read_h5ad(measured)
            facts = recall(counted.uns)
            units, accounting = count_given(counted, outlines)
        elif outlines is not None:
            units, accounting, facts = count(
                measured, transcripts, outlines, strategy, expand_um, seed, unit
            )
        else:
            units = read_h5ad(measured)
            facts = recall(units.uns)
            accounting = {"umi_under_tissue": int(units.X.sum())}
    else:
        # Of an image, or of nuclei that share the molecules of a spot.
        um_per_px = open_section(sample, **section).um_per_px
        facts = {"sample": sample, "platform": "image", "um_per_px": um_per_px}
        accounting = {}
        if outlines is not None:
            units = outline_units(outlines)
        else:
            slide = open_slide(image)
            units = grid_units(
                slide.width_px * working_um_per_px, slide.height_px * working_um_per_px, bin_um
            )
            facts |= {"unit_shape": "square", "unit_size_um": bin_um}
    if outlines is not None:
        facts |= {
            "unit_shape": "polygon",
            "unit_size_um": float(outlines["area_um2"].median() ** 0.5),
        }
    add_quality(units)
    units.uns[RECORD_KEY] = record(**facts | {"unit": unit, "accounting": accounting})
    write_h5ad(units, output)


def count(
    measured: Path | None,
    transcripts: Path | None,
    nuclei: gpd.GeoDataFrame,
    strategy: str,
    expand_um: float,
    seed: int,
    unit: str,
) -> tuple[ad.AnnData, dict[str, int], dict]:
    """Units, accounting, and the facts of the section with how it was counted."""
    grown = expand_nuclei(nuclei, expand_um) if strategy == "expanded" else None
    if transcripts:
        source = open_transcripts(transcripts)
        units, accounting = count_table(source, nuclei, strategy, grown, unit)
    else:
        source = read_bins(measured)
        units, accounting = count_nuclei(source, nuclei, strategy, grown, seed, unit)
    counting = {"strategy": strategy}
    if strategy == "expanded":
        counting["expand_um"] = expand_um
    if strategy == "area":
        counting["seed"] = seed
    return units, accounting, source.facts | {"counting": counting}


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = {name: Path(path) for name, path in snakemake.input.items()}
        main(
            section=snakemake.params.section,
            image=inputs["image"],
            measured=inputs.get("measured"),
            transcripts=inputs.get("transcripts"),
            nuclei=inputs.get("nuclei"),
            sample=snakemake.wildcards.sample,
            unit=snakemake.params.unit,
            own_counts=snakemake.params.own_counts,
            bin_um=snakemake.params.bin_um,
            working_um_per_px=snakemake.params.working_um_per_px,
            strategy=snakemake.params.strategy,
            expand_um=snakemake.params.expand_um,
            seed=snakemake.params.seed,
            output=Path(snakemake.output[0]),
        )
