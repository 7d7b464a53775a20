"""The trained model as one self-contained safetensors file: tensors, and a header of plain text.

The header holds the model's kind and settings, the genes, the encoder and feature blocks it needs,
and its provenance; nothing in the file is executed when it is read.
"""

import importlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import anndata as ad
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from histoscribe.adapted.encoder import (
    HEADER_KEY,
    AdaptedEncoder,
    encoder_of,
    header_of,
    tensors_of,
)
from histoscribe.errors import UserError, problem
from histoscribe.models import KINDS, Prediction, tensors_under
from histoscribe.models.inputs import inputs_of, standardise
from histoscribe.provenance import recall, versions
from histoscribe.storage import written_whole
from histoscribe.threads import one_thread_a_call
from histoscribe.uncertainty.domain import domain_percentile

FORMAT = "histoscribe-bundle-2"
UNITS_AT_ONCE = 2048  # so few that memory for thousands of genes is used again, not asked for anew


@dataclass(frozen=True)
class Bundle:
    """A model with all that prediction needs besides features.

    `encoders` are the identities of the encoders by name, in order (see `encoder_identity`),
    `adapted` those of them that were trained with the model; `use` are the blocks of features of
    each, `columns` the patterns of those used (None: all), and `neighbours_um` the radii within
    which their means are used too. `feature_mean` and `feature_scale` (n_inputs,) standardise them;
    `target_sum` is the total that expression is normalised to, or "median" for each section's own
    median; `uncertainty` holds the tensors of `uncertainty.calibration`, as far as there are any.
    """

    kind: str
    settings: dict
    tensors: dict[str, np.ndarray]
    genes: list[str]
    encoders: dict[str, dict]
    adapted: dict[str, AdaptedEncoder]
    use: list[str]
    columns: list[str] | None
    feature_mean: np.ndarray
    feature_scale: np.ndarray
    target_sum: float | str
    provenance: dict
    uncertainty: dict[str, np.ndarray] = field(default_factory=dict)
    neighbours_um: list[float] = field(default_factory=list)


def write_bundle(bundle: Bundle, path: Path) -> None:
    """Write the bundle in one piece."""
    header = {
        "kind": bundle.kind,
        "settings": bundle.settings,
        "genes": bundle.genes,
        "encoders": bundle.encoders,
        HEADER_KEY: {name: header_of(encoder) for name, encoder in bundle.adapted.items()},
        "use": bundle.use,
        "columns": bundle.columns,
        "neighbours_um": bundle.neighbours_um,
        "target_sum": bundle.target_sum,
        "provenance": {**bundle.provenance, "versions": versions()},
    }
    parts = {"model": bundle.tensors, "uncertainty": bundle.uncertainty}
    tensors = {
        f"{part}.{name}": np.ascontiguousarray(tensor)
        for part, named in parts.items()
        for name, tensor in named.items()
    }
    tensors["feature_mean"] = bundle.feature_mean.astype(np.float32)
    tensors["feature_scale"] = bundle.feature_scale.astype(np.float32)
    for name, encoder in bundle.adapted.items():
        tensors |= tensors_of(encoder, name)
    metadata = {key: json.dumps(value) for key, value in header.items()}
    with written_whole(path) as partial:
        save_file(tensors, partial, metadata={"format": FORMAT, **metadata})


def read_bundle(path: Path) -> Bundle:
    """Read a bundle. Raises UserError where the file is none or is damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(
            problem(
                str(path), f"no readable bundle ({error})", "a model.safetensors", "Train again."
            )
        ) from error
    if metadata.get("format") != FORMAT:
        raise UserError(
            problem(
                str(path),
                f"the format {metadata.get('format')}",
                FORMAT,
                "Give a model.safetensors that HistoScribe wrote.",
            )
        )
    header = {key: json.loads(text) for key, text in metadata.items() if key != "format"}
    adapted = header.pop(HEADER_KEY)
    return Bundle(
        adapted={name: encoder_of(tensors, adapted[name], name) for name in adapted},
        tensors=tensors_under(tensors, "model."),
        uncertainty=tensors_under(tensors, "uncertainty."),
        feature_mean=tensors["feature_mean"],
        feature_scale=tensors["feature_scale"],
        **header,
    )


def model_of(kind: str):
    """The module of a model kind, with `fit` and `apply`; torch is only imported for networks."""
    if kind not in KINDS:
        raise UserError(problem("model.kind", kind, "one of " + ", ".join(KINDS), "Correct it."))
    return importlib.import_module(f"histoscribe.models.{kind}")


def is_refitted(kind: str) -> bool:
    """Whether a kind stops by itself, and so can learn from all units, and again without some."""
    return hasattr(model_of(kind), "refit")


def encoder_identity(features: ad.AnnData) -> dict:
    """What tells one encoder from another: its name, weights, tile and feature names."""
    return recall(features.uns)["encoder"]


def require_same_encoders(found: dict[str, dict], expected: dict[str, dict], where: str) -> None:
    """Raise UserError, naming what differs, unless both are the same encoders in one order."""
    if list(found) != list(expected):
        raise UserError(
            problem(
                where,
                f"features of {' and '.join(found)}",
                f"{' and '.join(expected)}, as those the model learns or has learnt from",
                "Set features.encoder to the encoders of the model.",
            )
        )
    for name, identity in found.items():
        _require_same_encoder(identity, expected[name], f"{where}, encoder {name}")


def _require_same_encoder(found: dict, expected: dict, where: str) -> None:
    """A key that one of the two lacks counts as None."""
    different = sorted(k for k in {*found, *expected} if found.get(k) != expected.get(k))
    if not different:
        return
    words = [", ".join(f"{k}: {e.get(k)!s:.80}" for k in different) for e in (found, expected)]
    remedy = "Set features.encoder to the one of the model, or train a model for this one."
    if different == ["stain"]:
        remedy = "Set stain.method to the one the model was trained with."
    raise UserError(
        problem(
            where,
            f"features of another encoder ({words[0]})",
            f"{words[1]}, as those the model learns or has learnt from",
            remedy,
        )
    )


def predict(
    bundle: Bundle,
    features: dict[str, ad.AnnData],
    rows: list[str],
    where: str,
    threads: int = 1,
) -> Prediction:
    """Predict the bundle's genes for the units named in `rows`, from features by encoder.

    Raises UserError when the features come from other encoders than the bundle's.
    """
    require_same_encoders(
        {name: encoder_identity(described) for name, described in features.items()},
        bundle.encoders,
        where,
    )
    apply = model_of(bundle.kind).apply
    inputs = inputs_of(features, bundle.use, bundle.columns, bundle.neighbours_um, rows)
    expression = np.empty((len(rows), len(bundle.genes)), dtype=np.float32)
    probability = np.empty_like(expression)
    knows_domain = "domain_quantiles" in bundle.uncertainty
    percentile = np.empty(len(rows), dtype=np.float32) if knows_domain else None

    def predict_from(start: int) -> None:
        part = slice(start, start + UNITS_AT_ONCE)
        standardised = standardise(inputs[part], bundle.feature_mean, bundle.feature_scale)
        predicted = apply(bundle.tensors, bundle.settings, standardised)
        expression[part], probability[part] = predicted.expression, predicted.probability
        if knows_domain:
            percentile[part] = domain_percentile(bundle.uncertainty, standardised)

    with one_thread_a_call(), ThreadPoolExecutor(threads) as pool:
        list(pool.map(predict_from, range(0, len(rows), UNITS_AT_ONCE)))
    return Prediction(expression, probability, percentile)
