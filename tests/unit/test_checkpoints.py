"""Weights of image encoders: read from their folders and files, strictly, and never executed."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from test_vit import TINY, TINY_NAME, noise_slide, some_units, tiny_model

from histoscribe.errors import UserError
from histoscribe.features.vit import Encoder, encode_units, load_encoder, timm, wrap_model


def as_hub_folder(folder: Path, model: torch.nn.Module, **config: object) -> Path:
    folder.mkdir()
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    described = {
        "architecture": TINY_NAME,
        "num_classes": 0,
        "model_args": TINY,
        "pretrained_cfg": {
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "input_size": [3, 64, 64],
        },
    }
    (folder / "config.json").write_text(json.dumps(described | config))
    return folder


def as_hipt(path: Path, model: torch.nn.Module) -> Path:
    """What HIPT published: student and teacher, wrapped, each with its projection head."""
    teacher = {f"module.backbone.{key}": value for key, value in model.state_dict().items()}
    teacher["module.head.mlp.0.weight"] = torch.zeros(8, 24)
    teacher["module.head.last_layer.weight_g"] = torch.zeros(8, 1)
    checkpoint = {
        "student": {"module.backbone.cls_token": torch.zeros(1, 1, 24)},
        "teacher": teacher,
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small", patch_size=16, lr=0.0005),
    }
    torch.save(checkpoint, path)
    return path


def features_of(encoder: Encoder) -> np.ndarray:
    xy, polygons = some_units(3)
    found = encode_units(noise_slide(), 0.5, xy, polygons, encoder, tile_um=32)
    return np.hstack([found.local, found.context])


def test_a_retrieved_folder_loads_with_its_own_colours(tmp_path: Path) -> None:
    folder = as_hub_folder(tmp_path / "tiny", tiny_model())
    encoder = load_encoder("timm", "hf-hub:someone/tiny", weights=folder)
    assert encoder.input_px == (64, 64)
    assert encoder.mean == (0.1, 0.2, 0.3)
    assert encoder.std == (0.4, 0.5, 0.6)


def test_a_folder_that_does_not_state_its_input_size_is_built_at_its_own(tmp_path: Path) -> None:
    arguments = {key: value for key, value in TINY.items() if key != "img_size"}
    folder = as_hub_folder(
        tmp_path / "tiny",
        tiny_model(),
        model_args=arguments,
        pretrained_cfg={"input_size": [3, 224, 224], "fixed_input_size": True},
    )
    encoder = load_encoder("timm", "hf-hub:someone/tiny", weights=folder)
    assert encoder.input_px == (64, 64)


def test_an_old_flat_config_is_understood(tmp_path: Path) -> None:
    folder = as_hub_folder(tmp_path / "tiny", tiny_model())
    flat = {
        "architecture": TINY_NAME,
        "num_features": 24,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "model_args": TINY,
    }
    (folder / "config.json").write_text(json.dumps(flat))
    assert load_encoder("timm", "someone/tiny", weights=folder).mean == (0.1, 0.2, 0.3)


def test_hipts_checkpoint_gives_the_features_of_the_plain_weights(tmp_path: Path) -> None:
    model = tiny_model()
    torch.save(model.state_dict(), tmp_path / "plain.pth")
    arguments = {key: value for key, value in TINY.items() if key != "img_size"}
    hipt = load_encoder(
        "checkpoint", "hipt", weights=as_hipt(tmp_path / "hipt.pth", model), model_args=arguments
    )
    plain = load_encoder(
        "checkpoint", "plain", TINY_NAME, tmp_path / "plain.pth", model_args=arguments
    )
    assert hipt.mean == hipt.std == (0.5, 0.5, 0.5)
    assert hipt.input_px == (64, 64)
    np.testing.assert_array_equal(features_of(hipt), features_of(plain))
    np.testing.assert_array_equal(features_of(hipt), features_of(wrap_model(model, "same")))


def test_hipts_real_size_is_found_from_its_positions(tmp_path: Path) -> None:
    model = timm.create_model("vit_small_patch16_224", num_classes=0, img_size=256, depth=1)
    path = as_hipt(tmp_path / "hipt.pth", model)
    encoder = load_encoder("checkpoint", "hipt", weights=path, model_args={"depth": 1})
    assert (encoder.input_px, encoder.grid) == ((256, 256), (16, 16))
    assert (encoder.n_local, encoder.n_context) == (384, 384)


def test_a_classifier_is_left_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model(TINY_NAME, pretrained=False, num_classes=5, **TINY)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    encoder = load_encoder(
        "checkpoint", "x", TINY_NAME, tmp_path / "model.safetensors", model_args=TINY
    )
    assert encoder.n_context == 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("norm.weight"), r"1 missing \(norm.weight\)"),
        (lambda s: s.update({"extra.bias": torch.zeros(2)}), r"1 unexpected \(extra.bias\)"),
        (
            lambda s: s.update({"norm.weight": torch.zeros(5)}),
            r"norm.weight \(5,\) instead of \(24,\)",
        ),
    ],
    ids=["missing", "unexpected", "misshapen"],
)
def test_weights_of_another_model_are_refused(tmp_path: Path, change: object, message: str) -> None:
    state = dict(tiny_model().state_dict())
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=message):
        load_encoder("checkpoint", "x", TINY_NAME, tmp_path / "weights.pth", model_args=TINY)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"teacher": tiny_model().state_dict(), "trap": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(UserError, match="does not load"):
        load_encoder("checkpoint", "x", weights=tmp_path / "trap.pth", model_args=TINY)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["half.pth", "half.safetensors"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".pth":
        torch.save(tiny_model().state_dict(), path)
    else:
        safetensors.torch.save_file(tiny_model().state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="does not load"):
        load_encoder("checkpoint", "x", TINY_NAME, path, model_args=TINY)


def test_weights_that_were_not_retrieved_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"retrieve_encoder.*morphology"):
        load_encoder("timm", "hf-hub:someone/tiny", weights=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"config\.json"):
        load_encoder("timm", "hf-hub:someone/tiny", weights=tmp_path / "empty")


def test_a_state_dict_needs_an_architecture_that_timm_knows(tmp_path: Path) -> None:
    torch.save(tiny_model().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match="without an architecture"):
        load_encoder("checkpoint", "x", weights=tmp_path / "weights.pth")
    with pytest.raises(UserError, match="no_such_model"):
        load_encoder("checkpoint", "x", "no_such_model", tmp_path / "weights.pth")
