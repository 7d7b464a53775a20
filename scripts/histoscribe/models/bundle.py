"""The trained model as one self-contained safetensors file: tensors, and a header of plain text.

The header holds the model's kind and settings, the genes, the encoder and feature blocks it needs,
and its provenance; nothing in the file is executed when it is read.
"""

import importlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import anndata as ad
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from histoscribe.errors import UserError, problem
from histoscribe.models import KINDS, Prediction
from histoscribe.provenance import recall, versions
from histoscribe.storage import written_whole
from histoscribe.uncertainty.domain import domain_percentile

FORMAT = "histoscribe-bundle-2"
READABLE = ("histoscribe-bundle-1", FORMAT)  # the first lacks uncertainty
FEATURE_LIMIT = 8.0
UNITS_AT_ONCE = 8192


@dataclass(frozen=True)
class Bundle:
    """A model with all that prediction needs besides features.

    `encoder` is the identity of the encoder (see `encoder_identity`), `use` the feature blocks in
    order; `feature_mean` and `feature_scale` (n_features,) standardise them; `target_sum` is the
    total that expression is normalised to, or "median" for each section's own median;
    `uncertainty` holds the tensors of `uncertainty.calibration`, as far as there are any.
    """

    kind: str
    settings: dict
    tensors: dict[str, np.ndarray]
    genes: list[str]
    encoder: dict
    use: list[str]
    feature_mean: np.ndarray
    feature_scale: np.ndarray
    target_sum: float | str
    provenance: dict
    uncertainty: dict[str, np.ndarray] = field(default_factory=dict)


def write_bundle(bundle: Bundle, path: Path) -> None:
    """Write the bundle in one piece."""
    header = {
        "kind": bundle.kind,
        "settings": bundle.settings,
        "genes": bundle.genes,
        "encoder": bundle.encoder,
        "use": bundle.use,
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
    if metadata.get("format") not in READABLE:
        raise UserError(
            problem(
                str(path),
                f"the format {metadata.get('format')}",
                " or ".join(READABLE),
                "Give a model.safetensors that HistoScribe wrote.",
            )
        )
    header = {key: json.loads(text) for key, text in metadata.items() if key != "format"}
    return Bundle(
        tensors=_part(tensors, "model."),
        uncertainty=_part(tensors, "uncertainty."),
        feature_mean=tensors["feature_mean"],
        feature_scale=tensors["feature_scale"],
        **header,
    )


def _part(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The tensors whose names begin with `prefix`, by what follows it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def model_of(kind: str):
    """The module of a model kind, with `fit` and `apply`; torch is only imported for networks."""
    if kind not in KINDS:
        raise UserError(problem("model.kind", kind, "one of " + ", ".join(KINDS), "Correct it."))
    return importlib.import_module(f"histoscribe.models.{kind}")


def encoder_identity(features: ad.AnnData) -> dict:
    """What tells one encoder from another: its name, weights, tile and feature names."""
    return recall(features.uns)["encoder"]


def require_same_encoder(found: dict, expected: dict, where: str) -> None:
    """Raise UserError, naming what differs, unless two encoders are the same.

    A key that one of them lacks counts as None.
    """
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


def join_blocks(features: ad.AnnData, use: list[str], rows: list[str]) -> np.ndarray:
    """The chosen feature blocks side by side for the units named in `rows`, float32."""
    position = features.obs_names.get_indexer(rows)
    if (position < 0).any():
        raise UserError(
            problem(
                "features",
                f"no features for {(position < 0).sum()} of {len(rows)} units",
                "features of every unit",
                "Delete the section's features file and run again.",
            )
        )
    return np.hstack([np.asarray(features.obsm[block])[position] for block in use]).astype(
        np.float32
    )


def standardise(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Features in units of the training spread, float32, cut at +-8.

    The cut keeps a rare outlier of another section from ruling a linear model.
    """
    scaled = (features - mean.astype(np.float32)) / scale.astype(np.float32)
    return np.clip(scaled, -FEATURE_LIMIT, FEATURE_LIMIT, out=scaled)


def predict(bundle: Bundle, features: ad.AnnData, rows: list[str], where: str) -> Prediction:
    """Predict the bundle's genes for the units named in `rows`.

    Raises UserError when the features come from another encoder than the bundle's.
    """
    require_same_encoder(encoder_identity(features), bundle.encoder, where)
    apply = model_of(bundle.kind).apply
    joined = join_blocks(features, bundle.use, rows)
    expression = np.empty((len(rows), len(bundle.genes)), dtype=np.float32)
    probability = np.empty_like(expression)
    knows_domain = "domain_quantiles" in bundle.uncertainty
    percentile = np.empty(len(rows), dtype=np.float32) if knows_domain else None
    for start in range(0, len(rows), UNITS_AT_ONCE):
        part = slice(start, start + UNITS_AT_ONCE)
        standardised = standardise(joined[part], bundle.feature_mean, bundle.feature_scale)
        predicted = apply(bundle.tensors, bundle.settings, standardised)
        expression[part], probability[part] = predicted.expression, predicted.probability
        if knows_domain:
            percentile[part] = domain_percentile(bundle.uncertainty, standardised)
    return Prediction(expression, probability, percentile)
