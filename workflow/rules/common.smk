"""What rules share: the checked run, wildcards, and which files a wildcard stands for."""

import os
import sys
from dataclasses import asdict
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir).parent / "scripts"))

from histoscribe.adapted.reach import OWN_STARTS
from histoscribe.config_checks import MODEL_FILES
from histoscribe.errors import UserError
from histoscribe.experiments import BASELINES, tunable
from histoscribe.folds import resolve_folds, widest_um
from histoscribe.platforms import SUMMED, has_transcripts, own_nuclei, summed_bin_um
from histoscribe.source_code import code_digest
from histoscribe.run import RETRIEVED, data_folder, is_made_by_a_rule, load_run

try:
    RUN = load_run(config, Path(workflow.basedir) / "schemas")
except UserError as error:
    raise WorkflowError(str(error)) from None

FOLDS = resolve_folds(RUN, config)
IS_TRAINED = bool(RUN.samples("train")) and not config["bundle"]
IS_SCORED = any(fold.tested for fold in FOLDS.values())
ENCODERS = config["features"]["encoders"]
ADAPTED = [name for name, encoder in ENCODERS.items() if encoder["kind"] == "adapted"]
SEGMENTER = config["segmenter"]
FIRST = next((name for name in RUN.experiments if name not in BASELINES), None)
OUTLINED = {"nucleus": "nuclei", "cell": "cells"}  # units with a polygon each, and their file


wildcard_constraints:
    sample="|".join(map(re.escape, RUN.sections | config["simulation"])) or "none",
    experiment="|".join(map(re.escape, RUN.experiments)),
    fold="|".join(FOLDS),
    outlines="|".join(OUTLINED.values()),
    gene_set="|".join(re.escape(e.gene_set) for e in RUN.experiments.values()),
    encoder="|".join(map(re.escape, ENCODERS)),
    gene="|".join(map(re.escape, config["figures"]["overlay_genes"])) or "none",


def section_of(wildcards):
    return RUN.sections[wildcards.sample]


def source_file(path):
    """An input under the name of what makes it: a retrieved file hangs on its data set."""
    if RETRIEVED in path.parents:
        return str(RETRIEVED / path.relative_to(RETRIEVED).parts[0] / "retrieved.json")
    return str(path)


def fold_of(wildcards):
    return FOLDS[wildcards.fold]


def of_training(name):
    """Input function: a file of every section that the fold trains on."""
    return lambda wildcards: [
        f"<results>/sections/{sample}/{name}" for sample in fold_of(wildcards).training
    ]


def blocks_in(name, sample=None):
    """How a fold cuts the sections that it trains on, as plain values; None for whole ones."""
    fold = FOLDS[name]
    is_cut = fold.blocks is not None and (sample is None or sample in fold.training)
    return asdict(fold.blocks) if is_cut else None


def blocks_of(wildcards):
    return blocks_in(wildcards.fold, wildcards.get("sample"))


def image_file(wildcards):
    return source_file(section_of(wildcards).image)


def measured_inputs(wildcards):
    return sorted({source_file(p) for p in section_of(wildcards).measured.values()})


def section_params(wildcards):
    """The facts of the sheet that readers need, as plain values."""
    section = section_of(wildcards)
    bin_um = summed_bin_um(section.platform, section.unit, config["units"]["bin_um"])
    return {
        "platform": section.platform,
        "image": str(section.image),
        "files": {role: str(path) for role, path in section.measured.items()},
        "um_per_px": section.um_per_px,
        **({} if bin_um is None else {"bin_um": bin_um}),
    }


def given_polygons(section):
    """Outlines that need no segmentation, by name: the sheet's, or the platform's own software's.

    Cells that are not given are grown from nuclei, so the platform's nuclei serve there too.
    """
    if section.unit not in OUTLINED:
        return {}
    if section.polygons is not None:
        return {OUTLINED[section.unit]: section.polygons}
    if not config["segmentation"]["platform_nuclei"] or section.path is None:
        return {}
    for unit in dict.fromkeys([section.unit, "nucleus"]):
        own = own_nuclei(section.platform, section.path, unit)
        if own is None or RETRIEVED in own.parents:
            continue
        will_be_made = unit == "nucleus" and is_made_by_a_rule(own, config)  # simulated
        if own.is_file() or will_be_made:
            return {OUTLINED[unit]: own}
    return {}


GIVEN = {(s, o): p for s, x in RUN.sections.items() for o, p in given_polygons(x).items()}


def has_own_counts(section):
    """Whether a section's cells and their counts are both in the file of its molecules."""
    given = GIVEN.get((section.sample, OUTLINED.get(section.unit)))
    return given is not None and given in section.measured.values()


def ingest_mb(wildcards):
    """Memory to read what was measured: files of molecules grow as they are unpacked and summed."""
    share = {".gem": 2, ".gz": 10, ".gef": 15}
    paths = map(Path, section_of(wildcards).measured.values())
    sizes = (share.get(p.suffix, 0) * p.stat().st_size / 1e6 for p in paths if p.is_file())
    is_summed = section_of(wildcards).platform in SUMMED
    return max(8000, int(sum(sizes))) if is_summed else 8000


def polygons_mb(wildcards):
    """Memory for given outlines: text takes 13 times its size, and gzip hides a tenfold more."""
    if has_own_counts(section_of(wildcards)):
        return ingest_mb(wildcards)
    path = Path(GIVEN[wildcards.sample, wildcards.outlines])
    size_mb = path.stat().st_size / 1e6 if path.is_file() else 0
    share = {".geojson": 16, ".json": 16, ".gz": 160}.get(path.suffix, 3)
    return max(4000, int(share * size_mb))


def without_given(outlines):
    """Samples, as a pattern, whose nuclei or cells (`outlines`) no file gives."""
    return "|".join(re.escape(s) for s in RUN.sections if (s, outlines) not in GIVEN) or "none"


def nuclei_input(wildcards):
    """The outlines of a section's units, where units have any."""
    name = OUTLINED.get(section_of(wildcards).unit)
    return {"nuclei": f"<results>/sections/{{sample}}/{name}.parquet"} if name else {}


def outlines_input(wildcards):
    """Outlines that features are read from: the units' own, or the nuclei around units."""
    if ENCODERS[wildcards.encoder]["kind"] == "nuclei":
        return {"nuclei": "<results>/sections/{sample}/nuclei.parquet"}
    return nuclei_input(wildcards)


def measured_input(wildcards):
    section = section_of(wildcards)
    if not section.is_measured:
        return {}
    if has_transcripts(section.platform, section.unit) and not has_own_counts(section):
        return {"transcripts": "<results>/sections/{sample}/transcripts.parquet"}
    return {"measured": "<results>/sections/{sample}/measured.h5ad"}


def stain_reference_inputs():
    """What the stain reference comes from: a given model, or the training sections alone."""
    if config["bundle"]:
        return {"bundle": config["bundle"]}
    training = RUN.samples("train")
    return {"stains": expand("<results>/sections/{sample}/stain.json", sample=training)}


def stain_inputs(wildcards):
    """A section's stain and the reference, where colours are normalised."""
    if config["stain"]["method"] == "none":
        return {}
    return {
        "stain": "<results>/sections/{sample}/stain.json",
        "reference": "<results>/stain/reference.json",
    }


def adapted_stain_inputs(wildcards):
    """Stains of the training sections and the reference, where colours are normalised."""
    if config["stain"]["method"] == "none":
        return {}
    return {
        "stains": of_training("stain.json")(wildcards),
        "reference": "<results>/stain/reference.json",
    }


def learning_files(wildcards):
    """Units and features of the sections that a fold's models learn from."""
    learning = fold_of(wildcards).learning
    return {
        "units": [f"<results>/sections/{sample}/units.h5ad" for sample in learning],
        "features": features_files(*learning)(wildcards),
    }


def kept_units(wildcards):
    """The filtered units of a section that the fold cuts, to tell which of them train."""
    return {"kept": "<results>/sections/{sample}/units.h5ad"} if blocks_of(wildcards) else {}


def checked_files(wildcards):
    """What the leakage check of a fold compares."""
    samples = sections_of_folds(fold_of(wildcards))
    gene_sets = dict.fromkeys(e.gene_set for e in RUN.experiments.values())
    return {
        "images": [source_file(RUN.sections[sample].image) for sample in samples],
        "units": [f"<results>/sections/{sample}/units.h5ad" for sample in samples],
        "chosen_on": [f"<results>/genes/{name}/{{fold}}/chosen_on.tsv" for name in gene_sets],
        "adapted": [adapted_file(name) for name in adapted_in_use()],
    }


def checked_params(wildcards):
    """The facts of the sheet and of the fold that the leakage check needs, as plain values."""
    sections = {sample: RUN.sections[sample] for sample in sections_of_folds(fold_of(wildcards))}
    own = [e.features for e in RUN.experiments.values() if e.name not in BASELINES]
    return {
        "fold": asdict(fold_of(wildcards)),
        "donors": {sample: section.donor for sample, section in sections.items()},
        "images": {sample: str(section.image) for sample, section in sections.items()},
        "gene_sets": list(dict.fromkeys(e.gene_set for e in RUN.experiments.values())),
        "adapted": adapted_in_use(),
        "widest_um": widest_um(config, own),
    }


def sections_of_folds(*folds):
    """Samples that are tested or learnt from, each once."""
    return list(dict.fromkeys(name for fold in folds for name in (*fold.tested, *fold.learning)))


def segmenter_folder(wildcards):
    """A StarDist model: its folder, or where the one of that name is retrieved to."""
    name = config["segmentation"]["segmenter"]
    folder = config["segmentation"]["segmenters"][name]["folder"]
    return folder or f"resources/retrieved/segmenters/{name}"


def segmenter_files(folder):
    """What a StarDist model is made of: its files, or the folder where it is retrieved whole.

    The time of a folder does not change when weights in it are overwritten.
    """
    if RETRIEVED in Path(folder).parents:
        return folder
    return [f"{folder}/{name}" for name in MODEL_FILES]


def segmentation_settings():
    """How the chosen StarDist model is applied, as plain values."""
    segmentation = config["segmentation"]
    model = {**segmentation["segmenters"][segmentation["segmenter"]]}
    model.pop("folder")
    return {**model, "block_px": segmentation["block_px"]}


def experiment_of(wildcards):
    return RUN.experiments[wildcards.experiment]


def gene_settings(wildcards):
    """The settings of a gene set, its panel's path resolved."""
    genes = next(e.genes for e in RUN.experiments.values() if e.gene_set == wildcards.gene_set)
    panel = genes["panel"]
    return {**genes, "panel": panel and str(data_folder(config) / panel)}


def panel_file(wildcards):
    panel = gene_settings(wildcards)["panel"]
    return [panel] if panel else []


def genes_file(wildcards):
    return f"<results>/genes/{experiment_of(wildcards).gene_set}/{{fold}}/genes.tsv"


def bundle_file(wildcards):
    return config["bundle"] or "<results>/{experiment}/{fold}/model.safetensors"


def predictions():
    """Of every experiment; baselines only where there is a measurement to compare with."""
    return [
        f"<results>/{experiment}/{fold}/predicted/{sample}.h5ad"
        for experiment in RUN.experiments
        for fold in FOLDS
        for sample in (
            *FOLDS[fold].tested,
            *(() if experiment in BASELINES else RUN.samples("predict")),
        )
    ]


def bundles():
    """Every model that the run trains; none where it is given one."""
    if not IS_TRAINED:
        return []
    return expand(
        "<results>/{experiment}/{fold}/model.safetensors", experiment=RUN.experiments, fold=FOLDS
    )


def evaluations():
    return [
        (experiment, fold, sample)
        for experiment in RUN.experiments
        for fold in FOLDS
        for sample in FOLDS[fold].tested
    ]


def alignments(samples):
    """The verdicts on whether molecules and image lie on each other."""
    measured = [sample for sample in samples if RUN.sections[sample].is_measured]
    return expand("<results>/sections/{sample}/alignment.tsv", sample=measured)


def section_figures():
    """Of every section: what was lost, and the outlines of its nuclei."""
    outlined = [name for name, section in RUN.sections.items() if section.unit in OUTLINED]
    measured = [name for name, section in RUN.sections.items() if section.is_measured]
    return expand(
        "<results>/figures/quality/{sample}.{ending}",
        sample=measured,
        ending=["pdf", "svg", "png", "tsv"],
    ) + expand(
        "<results>/figures/nuclei/{sample}.{ending}",
        sample=outlined,
        ending=["pdf", "png", "tsv"],
    )


def figure_kinds():
    """What decides the colour of an experiment: its kind of model, or that it is a baseline."""
    return {
        name: "baseline" if name in BASELINES else experiment.model["kind"]
        for name, experiment in RUN.experiments.items()
    }


def compared():
    """Evaluations that the accuracy figure shows: of the first experiment, then of baselines."""
    return [key for name in (FIRST, *BASELINES) for key in evaluations() if key[0] == name]


def overlays():
    """What overlays are drawn of, by the first experiment: tested sections, and predicted ones."""
    return shown_predictions()


def map_figures():
    """Maps by the first experiment: gene maps, totals, and overlays of the user's genes."""
    names = [f"{e}/{f}/{s}" for e, f, s in evaluations() if e == FIRST]
    return expand(
        "<results>/figures/{figure}/{name}.{ending}",
        figure=["gene_maps", "totals"],
        name=names,
        ending=["pdf", "png", "tsv"],
    ) + expand(
        "<results>/figures/overlay/{name}/{gene}.{ending}",
        name=[f"{e}/{f}/{s}" for e, f, s in overlays()],
        gene=config["figures"]["overlay_genes"],
        ending=["pdf", "png", "tsv"],
    )


def figure_files():
    scored = expand(
        "<results>/figures/{figure}.{ending}",
        figure=["accuracy", "ablation"] if FIRST else ["ablation"],
        ending=["pdf", "svg", "png", "tsv"],
    )
    return (
        section_figures()
        + (scored if IS_SCORED else [])
        + map_figures()
        + type_figures()
        + program_figures()
        + spot_figures()
        + integration_figures()
        + morphology_map_figures()
        + genotype_figures()
    )
