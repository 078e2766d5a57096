"""ViTDet's simple feature pyramid: maps of four scales from the last map of a plain Vision Transformer.

Li, Mao, Girshick, He 2022, *Exploring Plain Vision Transformer Backbones for Object Detection*, arXiv 2203.16527,
section 3 and appendix A.1; `SimpleFeaturePyramid` in detectron2's `modeling/backbone/vit.py`. There is no top-down
path: each scale is made from the same map, by deconvolutions, nothing, or max pooling, and passes a 1 × 1 and a 3 × 3
convolution, each with layer norm over the channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from timm.layers import LayerNorm2d
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

__all__ = ["SCALES", "SimplePyramid"]

SCALES = (4.0, 2.0, 1.0, 0.5)
"""Sides of the maps relative to the grid of patches: with patches of 16 pixels strides 4, 8, 16 and 32."""


class SimplePyramid(nn.Module):
    """Maps at `SCALES` of a map with `width` channels, each with `channels` channels (256 in the paper)."""

    def __init__(self, width: int, channels: int = 256):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                *layers,
                nn.Conv2d(own, channels, 1, bias=False),
                LayerNorm2d(channels),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                LayerNorm2d(channels),
            )
            for layers, own in _scalings(width)
        )

    def forward(self, maps: Float[Tensor, "batch width rows columns"]) -> list[Float[Tensor, "batch channels _ _"]]:
        """The maps from the finest (4 × rows, 4 × columns) to the coarsest (rows / 2, columns / 2, rounded down)."""
        return [stage(maps) for stage in self.stages]


def _scalings(width: int) -> list[tuple[list[nn.Module], int]]:
    """The layers that change a map's size, and the channels that they leave, for each of `SCALES`."""
    fourfold = [
        nn.ConvTranspose2d(width, width // 2, 2, stride=2),
        LayerNorm2d(width // 2),
        nn.GELU(),
        nn.ConvTranspose2d(width // 2, width // 4, 2, stride=2),
    ]
    return [
        (fourfold, width // 4),
        ([nn.ConvTranspose2d(width, width // 2, 2, stride=2)], width // 2),
        ([], width),
        ([nn.MaxPool2d(2, stride=2)], width),
    ]
