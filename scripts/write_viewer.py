"""Write the viewer of a section: its H&E with units coloured by genes, types and uncertainty."""

from pathlib import Path

import geopandas as gpd
import pandas as pd

from histoscribe.archives import filled_at_once
from histoscribe.evaluation.summary import FINE_ALIGNMENTS
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad
from histoscribe.tables import read_table
from histoscribe.type_colours import read_type_colours
from histoscribe.viewer.annotation import colours_by_level, read_annotation
from histoscribe.viewer.folder import ViewedSection, write_folder
from histoscribe.viewer.gene_table import shown_genes
from histoscribe.viewer.predictions import open_predictions

MEASURED = "measured"


def main(
    sample: str,
    run: str,
    experiment: str,
    is_simulated: bool,
    predicted: list[Path],
    blocks: list[dict | None],
    units: Path,
    scores: list[Path],
    annotated: dict[tuple[str, str], Path],
    shown: list[str],
    alignment: Path | None,
    outlines: Path | None,
    image: Path,
    um_per_px: float,
    n_genes: int,
    jpeg_quality: int,
    palette: Path,
    source: Path,
    output: Path,
) -> None:
    names = {key: read_annotation(path) for key, path in annotated.items()}
    colours = colours_by_level(list(names.values()), read_type_colours(palette))
    own = {made_of: table for (made_of, name), table in names.items() if name == sample}
    sources = {
        MEASURED: [table for made_of, table in own.items() if made_of == MEASURED],
        "predicted": [table for made_of, table in own.items() if made_of in shown],
    }
    section = ViewedSection(
        sample=sample,
        run=run,
        experiment=experiment,
        is_measured=bool(scores),
        is_simulated=is_simulated,
        annotations={kind: pd.concat(tables) for kind, tables in sources.items() if tables},
        colours=colours,
        alignment=doubt(alignment),
        outlines=gpd.read_parquet(outlines) if outlines else None,
    )
    tables = [read_table(path) for path in scores]
    with (
        open_predictions(predicted, blocks, read_h5ad(units)) as prediction,
        filled_at_once(output) as folder,
    ):
        genes = shown_genes([fold.stored.var for fold in prediction.folds], tables, n_genes)
        write_folder(
            section, prediction, genes, image, um_per_px, jpeg_quality, source, folder
        )  # fmt: skip


def doubt(alignment: Path | None) -> dict[str, str] | None:
    """The verdict on a section and its explanation, where it is not fine."""
    if alignment is None:
        return None
    whole = read_table(alignment).iloc[0]
    if whole["verdict"] in FINE_ALIGNMENTS:
        return None
    return {"verdict": str(whole["verdict"]), "detail": str(whole["detail"])}


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        keys = [tuple(key) for key in snakemake.params.annotated]
        main(
            sample=snakemake.wildcards.sample,
            run=snakemake.params.run,
            experiment=snakemake.params.experiment,
            is_simulated=snakemake.params.is_simulated,
            predicted=[Path(path) for path in snakemake.input.predicted],
            blocks=snakemake.params.blocks,
            units=Path(snakemake.input.units),
            scores=[Path(path) for path in snakemake.input.scores],
            annotated=dict(zip(keys, map(Path, snakemake.input.annotated), strict=True)),
            shown=snakemake.params.shown,
            alignment=Path(inputs["alignment"]) if "alignment" in inputs else None,
            outlines=Path(inputs["nuclei"]) if "nuclei" in inputs else None,
            image=Path(snakemake.input.image),
            um_per_px=snakemake.params.um_per_px,
            n_genes=snakemake.params.n_genes,
            jpeg_quality=snakemake.params.jpeg_quality,
            palette=Path(snakemake.input.palette),
            source=Path(snakemake.input.page).parent,
            output=Path(snakemake.output[0]),
        )
