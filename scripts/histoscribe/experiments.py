"""Experiments: the run's settings with named overrides, and what experiments share.

Light on purpose: the Snakefile imports it.
"""

from copy import deepcopy
from dataclasses import dataclass

from histoscribe.errors import UserError, problem

# Baselines are experiments too, so that they pass through the same rules as every model. A model
# is worth its name where it beats them all.
BASELINE = "training-mean"
FEW_FEATURES = {"kind": "kernel", "kernel": {"n_waves": 128}}
BASELINES = {
    BASELINE: {"model": {"kind": "mean"}},
    # How far a gene goes with the depth of a unit alone, which is read from the measurement.
    "total-counts": {
        "features": {"encoder": "totals", "use": ["local"], "neighbours_um": []},
        "model": FEW_FEATURES,
    },
    "cell-density": {
        "features": {
            "encoder": "morphology",
            "use": ["local", "global"],
            "columns": ["*_nuclear_fraction", "*_blob_density", "nuclei_*_density"],
        },
        "model": FEW_FEATURES,
    },
    "nearest-units": {"model": {"kind": "neighbours"}},
    "block-ridge": {"model": {"kind": "ridge"}},
    "random-weights": {
        "features": {"encoder": "random", "use": ["local", "global"]},
        "model": {"kind": "ridge"},
    },
    "shuffled-image": {"features": {"shuffled": True}, "model": {"kind": "ridge"}},
}
# The one experiment of a run that applies a trained bundle instead of training.
PRETRAINED = "pretrained"
# Kinds of model that have settings to search (see tuning.py).
TUNABLE = ("kernel", "multitask", "prts")
# The gene set of the config itself; other sets bear the name of their first experiment.
DEFAULT_GENE_SET = "default"


@dataclass(frozen=True)
class FeatureChoice:
    """Which features a model learns from.

    `encoders` by name and of each the blocks `use`; of these the columns that match one of the
    patterns `columns`, None for all; then the means of these around the unit, within each of
    `neighbours_um`. `shuffled` deals the features of a training section out to its units at random.
    """

    encoders: list[str]
    use: list[str]
    columns: list[str] | None
    neighbours_um: list[float]
    shuffled: bool

    @staticmethod
    def of(features: dict) -> "FeatureChoice":
        """The choice that a config's `features` make."""
        return FeatureChoice(
            encoders_of(features),
            features["use"],
            features["columns"],
            features["neighbours_um"],
            features["shuffled"],
        )


@dataclass(frozen=True)
class Experiment:
    """Settings of one experiment, overrides applied.

    `gene_set` names the selection it uses: experiments with equal `genes` share one.
    """

    name: str
    genes: dict
    features: FeatureChoice
    model: dict
    training: dict
    gene_set: str

    @property
    def trains_network(self) -> bool:
        """Whether a GPU would help."""
        kinds = {self.model["kind"], *self.model_settings.get("members", {})}
        return bool(kinds & {"prts", "multitask"})

    @property
    def model_settings(self) -> dict:
        """The settings of the chosen kind of model."""
        return _settings_of(self.model["kind"], self.model)


def _settings_of(kind: str, model: dict) -> dict:
    """Of a kind; `kernel` shares the penalties of `ridge`, `stacked` holds those of its members."""
    if kind == "stacked":
        stacked = model["stacked"]
        members = {member: _settings_of(member, model) for member in stacked["kinds"]}
        return {"members": members, "block_um": stacked["block_um"]}
    shared = model["ridge"] if kind == "kernel" else {}
    return {**shared, **model.get(kind, {})}


def encoders_of(features: dict) -> list[str]:
    """The names under `features.encoder`, which is one name or a list."""
    named = features["encoder"]
    return [named] if isinstance(named, str) else list(named)


def merge(base: dict, override: dict) -> dict:
    """`base` with `override` laid over it, mappings key by key."""
    merged = deepcopy(base)
    for key, value in override.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = deepcopy(value)
    return merged


def resolve_experiments(config: dict, overrides: dict[str, dict | None]) -> dict[str, Experiment]:
    """Every experiment of the run, baselines last."""
    gene_sets: dict[str, dict] = {DEFAULT_GENE_SET: config["genes"]}
    experiments = {}
    named = {} if config["bundle"] else {**overrides, **BASELINES}
    for name, override in named.items():
        override = override or {}
        genes = merge(config["genes"], override.get("genes", {}))
        gene_set = next((key for key, value in gene_sets.items() if value == genes), name)
        gene_sets[gene_set] = genes
        experiments[name] = Experiment(
            name=name,
            genes=genes,
            features=FeatureChoice.of(merge(config["features"], override.get("features", {}))),
            model=merge(config["model"], override.get("model", {})),
            training=merge(config["training"], override.get("training", {})),
            gene_set=gene_set,
        )
    if config["bundle"]:
        experiments[PRETRAINED] = Experiment(
            PRETRAINED,
            config["genes"],
            FeatureChoice.of(config["features"]),
            config["model"],
            config["training"],
            DEFAULT_GENE_SET,
        )
    return experiments


def tunable(experiments: dict[str, Experiment]) -> list[str]:
    """Names of the experiments whose settings can be searched. Raises UserError for none."""
    own = {
        name: experiment.model["kind"]
        for name, experiment in experiments.items()
        if name not in (*BASELINES, PRETRAINED)
    }
    names = [name for name, kind in own.items() if kind in TUNABLE]
    if not names:
        raise UserError(
            problem(
                "experiments to tune",
                ", ".join(f"{name} ({kind})" for name, kind in own.items()) or "none",
                f"one with a model.kind of {', '.join(TUNABLE)}",
                "Other kinds have no settings to search.",
            )
        )
    return names
