"""The trained `adapted` encoder as a file: settings, weights, and what each network has not seen.

Free of torch, so that bundles can hold an encoder.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from histoscribe.adapted.reach import OWN_STARTS
from histoscribe.errors import UserError, problem
from histoscribe.storage import written_whole

FORMAT = "histoscribe-adapted-2"
HEADER_KEY = "adapted"  # of what a file says beside its tensors


@dataclass(frozen=True)
class AdaptedSettings:
    """The `adapted` encoder of the config.

    The image is seen at about `um_per_px`. The targets are the `n_genes` genes of largest variance
    over mean, the features `n_components` components of what is foretold of them. `n_networks`
    networks (`map_width`, `hidden`, `dropout`: see `ContextNetwork`), whose backbones start from
    weights learnt on ImageNet or at random (`start`: imagenet, random), are trained for `steps`
    steps of `batch_size` patches of `patch_px`, in each of which `units_per_patch` units are read;
    `backbone_learning_rate` and `matrix_learning_rate` are those of the backbone and of other
    hidden matrices. Each is blind to its share of the blocks of `block_um` and to units within
    `buffer_um` of them. `views` (1 to 8) is the number of mirrored and turned images whose results
    are averaged.

    Any other `start` names a pretrained encoder of the config, which sees the tile of a unit,
    `tiles_per_step` of them a step; of it changes of `rank` and the `last_blocks` are trained (see
    `TileNetwork`).
    """

    um_per_px: float
    steps: int
    start: str = "imagenet"
    n_networks: int = 3
    views: int = 4
    block_um: float = 640.0
    buffer_um: float = 64.0
    n_genes: int = 500
    n_components: int = 64
    map_width: int = 96
    hidden: int = 256
    dropout: float = 0.2
    batch_size: int = 4
    patch_px: int = 256
    units_per_patch: int = 1200
    tiles_per_step: int = 32
    rank: int = 8
    last_blocks: int = 0
    learning_rate: float = 0.001
    backbone_learning_rate: float = 0.001
    matrix_learning_rate: float = 0.02
    weight_decay: float = 0.05

    @property
    def is_finetuned(self) -> bool:
        """Whether it starts from a pretrained encoder of the config."""
        return self.start not in OWN_STARTS


@dataclass(frozen=True)
class AdaptedEncoder:
    """Networks and what they were trained for.

    `weights` holds one state a network; `unit` the kind of unit; `blind` for each training section
    an array (n_blocks, 3) of a block's column and row and the network that has not seen it;
    `learnt_from` for each the digest of the names of its units (`names_digest`); `base` is the
    digest of the weights of the encoder that it starts from, where these are not its own.
    """

    settings: AdaptedSettings
    weights: list[dict[str, np.ndarray]]
    unit: str
    blind: dict[str, np.ndarray]
    learnt_from: dict[str, str] = field(default_factory=dict)
    base: str | None = None

    def digest(self) -> str:
        """Digest of the networks' weights."""
        digest = hashlib.sha256()
        for state in self.weights:
            for name in sorted(state):
                digest.update(name.encode() + np.ascontiguousarray(state[name]).tobytes())
        return digest.hexdigest()


def blocks_of(xy_um: np.ndarray, fold: np.ndarray, block_um: float) -> np.ndarray:
    """The table of blocks, (n_blocks, 3): column, row, and the network blind to it."""
    corner = np.floor(xy_um / block_um).astype(np.int64)
    return np.unique(np.column_stack([corner, fold]), axis=0)


def blind_network(xy_um: np.ndarray, blocks: np.ndarray, block_um: float) -> np.ndarray:
    """The network that has not seen each place, (n_units,); -1 where none has."""
    known = {(int(x), int(y)): int(fold) for x, y, fold in blocks}
    corner = np.floor(np.asarray(xy_um) / block_um).astype(np.int64)
    return np.array([known.get((int(x), int(y)), -1) for x, y in corner], dtype=np.int64)


def write_encoder(encoder: AdaptedEncoder, path: Path) -> None:
    """Write the encoder in one piece."""
    with written_whole(path) as partial:
        header = {HEADER_KEY: json.dumps({"": header_of(encoder)})}
        save_file(tensors_of(encoder), partial, metadata=header)


def tensors_of(encoder: AdaptedEncoder, name: str = "") -> dict[str, np.ndarray]:
    """Weights and tables of blocks of the encoder `name`, as a file or a bundle stores them."""
    tensors = {
        f"adapted.{name}/network.{number}/{parameter}": np.ascontiguousarray(value)
        for number, state in enumerate(encoder.weights)
        for parameter, value in state.items()
    }
    return tensors | {
        f"adapted.{name}/blind/{section}": table for section, table in encoder.blind.items()
    }


def header_of(encoder: AdaptedEncoder) -> dict:
    """What is stored beside the tensors, as plain values."""
    return {
        "format": FORMAT,
        "settings": asdict(encoder.settings),
        "unit": encoder.unit,
        "learnt_from": encoder.learnt_from,
        "base": encoder.base,
    }


def read_encoder(path: Path, name: str) -> AdaptedEncoder:
    """Read an encoder from its own file, or the encoder `name` from a model's bundle.

    Raises UserError where the file is neither, or the bundle has no such encoder.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            headers = json.loads((file.metadata() or {}).get(HEADER_KEY, "{}"))
            stored = "" if "" in headers else name
            if stored not in headers:
                raise _unreadable(path, f"it holds no adapted encoder {name}")
            tensors = {
                key: file.get_tensor(key)
                for key in file.keys()  # noqa: SIM118
                if key.startswith(f"adapted.{stored}/")
            }
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, str(error)) from error
    return encoder_of(tensors, headers[stored], stored)


def encoder_of(tensors: dict[str, np.ndarray], header: dict, name: str) -> AdaptedEncoder:
    """The encoder `name` from what `tensors_of` and `header_of` gave; other tensors are ignored.

    Raises UserError where another version wrote them.
    """
    if header.get("format") != FORMAT:
        raise UserError(
            problem(
                f"the adapted encoder {name or ''}".rstrip(),
                f"the format {header.get('format')}",
                FORMAT,
                "It was written by another version of HistoScribe; train again.",
            )
        )
    settings = AdaptedSettings(**header["settings"])
    weights: list[dict[str, np.ndarray]] = [{} for _ in range(settings.n_networks)]
    blind = {}
    for key, value in tensors.items():
        owner, kind, rest = (*key.split("/", 2), "", "")[:3]
        if owner != f"adapted.{name}":
            continue
        if kind == "blind":
            blind[rest] = value
        else:
            weights[int(kind.removeprefix("network."))][rest] = value
    learnt_from, base = header.get("learnt_from", {}), header.get("base")
    return AdaptedEncoder(settings, weights, header["unit"], blind, learnt_from, base)


def _unreadable(path: Path, reason: str) -> UserError:
    return UserError(
        problem(
            str(path),
            f"no readable encoder ({reason})",
            "an adapted encoder, or a model trained with it",
            "Train again, or set features.encoder to the encoder of the model.",
        )
    )
