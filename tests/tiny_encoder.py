"""A small vision transformer with random weights, stored as the hub stores one."""

import json
from pathlib import Path

import safetensors.torch
import torch

from histoscribe.torch_setup import prepare_torchvision

prepare_torchvision()
import timm  # noqa: E402  (torchvision must be prepared first)

ARCHITECTURE = "vit_small_patch16_224"
SIZES = {"depth": 2, "img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2}


def write_tiny_encoder(folder: Path, seed: int = 0) -> Path:
    """Write config.json and model.safetensors into a new folder."""
    torch.manual_seed(seed)
    model = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0, **SIZES)
    folder.mkdir(parents=True)
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    description = {"architecture": ARCHITECTURE, "model_args": SIZES, "pretrained_cfg": {}}
    (folder / "config.json").write_text(json.dumps(description))
    return folder
