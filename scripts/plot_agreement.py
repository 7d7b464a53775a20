"""Draw measured against predicted cell types: maps, zones, shares and confusion."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from histoscribe.annotation.levels import BROAD, shared_units
from histoscribe.figures.agreement import Sides, draw_agreement
from histoscribe.figures.maps import MappedUnits, mapped_units
from histoscribe.figures.style import save_figure, use_style
from histoscribe.figures.windows import Window, busiest_window, window_of
from histoscribe.image import read_window
from histoscribe.joblog import job_log
from histoscribe.storage import read_h5ad
from histoscribe.tables import read_table
from histoscribe.type_colours import read_type_colours, run_colours

IMAGE_PX = 900
ZOOM_SHARE, MIN_ZOOM_UM = 0.2, 150.0  # edge of the zoom, of the section's longer one


def main(
    measured: Path,
    predicted: Path,
    tables: dict[str, Path],
    nuclei: Path | None,
    image: Path,
    all_annotated: list[Path],
    style: Path,
    palette: Path,
    um_per_px: float,
    title: str,
    outputs: list[Path],
) -> None:
    use_style(style)
    truth, guess = shared_units(read_h5ad(measured), read_h5ad(predicted))
    mapped = mapped_units(truth, gpd.read_parquet(nuclei) if nuclei else None)
    named = {"measured": truth.obs, "predicted": guess.obs}
    sides = Sides(mapped, {name: obs["broad_class"] for name, obs in named.items()})
    whole = window_of(mapped.xy_um, mapped.size_um)
    windows = {"whole": whole, "zoom": varied_window(mapped, truth.obs["broad_class"], whole)}
    images = {k: read_window(image, um_per_px, w.bounds, IMAGE_PX) for k, w in windows.items()}
    read = {name: read_table(path) for name, path in tables.items()}
    broad = {name: table[table["level"] == BROAD] for name, table in read.items()}
    page = draw_agreement(
        sides,
        images,
        windows,
        broad["confusion"],
        broad["proportions"].dropna(axis=1, how="all"),
        broad["agreement"],
        run_colours(all_annotated, read_type_colours(palette)),
        title,
    )
    plotted = pd.DataFrame(mapped.xy_um, columns=["x_um", "y_um"], index=truth.obs_names)
    for name, obs in named.items():
        plotted[[f"{name}_type", f"{name}_class"]] = obs[["type", "broad_class"]].to_numpy()
    save_figure(page.figure, plotted.rename_axis("unit").reset_index(), outputs)


def varied_window(units: MappedUnits, classes: pd.Series, whole: Window) -> Window:
    """A window where rarer classes meet: each unit weighs by how rare its class is."""
    share = classes.map(classes.value_counts(normalize=True)).astype(float)
    rarity = np.nan_to_num(-np.log(share.to_numpy()), nan=0.0)
    edge_um = max(ZOOM_SHARE * max(whole.width_um, whole.height_um), MIN_ZOOM_UM)
    return busiest_window(units.xy_um, rarity, whole, edge_um)


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        inputs = dict(snakemake.input.items())
        main(
            measured=Path(inputs["measured"]),
            predicted=Path(inputs["predicted"]),
            tables={name: Path(inputs[name]) for name in ("agreement", "confusion", "proportions")},
            nuclei=Path(inputs["nuclei"]) if "nuclei" in inputs else None,
            image=Path(inputs["image"]),
            all_annotated=[Path(path) for path in snakemake.input.all_annotated],
            style=Path(inputs["style"]),
            palette=Path(inputs["palette"]),
            um_per_px=snakemake.params.um_per_px,
            title=snakemake.params.title,
            outputs=[Path(snakemake.output[key]) for key in ("pdf", "png", "tsv")],
        )
