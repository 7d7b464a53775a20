"""The network: from an image to features at places in it, and from these to components.

The first stages of EfficientNet-lite0 (Tan and Le, ICML 2019), whose wide, coarse levels are
brought back to the finest one (Lin et al., CVPR 2017), so that a place is known by its own look and
by what lies around it. Every operation is local: the result at a place does not depend on where the
image was cut, beyond `reach_px`.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from histoscribe.adapted.encoder import AdaptedSettings
from histoscribe.adapted.pretrained import imagenet_weights
from histoscribe.adapted.reach import KERNEL_PX, N_STAGES, STAGES, STRIDES_PX, reach_px
from histoscribe.features.stain import DEFAULT_SCALE, DEFAULT_VECTORS, with_residual
from histoscribe.torch_setup import prepare_torchvision

prepare_torchvision()
import timm  # noqa: E402  (torchvision must be prepared first)

ARCHITECTURE = "tf_efficientnet_lite0"
EXPANSION = 2
# Convolutions of a block of EfficientNet, and the normalisation after each.
NORMALISED = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))
NORMALISED_FIRST = (("conv_dw", "bn1"), ("conv_pw", "bn2"))


class Pointwise(nn.Module):
    """Layers across the channels of each pixel, applied to (n, channels, height, width).

    The channels lie last in memory, so this is one matrix product, which is faster than the 1 x 1
    convolution it equals.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A residual block: a wide filter a channel, then two layers across channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(
            channels, channels, KERNEL_PX, padding=KERNEL_PX // 2, groups=channels
        )
        self.across = Pointwise(
            nn.LayerNorm(channels),
            nn.Linear(channels, EXPANSION * channels),
            nn.GELU(approximate="tanh"),
            nn.Linear(EXPANSION * channels, channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.across(self.around(x))


class Backbone(nn.Module):
    """The first stages of EfficientNet-lite0, its normalisations folded into its convolutions.

    (n, 3, height, width) -> one map for each of `STRIDES_PX`. Weights are those of `state`, in
    timm's names, or random where it is None.
    """

    def __init__(self, state: dict[str, torch.Tensor] | None = None) -> None:
        super().__init__()
        network = timm.create_model(ARCHITECTURE, pretrained=False).eval()
        if state is not None:
            network.load_state_dict(state)
        self.stem = _folded(network.conv_stem, network.bn1)
        self.stages = nn.ModuleList()
        widths = []
        for stage in network.blocks[:N_STAGES]:
            for block in stage:
                pairs = NORMALISED if hasattr(block, "conv_pwl") else NORMALISED_FIRST
                for convolution, normalisation in pairs:
                    folded = _folded(getattr(block, convolution), getattr(block, normalisation))
                    setattr(block, convolution, folded)
                    setattr(block, normalisation, nn.Identity())
                width = folded[0].out_channels
            self.stages.append(stage)
            widths.append(width)
        # Of stages of one stride, the last is read.
        halves = [stride > 1 for _, stride, _ in STAGES] + [True]
        self.read_after = [number for number in range(N_STAGES) if halves[number + 1]]
        self.widths = [widths[number] for number in self.read_after]

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        x, levels = self.stem(image), []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in self.read_after:
                levels.append(x)
        return levels


def _folded(convolution: nn.Conv2d, normalisation: nn.BatchNorm2d) -> nn.Sequential:
    fused = nn.utils.fuse_conv_bn_eval(convolution, normalisation)
    fused.bias.requires_grad_(False)  # to train it gains nothing, and doubles the time
    return nn.Sequential(fused, normalisation.act)


class ContextNetwork(nn.Module):
    """(n, 3, height, width) and places -> (n, n_units, n_outputs).

    The image is hematoxylin, eosin and residual. `map_width` are the channels of the map that
    places are read from, `backbone` its first weights, random where None. Height and width are
    multiples of `stride_px`.
    """

    def __init__(
        self,
        map_width: int,
        hidden: int,
        n_outputs: int,
        dropout: float,
        backbone: dict[str, torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        amounts = np.append(DEFAULT_SCALE, 1.0)[:, None] * with_residual(DEFAULT_VECTORS)
        self.register_buffer("stains", torch.tensor(amounts, dtype=torch.float32), persistent=False)
        self.backbone = Backbone(backbone)
        fine, *coarse = self.backbone.widths
        self.to_map = nn.ModuleList(
            Pointwise(nn.LayerNorm(width), nn.Linear(width, map_width)) for width in coarse
        )
        self.on_map = nn.ModuleList(Block(map_width) for _ in coarse)
        self.head, self.decoder = head_and_decoder(map_width + fine, hidden, n_outputs, dropout)
        self.stride_px = STRIDES_PX[-1]
        self.reach_px = reach_px()

    def stored(self) -> dict[str, torch.Tensor]:
        """What an encoder's file holds of the network: all of it."""
        return self.state_dict()

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The maps that places are read from: (n, channels, height / stride, width / stride).

        The finest level as it is, and the next with all coarser ones brought to it.
        """
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast(image.device.type, enabled=False):  # half precision would band colours
            density = (image.permute(0, 2, 3, 1) @ self.stains).clamp(min=0)
        seen = (2 * torch.exp(-density) - 1).permute(0, 3, 1, 2)
        finest, *levels = self.backbone(seen)
        top = self.on_map[-1](self.to_map[-1](levels[-1]))
        for number in range(len(levels) - 2, -1, -1):
            top = self.on_map[number](_finer(top) + self.to_map[number](levels[number]))
        return [finest, top]

    def forward(self, image: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """`places` (n, n_units, n_points, 2) are x, y in px from the image's corner.

        A unit of several points is described by their mean.
        """
        return self.decoder(self.hidden(image, places))

    def hidden(self, image: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """The last hidden layer, (n, n_units, hidden)."""
        return self.head(self.read(self.features(image), places))

    @staticmethod
    def read(features: list[torch.Tensor], places: torch.Tensor) -> torch.Tensor:
        """Bilinear values of the maps at places, mean over points, (n, n_units, channels)."""
        values = []
        for level, stride in zip(features, STRIDES_PX, strict=False):
            size_px = places.new_tensor([level.shape[3], level.shape[2]]) * stride
            grid = 2 * (places - shift_px(stride)) / size_px - 1
            at = functional.grid_sample(level, grid, align_corners=False, padding_mode="border")
            values.append(at.mean(dim=3).transpose(1, 2))
        return torch.cat(values, dim=2)


def head_and_decoder(
    n_inputs: int, hidden: int, n_outputs: int, dropout: float
) -> tuple[nn.Sequential, nn.Linear]:
    """From what is read at a unit to a hidden layer, and from this to outputs."""
    head = nn.Sequential(
        nn.LayerNorm(n_inputs),
        nn.Dropout(dropout),
        nn.Linear(n_inputs, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
    )
    decoder = nn.Linear(hidden, n_outputs)
    nn.init.normal_(decoder.weight, std=0.01)
    return head, decoder


def shift_px(stride: int) -> float:
    """How far right and down of its cell's middle the middle of what a cell sees lies, in px.

    Where EfficientNet halves an even image, it pads one more on its right (TensorFlow's "same").
    """
    return (stride - 1) / 2


def _finer(level: torch.Tensor) -> torch.Tensor:
    """A level at half its stride: each second cell sees around the very place that one saw."""
    doubled = functional.interpolate(level, scale_factor=2, mode="nearest")
    return functional.avg_pool2d(functional.pad(doubled, (1, 0, 1, 0), mode="replicate"), 2, 1)


def network_of(
    settings: AdaptedSettings,
    n_outputs: int | None = None,
    backbone: dict[str, torch.Tensor] | None = None,
) -> ContextNetwork:
    """A new network, with as many outputs as features unless told otherwise."""
    return ContextNetwork(
        settings.map_width,
        settings.hidden,
        n_outputs or settings.n_components,
        settings.dropout,
        backbone,
    )


def starting_weights(settings: AdaptedSettings) -> dict[str, torch.Tensor] | None:
    """What the backbone starts from; None where at random."""
    if settings.start == "random":
        return None
    return imagenet_weights()
