"""Which sections each integration of the config joins, and by which settings."""

from histoscribe.experiments import merge
from histoscribe.integrations import check_integrations, parts_of

PREDICTABLE = list(dict.fromkeys(sample for _, _, sample in shown_predictions()))
try:
    check_integrations(config["integrations"], RUN, PREDICTABLE, data_folder(config))
except UserError as error:
    raise WorkflowError(str(error)) from None
INTEGRATIONS = {
    name: parts_of(entry, RUN, PREDICTABLE, data_folder(config))
    for name, entry in config["integrations"].items()
}
STACKED = [name for name, entry in config["integrations"].items() if "stack" in entry]


wildcard_constraints:
    integration="|".join(map(re.escape, INTEGRATIONS)) or "none",


def integrated_files(wildcards):
    """The expression of every section of an integration, in its order."""
    return [expression_of_part(part) for part in INTEGRATIONS[wildcards.integration]]


def expression_of_part(part):
    """A file of the user's, measured units, or the prediction that is shown first."""
    if part.sample is None:
        return str(part.path)
    if not part.is_predicted:
        return f"<results>/sections/{part.sample}/units.h5ad"
    experiment, fold, _ = next(key for key in shown_predictions() if key[2] == part.sample)
    return f"<results>/{experiment}/{fold}/predicted/{part.sample}.h5ad"


def integrated_parts(wildcards):
    """The facts of the sections of an integration, as plain values."""
    return [
        {"name": part.name, "is_predicted": part.is_predicted, "unit": part.unit}
        for part in INTEGRATIONS[wildcards.integration]
    ]


def labelled_parts(wildcards):
    """Names of the sections whose labels the sheet gives."""
    return [
        part.name
        for part in INTEGRATIONS[wildcards.integration]
        if part.sample is not None and RUN.sections[part.sample].labels
    ]


def integrated_labels(wildcards):
    """The files of these labels."""
    samples = {part.name: part.sample for part in INTEGRATIONS[wildcards.integration]}
    names = labelled_parts(wildcards)
    return [source_file(RUN.sections[samples[name]].labels) for name in names]


def integration_settings(wildcards):
    """The config's settings of integration, with what an integration has of its own."""
    own = config["integrations"][wildcards.integration].get("settings") or {}
    return merge(config["integration"], own)


def stack_settings(wildcards):
    """The config's settings of stacking, with what an integration has of its own."""
    own = config["integrations"][wildcards.integration].get("stack") or {}
    return merge(config["integration"]["stack"], own)


def integration_files():
    return expand(
        "<results>/integrated/{integration}/{table}.tsv",
        integration=INTEGRATIONS,
        table=["mixing", "domains", "loadings"],
    ) + expand(
        "<results>/integrated/{integration}/{file}",
        integration=STACKED,
        file=["stack.h5ad", "alignments.tsv"],
    )


def integration_figures():
    return expand(
        "<results>/figures/integrated/{integration}/domains.{ending}",
        integration=INTEGRATIONS,
        ending=["pdf", "png", "tsv"],
    ) + expand(
        "<results>/figures/stacked/{integration}.{ending}",
        integration=STACKED,
        ending=["pdf", "png", "tsv"],
    )
