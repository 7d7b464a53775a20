"""Give every unit its molecules: bins summed over nuclei, or bins and spots as they are."""

from pathlib import Path

import geopandas as gpd

from histoscribe.counting import count_nuclei, grid_units, outline_units
from histoscribe.filtering import add_quality
from histoscribe.image import open_slide
from histoscribe.joblog import job_log
from histoscribe.provenance import RECORD_KEY, recall, record
from histoscribe.readers import full_um_per_px
from histoscribe.storage import read_h5ad, write_h5ad


def main(
    full_image: Path,
    sheet_um_per_px: float | None,
    image: Path,
    measured: Path | None,
    nuclei: Path | None,
    sample: str,
    unit: str,
    bin_um: int,
    working_um_per_px: float,
    output: Path,
) -> None:
    outlines = gpd.read_parquet(nuclei) if nuclei else None
    accounting = {}
    if not measured:
        um_per_px = full_um_per_px(open_slide(full_image), "image", {}, sheet_um_per_px, sample)
        facts = {"sample": sample, "platform": "image", "um_per_px": um_per_px}
    if measured:
        units = read_h5ad(measured)
        facts = recall(units.uns)
        facts.pop("versions")
        if outlines is not None:
            units, accounting = count_nuclei(units, outlines)
        else:
            accounting["umi_under_tissue"] = int(units.X.sum())
    elif outlines is not None:
        units = outline_units(outlines)
    else:
        slide = open_slide(image)
        width_um, height_um = (
            slide.width_px * working_um_per_px,
            slide.height_px * working_um_per_px,
        )
        units = grid_units(width_um, height_um, bin_um)
        facts |= {"unit_shape": "square", "unit_size_um": bin_um}
    if outlines is not None:
        facts["unit_shape"] = "polygon"
        facts["unit_size_um"] = float(outlines["area_um2"].median() ** 0.5)
    add_quality(units)
    units.uns[RECORD_KEY] = record(**facts, unit=unit, accounting=accounting)
    write_h5ad(units, output)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(
            full_image=Path(snakemake.params.section["image"]),
            sheet_um_per_px=snakemake.params.section["um_per_px"],
            image=Path(inputs["image"]),
            measured=Path(inputs["measured"]) if "measured" in inputs else None,
            nuclei=Path(inputs["nuclei"]) if "nuclei" in inputs else None,
            sample=snakemake.wildcards.sample,
            unit=snakemake.params.unit,
            bin_um=snakemake.params.bin_um,
            working_um_per_px=snakemake.params.working_um_per_px,
            output=Path(snakemake.output[0]),
        )
