"""The network: from an image to features at places in it, and from these to components.

A pyramid of ConvNeXt blocks (Liu et al., CVPR 2022) whose wide, coarse levels are brought back to
the finest one (Lin et al., CVPR 2017), so that a place is known by its own look and by what lies
around it. Every operation is local: the result at a place does not depend on where the image was
cut, beyond `reach_px`.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from histoscribe.adapted.encoder import AdaptedSettings
from histoscribe.adapted.reach import KERNEL_PX, STEM_STRIDE, reach_px

EXPANSION = 2
CELL_PX = 4  # of the map that places are read from


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


class ContextNetwork(nn.Module):
    """(n, 3, height, width) and places -> (n, n_units, n_outputs).

    `widths` and `depths` are the channels and the blocks of each level, finest first;
    `map_width` the channels of the map that places are read from. Height and width are multiples
    of `stride_px`.
    """

    def __init__(
        self,
        widths: list[int],
        depths: list[int],
        map_width: int,
        hidden: int,
        n_outputs: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, stride=STEM_STRIDE, padding=1),
            Pointwise(nn.LayerNorm(widths[0])),
        )
        self.levels = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth)))
            for width, depth in zip(widths, depths, strict=True)
        )
        self.down = nn.ModuleList(
            nn.Sequential(Pointwise(nn.LayerNorm(fine)), nn.Conv2d(fine, coarse, 2, stride=2))
            for fine, coarse in pairwise(widths)
        )
        self.to_map = nn.ModuleList(Pointwise(nn.Linear(width, map_width)) for width in widths)
        self.on_map = nn.ModuleList(Block(map_width) for _ in widths[1:])
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(2 * map_width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.decoder = nn.Linear(hidden, n_outputs)
        self.stride_px = STEM_STRIDE * 2 ** (len(widths) - 1)
        self.reach_px = reach_px(depths)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """The map that places are read from, (n, 2 * map_width, height / 4, width / 4)."""
        x = self.stem(image)
        levels = []
        for number, blocks in enumerate(self.levels):
            x = blocks(self.down[number - 1](x) if number else x)
            levels.append(x)
        top = self.on_map[-1](self.to_map[-1](levels[-1]))
        for number in range(len(levels) - 2, 0, -1):
            top = functional.interpolate(top, scale_factor=2, mode="bilinear", align_corners=False)
            top = self.on_map[number - 1](top + self.to_map[number](levels[number]))
        return torch.cat([top, self.to_map[0](functional.avg_pool2d(levels[0], 2))], dim=1)

    def forward(self, image: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """`places` (n, n_units, n_points, 2) are x, y in px from the image's corner.

        A unit of several points is described by their mean.
        """
        return self.decoder(self.head(self.read(self.features(image), places)))

    @staticmethod
    def read(features: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Bilinear values of the map at places, mean over points, (n, n_units, channels)."""
        size_px = places.new_tensor([features.shape[3], features.shape[2]]) * CELL_PX
        grid = 2 * places / size_px - 1
        at = functional.grid_sample(features, grid, align_corners=False, padding_mode="border")
        return at.mean(dim=3).transpose(1, 2)


def network_of(settings: AdaptedSettings, n_outputs: int | None = None) -> ContextNetwork:
    """A new, untrained network, with as many outputs as features unless told otherwise."""
    return ContextNetwork(
        settings.widths,
        settings.depths,
        settings.map_width,
        settings.hidden,
        n_outputs or settings.n_components,
        settings.dropout,
    )
