"""A pretrained encoder, fine-tuned: it sees the tile around a unit and foretells components.

Its weights stay as they are. What is learnt are changes of low rank of the matrices in its blocks
(LoRA; Hu et al., ICLR 2022), or its last blocks, so that few numbers are trained and stored.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from histoscribe.adapted.encoder import AdaptedSettings
from histoscribe.adapted.network import head_and_decoder
from histoscribe.errors import UserError, problem
from histoscribe.features.checkpoints import find_weights
from histoscribe.features.vit import Encoder, load_encoder, tokens_and_context
from histoscribe.provenance import file_digest


@dataclass(frozen=True)
class Base:
    """The pretrained encoder to start from: `kind`, `name` and `architecture` as in the config.

    `weights` is the retrieved folder or the checkpoint; units are seen in tiles of `tile_um`.
    """

    kind: str
    name: str
    architecture: str | None
    weights: Path
    tile_um: float

    def load(self) -> Encoder:
        """A new copy of the encoder, its weights frozen."""
        return load_encoder(self.kind, self.name, self.architecture, self.weights)

    def digest(self) -> str:
        """Digest of the weights."""
        return file_digest(find_weights(self.weights) if self.weights.is_dir() else self.weights)


def base_from(params: dict | None, weights: str | None) -> Base | None:
    """The encoder to start from, as a rule gives it; None where there is none."""
    return Base(**params, weights=Path(weights)) if params else None


class LowRank(nn.Module):
    """A weight (n_out, n_in) and a change of low rank, which at first is none."""

    def __init__(self, weight: torch.Tensor, rank: int) -> None:
        super().__init__()
        n_out, n_in = weight.shape
        self.down = nn.Parameter(torch.randn(rank, n_in, device=weight.device) / n_in**0.5)
        self.up = nn.Parameter(torch.zeros(n_out, rank, device=weight.device))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


class TileNetwork(nn.Module):
    """(n, tile, tile, 3) uint8 -> (n, 1, n_outputs): a unit a tile, in its middle.

    `points` (n_points, 2) are where in the tile the unit is read, from -1 to 1.
    """

    def __init__(
        self, encoder: Encoder, settings: AdaptedSettings, n_outputs: int, points: np.ndarray
    ) -> None:
        super().__init__()
        self.encoder, self.backbone = encoder, encoder.model
        let_learn(self.backbone, settings.rank, settings.last_blocks, encoder.name)
        self.register_buffer("points", torch.tensor(points, dtype=torch.float32), persistent=False)
        self.head, self.decoder = head_and_decoder(
            encoder.n_local + encoder.n_context, settings.hidden, n_outputs, settings.dropout
        )

    def train(self, mode: bool = True) -> "TileNetwork":
        """The pretrained part stays as it was evaluated, whatever is trained."""
        super().train(mode)
        self.backbone.eval()
        return self

    def stored(self) -> dict[str, torch.Tensor]:
        """What an encoder's file holds of the network: what was learnt."""
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.hidden(tiles))

    def hidden(self, tiles: torch.Tensor) -> torch.Tensor:
        """The last hidden layer, (n, 1, hidden)."""
        encoder = self.encoder
        pixels = encoder.normalised(tiles.permute(0, 3, 1, 2))
        tokens, context = tokens_and_context(
            self.backbone, pixels, encoder.n_prefix, encoder.has_class_token
        )
        level = tokens.transpose(1, 2).unflatten(2, encoder.grid)
        grid = self.points.to(level.dtype).expand(len(level), 1, -1, -1)
        read = functional.grid_sample(level, grid, align_corners=False, padding_mode="border")
        return self.head(torch.cat([read.mean(dim=(2, 3)), context], dim=1))[:, None]


def let_learn(model: nn.Module, rank: int, last_blocks: int, name: str) -> None:
    """Freeze a model but for changes of `rank` of its blocks' matrices, and its last blocks.

    Raises UserError where that leaves nothing to learn.
    """
    model.requires_grad_(False)
    blocks = getattr(model, "blocks", None) or getattr(model, "stages", None) or []
    last = list(blocks)[max(len(blocks) - last_blocks, 0) :] if last_blocks else []
    for block in list(blocks)[: len(blocks) - len(last)] if rank else []:
        for layer in [m for m in block.modules() if isinstance(m, nn.Linear)]:
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))
    for block in last:
        block.requires_grad_(True)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise UserError(
            problem(
                f"the encoder {name}, which an adapted encoder starts from",
                f"nothing to learn with rank {rank} and last_blocks {last_blocks}",
                "linear layers in its blocks, or blocks to train",
                "Set last_blocks to 1 or more, or start from another encoder.",
            )
        )


def points_in_tile(offsets_um: np.ndarray, tile_um: float) -> np.ndarray:
    """Where a unit is read (n_points, 2), from um around its middle to -1 to 1 across its tile."""
    return np.clip(offsets_um / (tile_um / 2), -1, 1)


def tile_network_of(
    settings: AdaptedSettings, base: Base, offsets_um: np.ndarray, n_outputs: int | None = None
) -> TileNetwork:
    """A new network on the weights of `base`, with as many outputs as features if not told."""
    points = points_in_tile(offsets_um, base.tile_um)
    return TileNetwork(base.load(), settings, n_outputs or settings.n_components, points)
