"""Draw what was lost on the way from the tissue to the units, and where the cuts lie."""

from pathlib import Path

from histoscribe.figures.quality import draw_quality, quality_table
from histoscribe.figures.style import read_palette, save_figure, use_style
from histoscribe.filtering import FilterSettings, cuts
from histoscribe.joblog import job_log
from histoscribe.provenance import recall
from histoscribe.storage import read_h5ad
from histoscribe.tables import read_table


def main(
    raw: Path,
    accounting: Path,
    sample: str,
    settings: dict,
    style: Path,
    palette: Path,
    outputs: list[Path],
) -> None:
    use_style(style)
    units = read_h5ad(raw)
    facts = recall(units.uns)
    measured = facts["platform"] != "image"
    applied = cuts(FilterSettings(**settings), facts["um_per_px"], measured)
    obs = units.obs if measured else units.obs[units.obs.columns.intersection(["area_um2"])]
    table = quality_table(read_table(accounting), obs, applied)
    save_figure(draw_quality(table, sample, read_palette(palette)), table, outputs)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(
            raw=Path(snakemake.input.raw),
            accounting=Path(snakemake.input.accounting),
            sample=snakemake.wildcards.sample,
            settings=snakemake.params.settings,
            style=Path(snakemake.input.style),
            palette=Path(snakemake.input.palette),
            outputs=[Path(path) for path in snakemake.output],
        )
