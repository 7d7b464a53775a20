"""What follows the scores: which expression is annotated, drawn, reported and handed over.

A source is `measured` or `{experiment}/{fold}`. Measured are the tested sections; predicted are these
and the sections of split predict, by the first of the run's own experiments.
"""

MEASURED = "measured"
FIRST = next((name for name in RUN.experiments if name not in BASELINES), None)


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


def expression_of_source(wildcards):
    """The measured counts or the prediction of a section."""
    if wildcards.source == MEASURED:
        return "<results>/sections/{sample}/units.h5ad"
    return "<results>/{source}/predicted/{sample}.h5ad"


def blocks_of_source(wildcards):
    """How the fold of a source cuts the section, as plain values; None where it is whole."""
    if wildcards.source == MEASURED:
        return None
    return blocks_in(wildcards.source.rpartition("/")[2], wildcards.sample)


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


def marker_tables():
    """Tables of markers: under resources/ those of the repository, else from the data's folder."""
    return [
        path if path.startswith("resources/") else str(data_folder(config) / path)
        for path in config["annotation"]["markers"]
    ]


def labels_input(wildcards):
    """Labels that the user gives for a section's units."""
    labels = section_of(wildcards).labels
    return {"labels": source_file(labels)} if labels else {}


def annotation_files():
    """Cell types of every source, and how the predicted ones agree with the measured ones."""
    kinds = ("units.h5ad", "clusters.tsv", "markers.tsv")
    if not annotated():
        return []
    return [f"<results>/annotated/{source}/{sample}.h5ad" for source, sample in annotated()] + [
        f"<results>/annotated/agreement/{experiment}/{fold}/{sample}.tsv"
        for experiment, fold, sample in pairs()
    ]


def type_figures():
    """Cell types: clusters and their markers a source, agreement a pair."""
    if not annotated():
        return []
    names = [f"types/{source}/{sample}" for source, sample in annotated()]
    names += [f"agreement/{experiment}/{fold}/{sample}" for experiment, fold, sample in pairs()]
    return expand("<results>/figures/{name}.{ending}", name=names, ending=["pdf", "png", "tsv"])
