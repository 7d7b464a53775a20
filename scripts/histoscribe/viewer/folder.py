"""The viewer of one section, written as a folder that opens from disk."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from histoscribe.provenance import recall
from histoscribe.uncertainty.domain import WARN_MEDIAN, WARN_SHARE
from histoscribe.viewer.annotation import LEVELS, coded
from histoscribe.viewer.data_scripts import write_data_script
from histoscribe.viewer.gene_scripts import write_gene_scripts
from histoscribe.viewer.gene_table import ShownGenes
from histoscribe.viewer.predictions import SectionPrediction
from histoscribe.viewer.quantise import colour_cut, highest, quantise
from histoscribe.viewer.tiles import write_tiles
from histoscribe.viewer.units import OUTLINE_STEP_UM, grid_angle, stored_outlines
from histoscribe.viewer.vendored import copy_vendored

PAGE = "index.html"
APP = "app"  # the page's own code and style


@dataclass(frozen=True)
class ViewedSection:
    """What a viewer shows beside genes.

    `annotations` maps measured and predicted, as far as they are there, to the names of units
    (columns type and broad_class, by unit); `colours` maps each level to a colour a name;
    `alignment` is the first row of alignment.tsv where that is a warning.
    """

    sample: str
    run: str
    experiment: str
    is_measured: bool
    is_simulated: bool
    annotations: dict[str, pd.DataFrame]
    colours: dict[str, dict[str, str]]
    alignment: dict[str, str] | None
    outlines: gpd.GeoDataFrame | None


def write_folder(
    section: ViewedSection,
    prediction: SectionPrediction,
    genes: ShownGenes,
    image: Path,
    um_per_px: float,
    jpeg_quality: int,
    source: Path,
    folder: Path,
) -> None:
    """Write page, libraries, tiles and data into the empty `folder`.

    `source` is resources/viewer. `image` is the section's pyramid at `um_per_px`.
    """
    shutil.copyfile(source / PAGE, folder / PAGE)
    shutil.copytree(source / APP, folder / APP)
    copy_vendored(source / "vendor", folder / "vendor")
    pyramid = write_tiles(image, um_per_px, folder / "tiles", jpeg_quality)
    data = folder / "data"
    names = list(map(str, genes.table.index))
    top = write_gene_scripts(prediction, names, section.is_measured, data / "genes")
    facts, arrays = unit_data(section, prediction)
    arrays |= {f"top_{kind}": numbers for kind, numbers in top.items()}
    write_data_script(data / "units.js", "units", facts, arrays)
    if section.outlines is not None:
        xy_um = np.asarray(prediction.units.obsm["spatial"])
        drawn = stored_outlines(section.outlines, list(prediction.units.obs_names), xy_um)
        write_data_script(data / "outlines.js", "outlines", {"stepUm": OUTLINE_STEP_UM}, drawn)
    about = section_facts(section, prediction, genes) | {"image": asdict(pyramid)}
    write_data_script(data / "section.js", "section", about, {})


def section_facts(
    section: ViewedSection, prediction: SectionPrediction, genes: ShownGenes
) -> dict[str, object]:
    """What the page says of the section, its warnings first, and the table of genes."""
    made = recall(prediction.folds[0].stored.uns)
    rows = genes.table.astype(object).where(genes.table.notna(), None)
    is_round = made["unit_shape"] != "square"
    xy_um = np.asarray(prediction.units.obsm["spatial"])
    return {
        "sample": section.sample,
        "run": section.run,
        "experiment": section.experiment,
        "model": made.get("model"),
        "isMeasured": section.is_measured,
        "isSimulated": section.is_simulated,
        "unit": made["unit"],
        "unitSizeUm": made["unit_size_um"],
        "isRound": is_round,
        "gridAngle": 0.0 if is_round else grid_angle(xy_um),
        "hasOutlines": section.outlines is not None,
        "nUnits": prediction.units.n_obs,
        "warnings": warnings_of(section, prediction.obs),
        "genes": [{"name": str(name), **row} for name, row in rows.to_dict("index").items()],
        "genesLeftOut": genes.left_out,
        "pccIsOfThisSection": section.is_measured,
    }


def warnings_of(section: ViewedSection, obs: pd.DataFrame) -> list[dict[str, str]]:
    """Why what is shown may mislead: a title and an explanation each."""
    warnings = []
    if section.is_simulated:
        warnings.append({"title": "Simulated tissue", "text": "Nothing here is of a patient."})
    if section.alignment is not None:
        warnings.append(
            {
                "title": f"Image and molecules: {section.alignment['verdict']}",
                "text": f"{section.alignment['detail']} Measured values, and how well they were "
                "predicted, can't be trusted on this section.",
            }
        )
    if "out_of_domain" in obs:
        share = float(obs["out_of_domain"].mean())
        median = float(obs["domain_percentile"].median())
        if share > WARN_SHARE or median > WARN_MEDIAN:
            warnings.append(
                {
                    "title": f"Unlike the training sections: {share:.0%} of units out of domain",
                    "text": "Tissue, stain or resolution differ from what the model learnt from; "
                    "do not trust the prediction. Colour by “Unlike training” to see where.",
                }
            )
    return warnings


def unit_data(
    section: ViewedSection, prediction: SectionPrediction
) -> tuple[dict[str, object], dict[str, np.ndarray | list[str]]]:
    """What the page may colour units by beside genes, with the arrays of positions and values.

    `fields` are described in the order of the page's list: by category or by a range.
    """
    units, obs = prediction.units, prediction.obs
    arrays: dict[str, np.ndarray | list[str]] = {
        "position": np.asarray(units.obsm["spatial"], dtype=np.float32),
        "id": list(units.obs_names),
    }
    fields: list[dict[str, object]] = []
    for level, title in LEVELS.items():
        for source, names in section.annotations.items():
            if level in names:
                key = f"{level}_{source}"
                doubtful = (
                    set(names.loc[names["is_ambiguous"], "type"]) if level == "type" else set()
                )
                described, arrays[key] = coded(
                    names[level].reindex(units.obs_names), section.colours[level], doubtful
                )
                fields.append({"key": key, "title": f"{title}, {source}", **described})
    if "domain_percentile" in obs:
        arrays["domain"] = quantise(obs["domain_percentile"].to_numpy(), 1.0)
        arrays["out_of_domain"] = obs["out_of_domain"].to_numpy(np.uint8)
        share = float(obs["out_of_domain"].mean())
        fields.append(
            {
                "key": "domain",
                "title": "Unlike training",
                "high": 1.0,
                "cut": 1.0,
                "flagged": {"key": "out_of_domain", "share": share},
            }
        )
    if section.is_measured:
        umi = np.log10(1 + units.obs["umi"].to_numpy(np.float32))
        arrays["umi"] = quantise(umi, highest(umi))
        high, cut = highest(umi), colour_cut(umi)
        title = "Molecules counted"
        fields.append({"key": "umi", "title": title, "high": high, "cut": cut, "isLog10": True})
    return {"fields": fields}, arrays
