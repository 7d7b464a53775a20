"""The `timm:` and `checkpoint:` encoders: a pretrained network looks at the tile of each unit.

The class token of the tile is the global feature, the mean of the tokens under the unit's own
footprint the local one (PRTS, Wen et al. 2025), the mean of all tokens of the tile a third. Weights
are read from local files only.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from histoscribe.errors import UserError, problem
from histoscribe.features import UnitFeatures
from histoscribe.features.checkpoints import (
    find_weights,
    load_strictly,
    positioned_input_px,
    read_model_config,
    read_state,
)
from histoscribe.features.tiles import (
    cut_tiles,
    require_tile_fits,
    tile_origins_px,
    tile_size_px,
    token_weights,
)
from histoscribe.image import Slide
from histoscribe.torch_setup import device, prepare_torchvision, set_threads

prepare_torchvision()
import timm  # noqa: E402  (torchvision must be prepared first)

HIPT_ARCHITECTURE = "vit_small_patch16_224"  # built at the checkpoint's own 256 px
HIPT_MEAN = HIPT_STD = (0.5, 0.5, 0.5)  # HIPT's eval_transforms


@dataclass(frozen=True)
class Encoder:
    """A network that turns tiles into tokens and one context vector.

    `input_px` (height, width) is what the network sees, `mean` and `std` its colour
    normalisation of values in 0-1, `grid` the (rows, columns) of its tokens or feature map,
    `n_prefix` the tokens before the patches, of which the first is the class token where
    `has_class_token`.
    """

    name: str
    model: torch.nn.Module
    device: torch.device
    input_px: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    grid: tuple[int, int]
    n_prefix: int
    has_class_token: bool
    n_local: int
    n_context: int

    def encode(self, tiles: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
        """Local (b, n_local), context (b, n_context) and mean (b, n_local) features, float32.

        `tiles` (b, t, t, 3) uint8; `weights` (b, rows * columns) as of `token_weights`.
        """
        with torch.inference_mode():
            pixels = torch.from_numpy(tiles).to(self.device).permute(0, 3, 1, 2)
            shares = torch.from_numpy(weights).to(self.device)
            with torch.autocast(
                self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"
            ):
                tokens, context = tokens_and_context(
                    self.model, self.normalised(pixels), self.n_prefix, self.has_class_token
                )
            tokens = tokens.float()
            local = torch.einsum("bt,btd->bd", shares, tokens)
            return tuple(x.cpu().numpy() for x in (local, context.float(), tokens.mean(dim=1)))

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (b, 3, t, t) of 0-255 as the network sees them."""
        pixels = pixels.float()
        if pixels.shape[2:] != self.input_px:
            pixels = torch.nn.functional.interpolate(
                pixels, self.input_px, mode="bicubic", antialias=True
            ).clamp(0, 255)
        mean = torch.tensor(self.mean, device=pixels.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(1, 3, 1, 1)
        return (pixels / 255 - mean) / std


def load_encoder(
    kind: str,
    name: str,
    architecture: str | None = None,
    weights: Path | None = None,
    model_args: dict[str, object] | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
) -> Encoder:
    """Load an encoder onto the GPU where there is one, else the CPU.

    kind `timm`: `name` is a timm model or hub id, `weights` the folder that
    `retrieve_encoder` filled (config.json and weights) or a weight file of that timm model.
    kind `checkpoint`: `weights` is a timm state dict of `architecture`, or HIPT's DINO
    checkpoint, whose architecture and colours are the defaults. `model_args` go to
    `timm.create_model`; `mean` and `std` replace the model's own.

    Raises UserError for weights that are missing, damaged or of another model.
    """
    if kind not in ("timm", "checkpoint"):
        raise ValueError(f"unknown kind of encoder: {kind}")
    if weights is None or not Path(weights).exists():
        raise UserError(
            problem(
                f"encoder '{kind}:{name}'",
                f"no weights at {weights}" if weights else "no weights",
                "a folder or file of weights retrieved before",
                "Run the rule retrieve_encoder where there is a network, or use the encoder "
                "'morphology', which needs no weights.",
            )
        )
    weights = Path(weights)
    arguments = dict(model_args or {})
    if weights.is_dir():
        config = read_model_config(weights)
        architecture = architecture or config["architecture"]
        arguments = {**config["model_args"], **arguments}
        pretrained_cfg = config["pretrained_cfg"]
        weights = find_weights(weights)
    else:
        pretrained_cfg = {}
        architecture = architecture or (_timm_name(name) if kind == "timm" else None)
    state, is_dino = read_state(weights)
    if architecture is None and not is_dino:
        raise UserError(
            problem(
                f"encoder '{kind}:{name}'",
                "a state dict without an architecture",
                "the timm model that it belongs to",
                "Add the architecture, such as vit_small_patch16_224, to the encoder's settings.",
            )
        )
    model = _build(architecture or HIPT_ARCHITECTURE, arguments, pretrained_cfg)
    input_px = positioned_input_px(model, state)
    if input_px is not None:
        model = _build(
            architecture or HIPT_ARCHITECTURE, arguments | {"img_size": input_px}, pretrained_cfg
        )
    load_strictly(model, state, weights)
    if is_dino:
        mean, std = mean or HIPT_MEAN, std or HIPT_STD
    return wrap_model(model, name, mean, std)


def wrap_model(
    model: torch.nn.Module,
    name: str,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Encoder:
    """Make an `Encoder` of a timm model, whose shapes are found by one trial run."""
    data = timm.data.resolve_model_data_config(model)
    input_px = tuple(int(side) for side in data["input_size"][1:])
    built_px = getattr(getattr(model, "patch_embed", None), "img_size", None)
    if built_px is not None:  # the pretrained_cfg of a resized model still holds the old size
        input_px = tuple(int(side) for side in built_px)
    target = device()
    model = model.eval().requires_grad_(False).to(target)
    has_class_token = getattr(model, "cls_token", None) is not None
    n_prefix = int(getattr(model, "num_prefix_tokens", int(has_class_token)))
    with torch.inference_mode():
        trial = torch.zeros(1, 3, *input_px, device=target)
        output = model.forward_features(trial)
        grid = _grid_of(model, output, n_prefix, name)
        tokens, context = tokens_and_context(model, trial, n_prefix, has_class_token)
    return Encoder(
        name=name,
        model=model,
        device=target,
        input_px=input_px,
        mean=tuple(mean or data["mean"]),
        std=tuple(std or data["std"]),
        grid=grid,
        n_prefix=n_prefix,
        has_class_token=has_class_token,
        n_local=int(tokens.shape[2]),
        n_context=int(context.shape[1]),
    )


def encode_units(
    slide: Slide,
    um_per_px: float,
    xy_um: np.ndarray,
    footprints: np.ndarray,
    encoder: Encoder,
    tile_um: float = 128.0,
    batch: int = 32,
    threads: int = 1,
) -> UnitFeatures:
    """Features of the tile around each unit, in the order of the units.

    `um_per_px` is the resolution of `slide`, `xy_um` (n, 2) the unit centres and `footprints`
    (n,) their polygons, both in um. Tiles reach over the border into white. Raises UserError
    for an image smaller than a tile and for features that are not finite.
    """
    xy_um = np.asarray(xy_um, dtype=np.float64).reshape(-1, 2)
    footprints = np.asarray(footprints, dtype=object)
    if len(xy_um) != len(footprints):
        raise ValueError(f"{len(xy_um)} centres but {len(footprints)} footprints")
    tile_px = tile_size_px(tile_um, um_per_px)
    require_tile_fits(slide, tile_px)
    set_threads(threads)
    origins_px = tile_origins_px(xy_um, um_per_px, tile_px)
    local = np.empty((len(xy_um), encoder.n_local), dtype=np.float32)
    context = np.empty((len(xy_um), encoder.n_context), dtype=np.float32)
    mean = np.empty_like(local)
    with tqdm(total=len(xy_um), desc=encoder.name, unit="unit", disable=None) as progress:
        for units, tiles in cut_tiles(slide, origins_px, tile_px, batch):
            weights = token_weights(
                footprints[units],
                xy_um[units],
                origins_px[units] * um_per_px,
                tile_px * um_per_px,
                encoder.grid,
            )
            local[units], context[units], mean[units] = encoder.encode(tiles, weights)
            progress.update(len(units))
    if not (np.isfinite(local).all() and np.isfinite(context).all()):
        raise UserError(
            problem(
                f"encoder '{encoder.name}'",
                "features that are not finite",
                "finite numbers",
                "The weights are damaged or need another mean and std; retrieve them again.",
            )
        )
    return UnitFeatures(
        local=local,
        context=context,
        local_names=tuple(f"local_{k}" for k in range(encoder.n_local)),
        context_names=tuple(f"global_{k}" for k in range(encoder.n_context)),
        mean=mean if encoder.has_class_token else None,
    )


def _timm_name(name: str) -> str:
    return name.removeprefix("hf-hub:").split("/")[-1]


def _build(
    architecture: str, arguments: dict[str, object], pretrained_cfg: dict[str, object]
) -> torch.nn.Module:
    """A timm model without classifier and without weights."""
    arguments = {**arguments, "num_classes": 0}
    known = {field.name for field in fields(timm.models.PretrainedCfg)}
    overlay = {key: value for key, value in pretrained_cfg.items() if key in known}
    try:
        return timm.create_model(
            architecture,
            pretrained=False,
            pretrained_cfg_overlay=overlay or None,
            **arguments,
        )
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise UserError(
            problem(
                f"encoder architecture '{architecture}'",
                f"that timm {timm.__version__} can't build it ({error})",
                "a timm model name and arguments it knows",
                "List the names with timm.list_models().",
            )
        ) from error


def tokens_and_context(
    model: torch.nn.Module, pixels: torch.Tensor, n_prefix: int, has_class_token: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Patch tokens (b, rows * columns, n_local) and context (b, n_context)."""
    output = model.forward_features(pixels)
    if output.ndim == 3:
        tokens = output[:, n_prefix:]
        context = output[:, 0] if has_class_token else tokens.mean(dim=1)
        return tokens, context
    if not _channels_last(model, output):
        output = output.permute(0, 2, 3, 1)
        pooled = model.forward_head(output.permute(0, 3, 1, 2), pre_logits=True)
    else:
        pooled = model.forward_head(output, pre_logits=True)
    return output.flatten(1, 2), pooled


def _channels_last(model: torch.nn.Module, output: torch.Tensor) -> bool:
    return str(getattr(model, "output_fmt", "NCHW")).upper().endswith("NHWC") or (
        output.shape[1] != model.num_features and output.shape[3] == model.num_features
    )


def _grid_of(model: torch.nn.Module, output: object, n_prefix: int, name: str) -> tuple[int, int]:
    if isinstance(output, torch.Tensor) and output.ndim == 4:
        rows_columns = output.shape[1:3] if _channels_last(model, output) else output.shape[2:4]
        return int(rows_columns[0]), int(rows_columns[1])
    if isinstance(output, torch.Tensor) and output.ndim == 3:
        count = output.shape[1] - n_prefix
        grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
        if grid is not None and grid[0] * grid[1] == count:
            return int(grid[0]), int(grid[1])
        side = int(count**0.5)
        if side * side == count:
            return side, side
    raise UserError(
        problem(
            f"encoder '{name}'",
            "an output without a grid of tokens",
            "patch tokens or a feature map",
            "Use another timm model, such as a ViT or a ConvNeXt.",
        )
    )
