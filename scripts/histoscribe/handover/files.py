"""The files of a run that make up a section to hand over."""

from dataclasses import dataclass, field
from pathlib import Path

import geopandas as gpd
import numpy as np

from histoscribe.handover.outlines import unit_outlines
from histoscribe.handover.section import Section, gather_section
from histoscribe.storage import read_h5ad
from histoscribe.tables import read_table
from histoscribe.type_colours import read_type_colours, run_colours


@dataclass(frozen=True)
class SectionFiles:
    """Where a section's results are: one prediction and `blocks` for each fold that tests it.

    `nuclei` is None for bins and spots. `annotations` are the section's own by what was annotated;
    `all_annotations` are those of the run, whose types share the colours of `palette`.
    """

    units: Path
    predictions: list[Path]
    blocks: list[dict | None]
    palette: Path
    nuclei: Path | None = None
    scores: list[Path] = field(default_factory=list)
    annotations: dict[str, list[Path]] = field(default_factory=dict)
    all_annotations: list[Path] = field(default_factory=list)

    def read(
        self, layers: tuple[str, ...] | None = None
    ) -> tuple[Section, np.ndarray, dict[str, str]]:
        """The section, the outlines of its units (n_units,) in um, and the run's colours.

        `layers` of the predictions that are read; None: all.
        """
        section = gather_section(
            read_h5ad(self.units),
            [read_h5ad(path, layers) for path in self.predictions],
            self.blocks,
            [read_table(path) for path in self.scores],
            {
                source: [read_h5ad(path).obs for path in paths]
                for source, paths in self.annotations.items()
            },
        )
        nuclei = gpd.read_parquet(self.nuclei) if self.nuclei else None
        outlines = unit_outlines(section, nuclei)
        colours = run_colours(self.all_annotations, read_type_colours(self.palette))
        return section, outlines, colours


def section_files(inputs: dict, blocks: list[dict | None]) -> SectionFiles:
    """The files under the names that the rules of `handover.smk` give them."""

    def paths(name: str) -> list[Path]:
        found = inputs.get(name, [])
        return [Path(found)] if isinstance(found, str) else [Path(path) for path in found]

    return SectionFiles(
        units=Path(inputs["units"]),
        predictions=paths("predicted"),
        blocks=blocks,
        palette=Path(inputs["palette"]),
        nuclei=next(iter(paths("nuclei")), None),
        scores=paths("scores"),
        annotations={source: paths(f"{source}_annotation") for source in ("measured", "predicted")},
        all_annotations=paths("annotated"),
    )
