"""What follows the scores: which expression is annotated, drawn, reported and handed over.

A source is `measured` or `{experiment}/{fold}`. Measured are the tested sections; predicted are these
and the sections of split predict, by the first of the run's own experiments.
"""

from snakemake import __version__ as SNAKEMAKE_VERSION

from histoscribe.report.links import run_links
from histoscribe.report.run_facts import is_simulated, run_facts

MEASURED = "measured"
PROGRAM_SETTINGS = ("organs", "min_genes", "ignore_case", "control_from")  # that scores hang on
EXPORTS = {  # formats, and their endings
    "spatialdata": "spatialdata.zarr",
    "qupath": "qupath.geojson",
    "xenium_explorer": "xenium",
}
EXPORT_TOOLS = {
    "spatialdata": "spatialdata, squidpy and napari",
    "qupath": "QuPath",
    "xenium_explorer": "Xenium Explorer",
}


wildcard_constraints:
    source="|".join([MEASURED, *(f"{re.escape(e)}/{f}" for e in RUN.experiments for f in FOLDS)]),


def pairs():
    """(experiment, fold, sample) of which both a measurement and a prediction are shown."""
    return [key for key in evaluations() if key[0] == FIRST]


def shown_predictions():
    """(experiment, fold, sample) of all predictions that are shown; of split predict, the first fold's."""
    if FIRST is None:
        return []
    return pairs() + [(FIRST, next(iter(FOLDS)), sample) for sample in RUN.samples("predict")]


def sources():
    """(source, sample) of all expression that is shown."""
    tested = dict.fromkeys(sample for _, _, sample in pairs())
    return [(MEASURED, sample) for sample in tested] + [
        (f"{experiment}/{fold}", sample) for experiment, fold, sample in shown_predictions()
    ]


def annotated():
    """(source, sample) of all expression whose units are given cell types."""
    return sources() if config["annotation"]["enabled"] else []


def expression_file(source, sample):
    """The measured counts or the prediction of a section."""
    if source == MEASURED:
        return f"<results>/sections/{sample}/units.h5ad"
    return f"<results>/{source}/predicted/{sample}.h5ad"


def expression_of_source(wildcards):
    """These, of the wildcards."""
    return expression_file(wildcards.source, wildcards.sample)


def blocks_of_source(wildcards):
    """How the fold of a source cuts the section, as plain values; None where it is whole."""
    if wildcards.source == MEASURED:
        return None
    return blocks_in(wildcards.source.rpartition("/")[2], wildcards.sample)


def all_annotated():
    """Every file of cell types of the run: colours are dealt out among all of their names."""
    return [f"<results>/annotated/{source}/{sample}.h5ad" for source, sample in annotated()]


def source_words(source):
    """What a source is called in figures."""
    if source == MEASURED:
        return "measured expression"
    experiment, _, fold = source.rpartition("/")
    return f"predicted expression ({experiment}, {fold})"


def clustering_settings(wildcards):
    """How the units of a source are clustered, as plain values."""
    annotation = config["annotation"]
    kind = "measured" if wildcards.source == MEASURED else "predicted"
    settings = {**annotation[kind], "min_units": annotation["min_units"]}
    settings["min_cluster_share"] = annotation["min_cluster_share"]
    if kind == "measured" and settings["pool_um"] is None:
        is_bin = section_of(wildcards).unit == "bin"
        settings["pool_um"] = 2.0 * config["units"]["bin_um"] if is_bin else 0.0
    return settings


def reference_input():
    """The reference whose cell types are carried over, where one is given."""
    reference = config["annotation"]["reference"]
    return {"reference": reference} if reference else {}


def labels_input(wildcards):
    """Labels that the user gives for a section's units."""
    labels = section_of(wildcards).labels
    return {"labels": source_file(labels)} if labels else {}


def annotation_files():
    """Cell types of every source, and how the predicted ones agree with the measured ones."""
    if not annotated():
        return []
    return [f"<results>/annotated/{source}/{sample}.h5ad" for source, sample in annotated()] + [
        f"<results>/annotated/agreement/{experiment}/{fold}/{sample}.tsv"
        for experiment, fold, sample in compared_annotations()
    ]


def type_figures():
    """Cell types: clusters and their markers a source, agreement a pair."""
    if not annotated():
        return []
    names = [f"types/{source}/{sample}" for source, sample in annotated()]
    names += [f"agreement/{experiment}/{fold}/{sample}" for experiment, fold, sample in pairs()]
    return expand("<results>/figures/{name}.{ending}", name=names, ending=["pdf", "png", "tsv"])


def measured_programs(wildcards):
    """What a figure of predicted programs compares with, where the section is measured."""
    if (MEASURED, wildcards.sample) not in sources():
        return {}
    return {
        "measured_scores": "<results>/programs/measured/{sample}.scores.parquet",
        "agreement": "<results>/programs/{source}/{sample}.agreement.tsv",
    }


def program_files():
    """Scores of gene programs, and their agreement, unless no sets are given."""
    if not config["programs"]["sets"]:
        return []
    return [
        f"<results>/programs/{source}/{sample}.scores.parquet" for source, sample in sources()
    ] + [f"<results>/programs/{e}/{f}/{sample}.agreement.tsv" for e, f, sample in pairs()]


def has_terms():
    """Whether the config gives gene sets or an ontology."""
    return bool(config["enrichment"]["sets"]) or config["enrichment"]["obo"] is not None


def term_files():
    """Enriched terms of clusters, where there are terms to test."""
    if not has_terms():
        return []
    return [f"<results>/enriched/{source}/{sample}.tsv" for source, sample in annotated()]


def program_figures():
    """Maps of programs and dots of terms."""
    maps = [
        f"<results>/figures/programs/{source}/{sample}.{ending}"
        for source, sample in (sources() if program_files() else [])
        for ending in ("pdf", "png", "tsv")
        if source != MEASURED
    ]
    terms = [
        f"<results>/figures/terms/{source}/{sample}.{ending}"
        for source, sample in (annotated() if term_files() else [])
        for ending in ("pdf", "svg", "png", "tsv")
    ]
    return maps + terms


def spot_comparisons():
    """(experiment, fold, sample) wherever predicted units meet measured spots; no baselines."""
    return [
        (experiment, fold, sample)
        for experiment in RUN.experiments
        for fold in FOLDS
        for sample in RUN.samples("predict")
        if experiment not in BASELINES and RUN.sections[sample].has_spots
    ]


def spot_tables():
    return [
        f"<results>/spots/{experiment}/{fold}/{sample}.{table}.tsv"
        for experiment, fold, sample in spot_comparisons()
        for table in ("genes", "spots", "section")
    ]


def spot_figures():
    """Of the first own experiment in the first fold."""
    first = [comparison[:2] for comparison in spot_comparisons()][:1]
    return [
        f"<results>/figures/spots/{experiment}/{fold}/{sample}.{ending}"
        for experiment, fold, sample in spot_comparisons()
        for ending in ("pdf", "png", "tsv")
        if (experiment, fold) in first
    ]


def spots_origin(wildcards):
    """What a comparison with spots is of; a model that knows the donor has an easier task."""
    known = {RUN.sections[sample].donor for sample in fold_of(wildcards).learning}
    is_known = section_of(wildcards).donor in known
    return {
        "experiment": wildcards.experiment,
        "fold": wildcards.fold,
        "sample": wildcards.sample,
        "donor_trained_on": "unknown" if config["bundle"] else "yes" if is_known else "no",
    }


def shown_samples():
    """Sections that are tested, or predicted only."""
    return list(dict.fromkeys(sample for _, _, sample in shown_predictions()))


def shown_folds(sample):
    """Folds whose predictions of a section are shown: all that test a part of it, or the first.

    What is to be predicted only is predicted alike in every fold but by other models.
    """
    tested = [name for name, fold in FOLDS.items() if sample in fold.tested]
    cutting = [name for name in tested if blocks_in(name, sample) is not None]
    return cutting or (tested or list(FOLDS))[:1]


def shown_blocks(wildcards):
    """How each of these folds cuts the section, as plain values; None for a whole one."""
    return [blocks_in(fold, wildcards.sample) for fold in shown_folds(wildcards.sample)]


def shown_sources(wildcards):
    """The predictions of a section that are shown."""
    return [f"{FIRST}/{fold}" for fold in shown_folds(wildcards.sample)]


def shown_files(wildcards):
    """Predictions, scores and cell types of a section, and the cell types of the whole run."""
    sample, folds = wildcards.sample, shown_folds(wildcards.sample)
    scored = [fold for fold in folds if sample in FOLDS[fold].tested]
    file = "<results>/annotated/{}/{}.h5ad".format
    own = [source for source, name in annotated() if name == sample]
    shown = shown_sources(wildcards)
    return {
        "predicted": [f"<results>/{FIRST}/{fold}/predicted/{sample}.h5ad" for fold in folds],
        "scores": [f"<results>/{FIRST}/{fold}/evaluated/{sample}.tsv" for fold in scored],
        "measured_annotation": [file(s, sample) for s in own if s == MEASURED],
        "predicted_annotation": [file(s, sample) for s in own if s in shown],
        "annotated": all_annotated(),
    }


def viewed_files(wildcards):
    """What a viewer shows beside image and units."""
    files = shown_files(wildcards)
    if files["scores"]:
        files["alignment"] = f"<results>/sections/{wildcards.sample}/alignment.tsv"
    return files | nuclei_input(wildcards)


def viewer_parts():
    """The files that lie beside a viewer's page: its own and the libraries it uses."""
    return sorted(map(str, Path("resources/viewer").glob("*/*.*")))


def viewed_samples():
    return shown_samples() if config["viewer"]["enabled"] else []


def viewers():
    return expand("<results>/viewer/{sample}", sample=viewed_samples())


def exports():
    """The chosen formats of every section that is shown."""
    endings = [EXPORTS[name] for name in config["export"]["formats"]]
    return expand("<results>/exported/{sample}.{ending}", sample=shown_samples(), ending=endings)


def exported_files():
    """What was exported, by path in the results folder, with the tool that opens it."""
    return {
        f"exported/{sample}.{EXPORTS[name]}": EXPORT_TOOLS[name]
        for sample in shown_samples()
        for name in config["export"]["formats"]
    }


def reported_scores():
    """(experiment, fold, sample) of the first experiment and the baselines."""
    return [key for key in evaluations() if key[0] in (FIRST, *BASELINES)]


def reported_predictions():
    """(experiment, fold, sample) that the first experiment predicts."""
    return [
        (FIRST, fold, sample)
        for fold in (FOLDS if FIRST else ())
        for sample in (*FOLDS[fold].tested, *RUN.samples("predict"))
    ]


def counted_sections():
    """Sections that have units in any case: measured or predicted."""
    return [name for name, s in RUN.sections.items() if s.is_measured or s.split != "none"]


def viewer_links():
    """Pages of the viewer by sample, as the report in the results folder links to them."""
    return {sample: f"viewer/{sample}/index.html" for sample in viewed_samples()}


def compared_annotations():
    """(experiment, fold, sample) whose predicted types are compared with measured ones."""
    return pairs() if annotated() else []


def report_templates():
    """What the report is rendered from, the captions and references included."""
    return sorted(map(str, Path("resources/report").glob("*")))
