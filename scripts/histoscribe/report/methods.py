"""The methods of a run in sentences to paste, from what its config says was done."""

from collections.abc import Iterator
from dataclasses import dataclass

from histoscribe.platforms import TRANSCRIPTS
from histoscribe.report.account import cut_words
from histoscribe.report.facts import GIVEN, GROWN, SEGMENTED, ExperimentFacts, RunFacts
from histoscribe.report.results import Results
from histoscribe.report.wording import counted, is_or_are, listed, percent, plural, spelt, whole

PLATFORMS = {
    "visium_hd": "10x Visium HD",
    "visium": "10x Visium",
    "xenium": "10x Xenium",
    "stereoseq": "Stereo-seq",
    "legacy_st": "Spatial Transcriptomics",
    "stereo_seq": "Stereo-seq",
    "image": "H&E alone",
}
COUNTING = {
    "nucleus": "Molecules were summed over the bins whose centre lies in exactly one {unit}.",
    "expanded": "Nuclei were grown by {um:g} µm without overlap, and molecules were summed over "
    "the bins whose centre lies in exactly one of them.",
    "area": "Bins that several {units} touch were shared by area, their molecules dealt out at "
    "random by these shares.",
}
FILTERS = (
    ("area_um2_above", "area_um2 > {:g}"),
    ("area_um2_below", "area_um2 < {:g}"),
    ("area_px2_below", "area_px2 < {:g}"),
    ("umi_above", "umi > {:g}"),
    ("genes_above", "n_genes > {:g}"),
    ("mito_fraction_below", "mito_fraction < {:g}"),
)
ENCODERS = {
    "morphology": "hand-made measures of shape, texture and neighbourhood on the section's own "
    "stains",
    "nuclei": "means and spreads of the morphology of the nuclei within {radius_um:g} µm",
    "imagenet": "the levels of EfficientNet-lite0 trained on ImageNet",
    "adapted": "a network fine-tuned on the training sections to foretell the expression of "
    "variable genes, cross-fitted in {n_networks} parts",
    "timm": "the pretrained network {name}",
    "checkpoint": "a pretrained network ({architecture})",
    "totals": "the number of molecules",
}
MODELS = {
    "ridge": "ridge regression, the penalty of each gene chosen by spatial-block cross-validation",
    "kernel": "ridge regression on a Gaussian kernel, its predictions shrunk along the directions "
    "that genes share",
    "multitask": "a low-rank neural network for all genes at once, fitted to the counts "
    "({likelihood} likelihood; {n_members} members averaged)",
    "prts": "the PRTS network, with one output for whether a gene is expressed and one for its "
    "level",
    "neighbours": "the mean of the training units that look most alike",
    "mean": "the training mean",
}
LIKELIHOODS = {"poisson": "Poisson", "negative_binomial": "negative binomial"}
CITED_BY = {
    "morphology": ("macenko",),
    "nuclei": ("macenko",),
    "imagenet": ("efficientnet",),
    "adapted": ("efficientnet",),
    "timm": ("timm",),
    "checkpoint": ("timm",),
    "kernel": ("waves", "curds"),
    "stacked": ("stacking",),
    "reinhard": ("reinhard",),
    "macenko": ("macenko",),
}


@dataclass(frozen=True)
class Methods:
    """Paragraphs of the methods, and the keys of the works that they cite, in their order."""

    paragraphs: list[str]
    cited: list[str]


def methods(facts: RunFacts, results: Results, versions: dict[str, str]) -> Methods:
    """What was done, step by step.

    A citation stands in the text as [key]; `cited` holds the keys in the order of the text.
    """
    parts = [_sections(facts, results), _units(facts, results)] if facts.sections else []
    if facts.first is not None:
        parts += [_model(facts, results), _evaluation(facts)]
    if results.clusters:
        parts.append(_types(facts))
    if facts.config.get("integrations"):
        parts.append(_integration(facts))
    if results.maps:
        parts.append(_maps(facts))
    if results.genotypes:
        parts.append(_genotypes(facts, results))
    parts.append(_software(facts, versions))
    paragraphs = [" ".join(sentences) for sentences in map(list, parts)]
    return Methods(paragraphs, _cited("\n".join(paragraphs)))


def _cited(text: str) -> list[str]:
    found = [part.split("]")[0] for part in text.split("[@")[1:]]
    return list(dict.fromkeys(key for keys in found for key in keys.split("; @")))


def cite(*keys: str) -> str:
    """Works in brackets, as pandoc's Markdown has them."""
    return "[" + "; ".join(f"@{key}" for key in keys) + "]"


def _sections(facts: RunFacts, results: Results) -> Iterator[str]:
    measured = [s for s in facts.sections if s.is_measured]
    donors = {section.donor for section in facts.sections}
    platforms = dict.fromkeys(PLATFORMS.get(s.platform, s.platform) for s in measured)
    what = f" measured by {listed(platforms)}" if platforms else ""
    section, were = ("section", "was") if len(facts.sections) == 1 else ("sections", "were")
    simulated = [s.sample for s in facts.sections if s.is_simulated]
    kind = "simulated" if len(simulated) == len(facts.sections) else "H&E-stained"
    if simulated and platforms:
        what = f" with molecules as of {listed(platforms)}"
    yield (
        f"{spelt(len(facts.sections))} {kind} {section} of {counted(len(donors), 'donor')}"
        f"{what} {were} analysed with HistoScribe, a "
        f"Snakemake workflow {cite('snakemake')} that follows PRTS {cite('prts')}."
    )
    if simulated and kind != "simulated":
        yield f"Of these, {listed(simulated)} {is_or_are(simulated)} simulated."
    config = facts.config
    yield f"Images were rescaled to {config['image']['um_per_px']:g} µm per pixel."
    segmented = [s for s in facts.sections if s.outlines in (SEGMENTED, GROWN)]
    given = [s for s in facts.sections if s.outlines == GIVEN]
    if segmented:
        name = config["segmentation"]["segmenter"]
        of = f" of {listed(s.sample for s in segmented)}" if given else ""
        model = config["segmentation"]["segmenters"][name]
        yield (
            f"Nuclei{of} were segmented with StarDist {cite('stardist')} (model {name}, at "
            f"{model['um_per_px']:g} µm per pixel) in the tissue, which was found by Otsu's "
            "threshold on saturation."
        )
    if any(s.outlines == GROWN for s in facts.sections):
        yield f"They were grown into cells by {config['units']['expand_um']:g} µm without overlap."
    if given:
        of = f" of {listed(s.sample for s in given)}" if segmented else ""
        yield f"Outlines of {plural(facts.unit)}{of} were given, or the platform's own."


def _units(facts: RunFacts, results: Results) -> Iterator[str]:
    config, unit = facts.config, facts.unit
    units = plural(unit)
    if unit == "bin":
        yield f"Bins of {config['units']['bin_um']:g} µm served as units."
    elif unit == "spot":
        yield "Spots served as units."
    elif any(s.platform not in ("image", *TRANSCRIPTS) for s in facts.sections):
        counting = config["units"]["counting"]
        yield COUNTING[counting].format(unit=unit, units=units, um=config["units"]["expand_um"])
    elif any(s.platform in TRANSCRIPTS for s in facts.sections):
        yield f"Molecules were counted in the {unit} that they lie in."
    cuts = config["units"]["filter"][unit]
    words = [
        cut_words(rule.format(cuts[key]))
        for key, rule in FILTERS
        if cuts[key] is not None and not (key == "umi_above" and not cuts[key])
    ]
    n_units = sum(numbers.n_units for numbers in results.units.values())
    kept = f"{units.capitalize()} with {listed(words)}" if words else f"{units.capitalize()}"
    if any(s.is_measured for s in facts.sections) or words:
        without = "" if words else " with at least one molecule"
        yield f"{kept}{without} were kept ({whole(n_units)} {units})."


def _model(facts: RunFacts, results: Results) -> Iterator[str]:
    config = facts.config
    n_genes = next((len(p.genes) for p in results.predicted.values()), None)
    genes = "Genes" if n_genes is None else counted(n_genes, "gene").capitalize()
    if facts.bundle:
        yield f"{genes} were predicted with a model trained before (bundle {facts.bundle})."
        return
    target = config["expression"]["target_sum"]
    total = "the section's median total" if target == "median" else f"a total of {target:g}"
    yield f"Expression was log1p of counts scaled to {total}."
    chosen = config["genes"]
    if chosen["panel"]:
        yield f"{genes} of a given panel were predicted."
    else:
        yield (
            f"{genes} were chosen on training units alone with Scanpy {cite('scanpy')}: "
            f"{whole(chosen['n_hvg'])} highly variable genes, {chosen['n_pcs']} principal "
            f"components, Leiden clusters {cite('leiden')} at resolution "
            f"{chosen['leiden_resolution']:g}, Wilcoxon tests (illico) of each cluster against the "
            f"rest (adjusted P < {chosen['adjusted_p_below']:g}, |log2 fold change| ≥ "
            f"{chosen['abs_log2fc_from']:g})."
        )
    method = config["stain"]["method"]
    if method != "none":
        works = f" {cite(*CITED_BY[method])}" if method in CITED_BY else ""
        yield f"Colours were brought to those of the training sections ({method}{works})."
    experiment = facts.experiment(facts.first)
    yield _features(facts, experiment)
    yield _network(experiment)


def _features(facts: RunFacts, experiment: ExperimentFacts) -> str:
    features = facts.config["features"]
    described = []
    for name in experiment.encoders:
        encoder = {"radius_um": 0, "n_networks": 1, **features["encoders"][name]}
        kind = encoder["kind"]
        words = ENCODERS[kind].format(**{"name": name, "architecture": name, **encoder})
        works = list(CITED_BY.get(kind, ()))
        if kind == "adapted" and encoder["start"] == "random":
            works = []
        elif kind == "adapted" and encoder["start"] in features["encoders"]:
            works = ["timm", *(["lora"] if encoder.get("rank", 8) else [])]
        described.append(f"{words} {cite(*works)}" if works else words)
    tile = f"tile of {features['tile_um']:g} µm around it"
    named = {"local": "itself", "global": f"a {tile}", "mean": f"all parts of a {tile}"}
    parts = [named.get(block, block) for block in experiment.use]
    around = ""
    if experiment.neighbours_um:
        around = f", and their means within {listed(f'{r:g}' for r in experiment.neighbours_um)} µm"
    return (
        f"Each {facts.unit} was described from the image by {listed(described)}, of "
        f"{listed(parts)}{around}."
    )


def _network(experiment: ExperimentFacts) -> str:
    def words(kind: str, settings: dict) -> str:
        likelihood = LIKELIHOODS.get(settings.get("likelihood"), "Poisson")
        n_members = settings.get("n_members", "several")
        said = MODELS[kind].format(likelihood=likelihood, n_members=n_members)
        if kind == "prts":
            return f"{said} {cite('prts')}"
        return f"{said} {cite(*CITED_BY[kind])}" if kind in CITED_BY else said

    if experiment.kind != "stacked":
        return f"The model ({experiment.name}) was {words(experiment.kind, experiment.settings)}."
    members = experiment.settings["members"]
    return (
        f"The model ({experiment.name}) was a weighted sum of "
        f"{listed(words(kind, members[kind]) for kind in experiment.members)}, weighed by how they "
        f"predict blocks of training tissue that they had not seen {cite(*CITED_BY['stacked'])}."
    )


def _evaluation(facts: RunFacts) -> Iterator[str]:
    config = facts.config
    if not facts.tested:
        yield "No section had a measurement to test predictions on."
        return
    scheme = config["folds"]["scheme"]
    tested = list(dict.fromkeys(sample for _, sample in facts.tested))
    if any(fold.is_cut for fold in facts.folds):
        yield (
            f"Sections were cut into blocks of {config['folds']['block_um']:g} µm, tested in "
            f"{counted(len(facts.folds), 'fold')}, with a buffer that no encoder's view bridges."
        )
    elif scheme in ("donor", "section"):
        yield (
            f"Each {scheme} of the training set was held out in turn "
            f"({counted(len(facts.folds), 'fold')})."
        )
    elif not facts.bundle:
        yield (
            f"The model was trained on {listed(facts.folds[0].training)} and tested on "
            f"{listed(tested)}."
        )
    if not facts.bundle:
        yield (
            "Before training, donors, images, units and the sources of genes and encoders of both "
            "sides were compared; no leak was found."
        )
    evaluation = config["evaluation"]
    yield (
        "Each gene was scored by the Pearson correlation (PCC) of predicted with measured "
        "expression over all units of a section, unsmoothed, beside its noise ceiling: the PCC of "
        "the expected expression with the counts, from the Spearman-Brown reliability of binomial "
        f"halves of the counts ({evaluation['ceiling_repeats']} repeats)."
    )
    yield (
        f"95 % intervals come from resampling blocks of {evaluation['block_um']:g} µm "
        f"{evaluation['n_replicates']} times {cite('bootstrap')}."
    )
    baselines = [e.name for e in facts.experiments if e.is_baseline]
    if baselines:
        yield f"Baselines were {listed(baselines)}."
    yield (
        "Genes were graded A to D by their PCC as a share of the ceiling, the width of its "
        "interval, and whether the squared error is below that of the training mean."
    )
    yield (
        f"{percent(1 - config['training']['miscoverage'])} intervals of the measured values come "
        f"from conformal calibration on held-out blocks of training tissue {cite('conformal')}."
    )


def _types(facts: RunFacts) -> Iterator[str]:
    yield (
        f"Measured and predicted {plural(facts.unit)} were clustered by their expression "
        f"{cite('scanpy', 'leiden')} and shown by UMAP {cite('umap')}; clusters were named after "
        "marker genes, with a score and a runner-up."
    )


def _integration(facts: RunFacts) -> Iterator[str]:
    """By the settings of all integrations; what one has of its own is among the settings."""
    settings, entries = facts.config["integration"], facts.config["integrations"]
    training = settings["training"]
    yield (
        f"Sections were integrated ({listed(entries)}) into one latent space with "
        f"{counted(training['n_factors'], 'spatial factor')} after INSPIRE {cite('inspire')}, as "
        f"the mean of {counted(training['n_networks'], 'network')} trained for up to "
        f"{counted(training['n_steps'], 'step')}."
    )
    if training["mixing_rounds"]:
        yield f"Sections were then moved onto each other by soft clusters {cite('harmony')}."
    found = f"Leiden clusters {cite('leiden')}"
    if settings["domains"]["n_domains"]:
        found = "Gaussians of one shape"
    yield (
        f"Domains are {found} in this space; how far sections mix was measured by LISI "
        f"{cite('harmony')} and silhouettes {cite('scib')}."
    )
    if any("stack" in entry for entry in entries.values()):
        yield (
            "Adjacent sections were aligned where their latent spaces correlate best, by a rigid "
            "motion and, where it predicts held-out tissue, a smooth displacement."
        )


def _maps(facts: RunFacts) -> Iterator[str]:
    """By the settings of all maps; what one has of its own is among the settings."""
    settings = facts.config["morphology_map"]
    yield (
        f"Image features were set beside genes and a question {cite('chelebian')}: overlap is the "
        f"information that {settings['n_components']} principal components of expression give of "
        "a feature's normal scores, relevance that which the question gives, by ridge regression "
        "in blocks of tissue unseen, in nats. Both were held against "
        f"{settings['n_moves']} maps moved over the section as on a torus; what counts is a q "
        f"value over features (Benjamini and Hochberg) below {settings['q_below']:g} and "
        f"{settings['least_nats']:g} nats above chance."
    )


def _genotypes(facts: RunFacts, results: Results) -> Iterator[str]:
    """By the settings of all genotypes; what one has of its own is among the settings."""
    copies, settings = facts.config["copy_number"], facts.config["association"]
    inferred = [name for name, tables in results.genotypes.items() if tables.clones is not None]
    if inferred:
        yield (
            f"Copies along the genome ({listed(inferred)}) were inferred from expression beside "
            f"that of normal cells {cite('tirosh', 'infercnvpy')}, in pools of up to "
            f"{copies['most_pooled']} neighbours of one kind with about "
            f"{whole(copies['pool_umi'])} molecules. Clones were split by one half of the "
            "molecules as long as neighbouring genes shifted together in the other half (p < "
            f"{copies['p_below']:g} for the best of all splits tried, genes dealt out anew "
            f"{whole(copies['n_shuffles'])} times). Gains and losses are segments of "
            f"{copies['least_genes']} genes or more and a log2 ratio of {copies['least_log2']:g} "
            "or more that lie further off than those of 95 % of shuffled genomes and are there in "
            "the molecules that did not make the clones. Genes were compared in these molecules."
        )
    if len(inferred) < len(results.genotypes):
        yield f"{'Other genotypes' if inferred else 'Genotypes'} were those of given DNA."
    reach_um = settings["reach_um"]
    reach = "150 µm (spots: four times their distance)" if reach_um is None else f"{reach_um:g} µm"
    yield (
        f"Carriers of a genotype were set beside others of the same kind within {reach} by overlap "
        f"weights {cite('overlap')}, and differences of "
        f"log1p expression beside those of {settings['n_maps']} territories of chance, as large "
        f"and as ragged {cite('viladomat')}; q values are Benjamini and Hochberg's. Dosage is the "
        "slope of log2 expression of genes on log2 copies; whether the image tells carriers was "
        "asked in blocks of tissue unseen."
    )


def _software(facts: RunFacts, versions: dict[str, str]) -> Iterator[str]:
    names = {"histoscribe": "HistoScribe", "snakemake": "Snakemake", "python": "Python"}
    shown = [f"{names.get(name, name)} {version}" for name, version in versions.items()]
    yield f"Tables are AnnData files {cite('anndata')}. Software: {', '.join(shown)}."
