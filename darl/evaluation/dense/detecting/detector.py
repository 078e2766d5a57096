"""Mask R-CNN on a Vision Transformer: torchvision's heads on ViTDet's simple feature pyramid.

Li et al. 2022 (arXiv 2203.16527), with torchvision's `MaskRCNN` (He et al. 2017) in detectron2's place. All blocks
attend globally, where ViTDet lets most attend within windows to save memory. The encoder's last norm is kept.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from darl.model.simple_pyramid import SCALES, SimplePyramid
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float

    from darl.model.config import ModelConfig
    from darl.model.encoder import Encoder

__all__ = ["Detector", "PyramidEncoder", "detector_flops"]

LEVELS = tuple(map(str, range(len(SCALES))))
"""Names of the pyramid's maps, from the finest on; `pool`, half the coarsest, is for proposals only."""

RATIOS = (0.5, 1.0, 2.0)
"""Aspect ratios of anchors."""


class PyramidEncoder(nn.Module):
    """An encoder and the pyramid on its last map.

    Args:
        encoder: it reads images whose sides are multiples of 4 patches.
        channels: of the pyramid's maps.
        masked: whether a causal encoder keeps its mask.
        frozen: whether the encoder is left as it is.

    """

    def __init__(self, encoder: Encoder, channels: int, *, masked: bool, frozen: bool):
        super().__init__()
        self.encoder, self.out_channels, self.masked, self.frozen = encoder, channels, masked, frozen
        self.pyramid = SimplePyramid(encoder.embed_dim, channels)
        encoder.requires_grad_(not frozen)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> OrderedDict[str, Tensor]:
        """Maps by `LEVELS`, and `pool`."""
        patch = self.encoder.size.patch_size
        grid = images.shape[2] // patch, images.shape[3] // patch
        with torch.no_grad() if self.frozen else nullcontext():
            *_, tokens = self.encoder.forward_blocks(images, causal=None if self.masked else False)
        maps = self.pyramid(tokens.transpose(1, 2).unflatten(2, grid))
        return OrderedDict([*zip(LEVELS, maps, strict=True), ("pool", F.max_pool2d(maps[-1], 1, 2))])


class Detector(MaskRCNN):
    """Boxes, classes and masks of objects in images with pixels in [0, 1].

    Anchors are 8 strides wide, as ViTDet's: with patches of 16 pixels 32, 64, 128, 256 and 512.

    Args:
        backbone: the encoder with its pyramid.
        classes: number of classes, the background among them.
        side: pixels that the longer side of an image is resized to.
        mean: of the pixels per channel, by which images are normalised.
        std: their deviation.
        proposals: of an image that the heads are trained on.
        masks: whether there is a head for masks.

    Raises UserError for a patch size that torchvision's heads cannot have.

    """

    def __init__(
        self,
        backbone: PyramidEncoder,
        classes: int,
        *,
        side: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        proposals: int,
        masks: bool,
    ):
        patch, channels = backbone.encoder.size.patch_size, backbone.out_channels
        # MultiScaleRoIAlign rounds strides to powers of two, AnchorGenerator to whole pixels
        fits = patch >= 4 and math.log2(patch).is_integer()
        require(fits, "model.patch_size", "be a power of two of at least 4 for detection", patch)
        super().__init__(
            backbone,
            min_size=side,
            max_size=side,
            image_mean=list(mean),
            image_std=list(std),
            size_divisible=4 * patch,
            rpn_anchor_generator=AnchorGenerator(tuple((2 * patch * 2**level,) for level in range(5)), (RATIOS,) * 5),
            box_batch_size_per_image=proposals,
            box_roi_pool=_pool(patch, 7),
            box_head=TwoMLPHead(channels * 7**2, 4 * channels),
            box_predictor=FastRCNNPredictor(4 * channels, classes),
            mask_roi_pool=_pool(patch, 14),
            mask_head=MaskRCNNHeads(channels, (channels,) * 4, 1),
            mask_predictor=MaskRCNNPredictor(channels, channels, classes),
        )
        if not masks:
            heads: Any = self.roi_heads
            heads.mask_roi_pool = heads.mask_head = heads.mask_predictor = None

    def group_matcher(self, coarse: bool = False) -> Mapping[str, Any]:
        """Patterns that assign parameters to layers, for timm's layer-wise learning rates.

        Those that match none, the encoder's last norm and all heads, are the last layer, whose rate is not reduced.
        """
        encoder = r"^backbone\.encoder\."
        stem = "|".join(encoder + name for name in ("start_token", "patch_embed", "position"))
        return {"stem": stem, "blocks": [(rf"{encoder}blocks\.(\d+)", None)]}

    def no_weight_decay(self) -> set[str]:
        """The encoder's parameters without weight decay; timm's optimiser factory calls this."""
        backbone: Any = self.backbone
        return {f"backbone.encoder.{name}" for name in backbone.encoder.no_weight_decay()}

    def train(self, mode: bool = True) -> Detector:
        """As `nn.Module.train`; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        backbone: Any = self.backbone
        if backbone.frozen:
            backbone.encoder.eval()
        return self


def _pool(patch: int, size: int) -> MultiScaleRoIAlign:
    """RoIAlign over `LEVELS`. Boxes 14 p wide are read at stride p (Lin et al. 2017, equation 1, where p is 16)."""
    return MultiScaleRoIAlign([*LEVELS], size, 2, canonical_scale=14 * patch, canonical_level=round(math.log2(patch)))


def detector_flops(config: ModelConfig, side: int, channels: int, proposals: int, *, masks: bool) -> float:
    """Floating-point operations of the forward pass of a square image, of matrix products and convolutions.

    A quarter of the proposals, those with an object, pass the mask head.
    """
    width, patches = config.size.width, (side // config.size.patch_size) ** 2
    cells = [patches * scale**2 for scale in SCALES]
    enlarging = 2 * patches * 4 * (width * width // 2 + 4 * (width // 2) * (width // 4) + width * width // 2)
    inputs = (width // 4, width // 2, width, width)
    levels = sum(2 * each * (own * channels + 9 * channels**2) for each, own in zip(cells, inputs, strict=True))
    anchors = len(RATIOS)
    region = 2 * sum([*cells, cells[-1] / 4]) * (9 * channels**2 + 5 * anchors * channels)
    boxes = 2 * proposals * (49 * channels * 4 * channels + 16 * channels**2)
    drawn = 2 * proposals / 4 * (4 * 14**2 * 9 * channels**2 + 14**2 * 4 * channels**2) if masks else 0.0
    return config.trunk_flops(patches) + enlarging + levels + region + boxes + drawn
