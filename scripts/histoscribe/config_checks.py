"""What a config must hold beyond its schema: files that are there, names that are defined.

Light: the Snakefile imports it.
"""

import re
from itertools import product
from pathlib import Path

from histoscribe.adapted.reach import OWN_STARTS
from histoscribe.errors import problem
from histoscribe.experiments import BASELINES, DEFAULT_GENE_SET, PRETRAINED, encoders_of
from histoscribe.platforms import unit_width_um
from histoscribe.retrieval import SEGMENTERS
from histoscribe.tile_limits import least_tile_um

FOLDERS = (
    "sections",
    "features",
    "genes",
    "folds",
    "annotated",
    "measured",
    "programs",
    "enriched",
    "spots",
    "figures",
    "integrated",
    "viewer",
    "exported",
    "simulated",
    "segmenter",
    "spots",
    "stain",
    "logs",
)
RESERVED = (*FOLDERS, "benchmarks", DEFAULT_GENE_SET, *BASELINES, PRETRAINED)
MODEL_FILES = ("config.json", "thresholds.json", "weights_best.h5")  # of a StarDist model
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


def config_problems(config: dict) -> list[str]:
    problems = []
    for name in encoders_of(config["features"]):
        problems += encoder_problems(name, config["features"]["encoders"], "config")
    problems += _segmenter_problems(config["segmentation"])
    problems += _training_problems(config["segmenter"])
    problems += _gene_set_problems(config["annotation"], config["programs"], config["enrichment"])
    tissue = config["tissue"]
    if tissue["min_saturation"] > tissue["max_saturation"]:
        problems.append(
            problem(
                "config, tissue/min_saturation",
                f"{tissue['min_saturation']:g}, above max_saturation {tissue['max_saturation']:g}",
                "at most tissue.max_saturation",
                "Lower it or raise the other.",
            )
        )
    if config["bundle"] is not None and not Path(config["bundle"]).is_file():
        problems.append(
            problem("config, bundle", config["bundle"], "a model.safetensors", "Correct the path.")
        )
    return problems


def encoder_problems(name: str, encoders: dict, where: str) -> list[str]:
    """Problems of an encoder that the config or an experiment (`where`) names."""
    encoder = encoders.get(name)
    if encoder is None:
        return [
            problem(
                f"{where}, features/encoder",
                name,
                "one of " + ", ".join(encoders),
                "Define it under features/encoders.",
            )
        ]
    if encoder["kind"] in ("adapted", "totals") and "tile_um" in encoder:
        return [
            problem(
                f"config, features/encoders/{name}/tile_um",
                f"{encoder['tile_um']:g} um",
                f"none where kind is {encoder['kind']}",
                "Remove it; features.tile_um, or the encoder that it starts from, says it.",
            )
        ]
    if encoder["kind"] == "adapted" and encoder["start"] not in OWN_STARTS:
        start = encoders.get(encoder["start"])
        if start is None or start["kind"] not in ("timm", "checkpoint"):
            return [
                problem(
                    f"config, features/encoders/{name}/start",
                    encoder["start"],
                    f"{', '.join(OWN_STARTS)}, or an encoder of kind timm or checkpoint",
                    "Correct it, or define that encoder under features/encoders.",
                )
            ]
        return encoder_problems(encoder["start"], encoders, where)
    if encoder["kind"] == "checkpoint" and not Path(encoder["file"]).is_file():
        return [
            problem(
                f"config, features/encoders/{name}/file",
                f"no file at {encoder['file']}",
                "a checkpoint",
                "Correct the path; it starts from the working directory.",
            )
        ]
    return []


def tile_problems(config: dict, units: list[tuple[str, str]]) -> list[str]:
    """Problems of a tile that is smaller than the units or than the encoder can describe.

    `units` are pairs of platform and unit, each once.
    """
    features, um_per_px = config["features"], config["image"]["um_per_px"]
    problems = []
    bin_um = config["units"]["bin_um"]
    widths = dict.fromkeys(
        (unit, unit_width_um(platform, unit, bin_um)) for platform, unit in units
    )
    for name, (unit, width_um) in product(encoders_of(features), widths):
        encoder = features["encoders"].get(name)
        if encoder is None or encoder.get("start") in OWN_STARTS:  # said already, or needs no tile
            continue
        least_um = least_tile_um(encoder["kind"], um_per_px, unit, width_um)
        if encoder["kind"] == "adapted":  # sees the tiles of the encoder that it starts from
            name = encoder["start"]
            encoder = features["encoders"].get(name, encoder)
        own = f"/encoders/{name}" if "tile_um" in encoder else ""
        tile_um = encoder.get("tile_um", features["tile_um"])
        if tile_um < least_um:
            problems.append(
                problem(
                    f"config, features{own}/tile_um",
                    f"{tile_um:g} um",
                    f"at least {least_um} um, for a {unit} as the unit and the encoder "
                    f"{name} at image.um_per_px {um_per_px:g}",
                    "Raise it; the tile is the unit's surroundings, 128 um by default.",
                )
            )
    return problems


def _segmenter_problems(segmentation: dict) -> list[str]:
    name = segmentation["segmenter"]
    segmenter = segmentation["segmenters"].get(name)
    if segmenter is None:
        return [
            problem(
                "config, segmentation/segmenter",
                name,
                "one of " + ", ".join(segmentation["segmenters"]),
                "Define it under segmentation/segmenters.",
            )
        ]
    folder = segmenter["folder"]
    if folder is None and name not in SEGMENTERS:
        return [
            problem(
                f"config, segmentation/segmenters/{name}/folder",
                "none, and no published model of this name",
                "a folder, or one of the names " + ", ".join(SEGMENTERS),
                "Give the folder of your StarDist model.",
            )
        ]
    if folder is None:
        return []
    missing = [file for file in MODEL_FILES if not (Path(folder) / file).is_file()]
    if missing:
        return [
            problem(
                f"config, segmentation/segmenters/{name}/folder",
                f"no StarDist model at {folder}: it lacks {', '.join(missing)}",
                "a folder with " + ", ".join(MODEL_FILES),
                "Correct the path; it starts from the working directory.",
            )
        ]
    return []


def _training_problems(segmenter: dict) -> list[str]:
    """Problems of training and scoring a segmenter, where the config asks for any."""
    problems = []
    simulated, tests = segmenter["simulated"], segmenter["test_simulated"]
    trained_on = {*simulated, segmenter["stained"]}
    both = [name for name in (*tests, *segmenter["test_folders"]) if name in trained_on]
    if both:
        problems.append(
            problem(
                "config, segmenter/test_simulated and test_folders",
                f"{', '.join(both)}, on which it is trained",
                "images that it has not seen",
                "A score on training images says nothing; take them out of one of the two.",
            )
        )
    if simulated and (len(simulated) < 2 or not segmenter["stained"]):
        problems.append(
            problem(
                "config, segmenter/simulated and stained",
                f"{len(simulated)} simulated sections and {segmenter['stained'] or 'no folder'}",
                "two simulated sections or more, one of which validates, and a folder of images",
                "Complete them; config/segmenter/config.yaml shows how.",
            )
        )
    if (simulated or segmenter["scored"]) and not (tests or segmenter["test_folders"]):
        problems.append(
            problem(
                "config, segmenter/test_simulated and test_folders",
                "none",
                "images to score the segmenter on",
                "Name simulated sections or folders that it is not trained on.",
            )
        )
    return problems


def _gene_set_problems(annotation: dict, programs: dict, enrichment: dict) -> list[str]:
    """Problems of the files that cell types, gene programs and terms are read from."""
    given = [("annotation/markers", path) for path in annotation["markers"]]
    if annotation["reference"] is not None:
        given.append(("annotation/reference", annotation["reference"]))
    given += [("programs/sets", path) for path in programs["sets"]]
    given += [("enrichment/sets", path) for path in enrichment["sets"]]
    given += [
        (f"enrichment/{key}", enrichment[key])
        for key in ("obo", "annotation")
        if enrichment[key] is not None
    ]
    problems = [
        problem(
            f"config, {key}",
            f"no file at {path}",
            "a file",
            "Correct the path; it starts from the working directory.",
        )
        for key, path in given
        if not Path(path).is_file()
    ]
    if (enrichment["obo"] is None) != (enrichment["annotation"] is None):
        problems.append(
            problem(
                "config, enrichment/obo and annotation",
                "one of them",
                "both, or neither",
                "An ontology says which terms there are, an annotation (GAF) whose genes.",
            )
        )
    if enrichment["min_size"] > enrichment["max_size"]:
        problems.append(
            problem(
                "config, enrichment/min_size",
                f"{enrichment['min_size']}, above max_size {enrichment['max_size']}",
                "at most enrichment.max_size",
                "Lower it or raise the other.",
            )
        )
    return problems
