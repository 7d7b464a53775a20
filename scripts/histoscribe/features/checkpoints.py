"""Encoder weights: read safely from a file, matched strictly against a model.

Nothing here runs code from a file: safetensors, or `torch.load(weights_only=True)`.
"""

import argparse
import json
import math
import pickle
import zipfile
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from histoscribe.errors import UserError, problem

CONFIG_NAME = "config.json"
WEIGHT_NAMES = ("model.safetensors", "pytorch_model.bin")
WRAPPERS = ("module.", "backbone.")
SHOWN_KEYS = 4
UNREADABLE = (
    safetensors.SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    ValueError,
    OSError,
    EOFError,
)


def find_weights(folder: Path) -> Path:
    """The weight file of a retrieved model folder."""
    for name in WEIGHT_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        problem(
            str(folder),
            "no weights",
            " or ".join(WEIGHT_NAMES),
            "Run retrieve_encoder again, or put the file there by hand.",
        )
    )


def read_model_config(folder: Path) -> dict:
    """The hub's `config.json`: architecture, model_args and pretrained_cfg."""
    path = folder / CONFIG_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        architecture = config["architecture"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            problem(
                str(path),
                f"no usable model description ({type(error).__name__}: {error})",
                "timm's config.json with an 'architecture'",
                "Only hub models in timm form can be used; retrieve the model again if it is one.",
            )
        ) from error
    # Older files keep the input size and colours beside the architecture.
    return {
        "architecture": architecture,
        "model_args": config.get("model_args") or {},
        "pretrained_cfg": config.get("pretrained_cfg") or config,
    }


def read_state(path: Path) -> tuple[dict[str, torch.Tensor], bool]:
    """The tensors of a weight file, and whether it is a DINO training checkpoint (as HIPT's).

    Of a DINO checkpoint the teacher is taken, its projection head left out; wrapper prefixes
    (`module.`, `backbone.`) are removed. Raises UserError for a missing, damaged or unsafe
    file.
    """
    if not path.is_file():
        raise UserError(problem(str(path), "no such file", "encoder weights", "Correct the path."))
    try:
        if path.suffix == ".safetensors":
            content = safetensors.torch.load_file(path)
        else:
            # HIPT's file holds its training arguments, which are plain data.
            with torch.serialization.safe_globals([argparse.Namespace]):
                content = torch.load(
                    path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
                )
    except UNREADABLE as error:
        raise UserError(
            problem(
                str(path),
                f"a file that does not load ({str(error).splitlines()[0][:160]})",
                "a whole safetensors file or torch checkpoint of plain tensors",
                "Copy it again; if it is whole, convert it to safetensors.",
            )
        ) from error
    return _teacher_or_state(content, path)


def _teacher_or_state(content: object, path: Path) -> tuple[dict[str, torch.Tensor], bool]:
    is_dino = isinstance(content, dict) and "teacher" in content
    for key in ("teacher", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    state = (
        {k: v for k, v in content.items() if isinstance(v, torch.Tensor)}
        if isinstance(content, dict)
        else {}
    )
    if not state:
        raise UserError(
            problem(
                str(path),
                "no tensors by name",
                "a timm state dict or a DINO checkpoint with a 'teacher'",
                "Export the encoder's state_dict().",
            )
        )
    state = {_unwrapped(key): value for key, value in state.items()}
    if is_dino:
        state = {key: value for key, value in state.items() if not key.startswith("head.")}
    return state, is_dino


def _unwrapped(key: str) -> str:
    while key.startswith(WRAPPERS):
        key = key.split(".", 1)[1]
    return key


def positioned_input_px(
    model: torch.nn.Module, state: dict[str, torch.Tensor]
) -> tuple[int, int] | None:
    """Input size for which the weights' position embedding was trained; None where it fits.

    Position embeddings are never resampled here: the model is built for their size instead.
    """
    ours, theirs = getattr(model, "pos_embed", None), state.get("pos_embed")
    patch = getattr(model, "patch_embed", None)
    grid_size = getattr(patch, "grid_size", None)
    if ours is None or theirs is None or grid_size is None or theirs.ndim != 3:
        return None
    if ours.shape == theirs.shape:
        return None
    prefix = ours.shape[1] - math.prod(grid_size)
    side = math.isqrt(max(theirs.shape[1] - prefix, 0))
    if side == 0 or side * side != theirs.shape[1] - prefix:
        return None
    return side * patch.patch_size[0], side * patch.patch_size[1]


def load_strictly(model: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Copy the weights into the model; any missing, unexpected or misshapen one is an error.

    A classifier that the model was built without is left out.
    """
    classifiers = model.pretrained_cfg.get("classifier") or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    wanted = model.state_dict()
    state = {
        key: value
        for key, value in state.items()
        if key in wanted or not key.startswith(tuple(f"{name}." for name in classifiers))
    }
    misshapen = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    faults = {
        "missing": [key for key in wanted if key not in state],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": misshapen,
    }
    found = "; ".join(
        f"{len(keys)} {fault} ({_few(keys)})" for fault, keys in faults.items() if keys
    )
    if found:
        architecture = model.pretrained_cfg.get("architecture", type(model).__name__)
        raise UserError(
            problem(
                str(path),
                f"weights {found}",
                f"those of {architecture}, key for key",
                "Name the architecture that the weights belong to.",
            )
        )
    model.load_state_dict(state)


def _few(keys: list[str]) -> str:
    shown = ", ".join(keys[:SHOWN_KEYS])
    return f"{shown}, ..." if len(keys) > SHOWN_KEYS else shown
