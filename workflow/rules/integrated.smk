"""Which sections each integration of the config joins, and by which settings."""

from histoscribe.experiments import merge
from histoscribe.integrations import check_integrations, graded_parts, parts_of

PREDICTABLE = list(dict.fromkeys(sample for _, _, sample in shown_predictions()))
try:
    check_integrations(
        config["integrations"],
        config["integration"],
        RUN,
        PREDICTABLE,
        data_folder(config),
    )
except UserError as error:
    raise WorkflowError(str(error)) from None
INTEGRATIONS = {
    name: parts_of(entry, RUN, PREDICTABLE, data_folder(config))
    for name, entry in config["integrations"].items()
}
ENDINGS = ["pdf", "png", "tsv"]
STACKED = [name for name, entry in config["integrations"].items() if "stack" in entry]
GRADIENTS = {
    name: graded_parts(INTEGRATIONS[name], entry["gradient"])
    for name, entry in config["integrations"].items()
    if "gradient" in entry
}


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
        {
            "name": part.name,
            "tissue": part.tissue,
            "is_predicted": part.is_predicted,
            "unit": part.unit,
        }
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


def settings_of(integration):
    """The config's settings of integration, with what an integration has of its own."""
    return merge(config["integration"], config["integrations"][integration].get("settings") or {})


def integration_settings(wildcards):
    return settings_of(wildcards.integration)


def is_labelled(integration):
    """Whether labels are known of some of its units."""
    of_sheet = (RUN.sections[part.sample] for part in INTEGRATIONS[integration] if part.sample)
    has_column = config["integrations"][integration].get("label") is not None
    return has_column or any(section.labels for section in of_sheet)


def inference_of(integration):
    return config["integrations"][integration].get("infer_genes") or {}


def is_scored(integration):
    """Whether genes are inferred, and some are hidden to score that."""
    n_hidden = settings_of(integration)["borrowing"]["n_hidden"]
    return bool(inference_of(integration)) and n_hidden > 0


def receivers(wildcards):
    """The sections of an integration that genes are inferred into."""
    return inference_of(wildcards.integration).get("into", [])


def genes_to_infer(wildcards):
    """Genes by name, or how many of the most variable ones."""
    n_genes = integration_settings(wildcards)["borrowing"]["n_genes"]
    return inference_of(wildcards.integration).get("genes", n_genes)


def graded_files(wildcards):
    """The expression of the sections of a gradient, in the order of its groups."""
    return [expression_of_part(part) for part in GRADIENTS[wildcards.integration]]


def graded_facts(wildcards):
    """The facts of these sections, as plain values."""
    names = ("name", "is_predicted", "unit", "group", "donor")
    return [{n: getattr(part, n) for n in names} for part in GRADIENTS[wildcards.integration]]


def factor_terms(wildcards):
    """Enriched terms of factors, where there are such."""
    return "<results>/integrated/{integration}/enriched.tsv" if has_terms() else []


def stack_settings(wildcards):
    """The config's settings of stacking, with what an integration has of its own."""
    own = config["integrations"][wildcards.integration].get("stack") or {}
    return merge(config["integration"]["stack"], own)


def integration_files():
    """What integrations are made for."""
    made = []
    for integration in INTEGRATIONS:
        into = inference_of(integration).get("into", [])
        tables = ["mixing", "domains", "loadings", "factors", "variable_genes"]
        tables += ["enriched"] * has_terms() + ["gradient"] * (integration in GRADIENTS)
        tables += ["label_transfer"] * is_labelled(integration)
        tables += ["inference"] * is_scored(integration)
        made += expand(f"<results>/integrated/{integration}/{{table}}.tsv", table=tables)
        made += expand(f"<results>/integrated/{integration}/inferred/{{name}}.h5ad", name=into)
    files = ["stack.h5ad", "alignments.tsv"]
    made += expand("<results>/integrated/{name}/{file}", name=STACKED, file=files)
    return made


def integration_figures():
    made = []
    for integration in INTEGRATIONS:
        figures = ["domains", "factors"] + ["gradient"] * (integration in GRADIENTS)
        figures += ["labels"] * is_labelled(integration)
        figures += ["inference"] * is_scored(integration)
        made += expand(
            f"<results>/figures/integrated/{integration}/{{figure}}.{{ending}}",
            figure=figures,
            ending=ENDINGS,
        )
    made += expand("<results>/figures/stacked/{name}.{ending}", name=STACKED, ending=ENDINGS)
    return made
