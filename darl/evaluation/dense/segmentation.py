"""Linear segmentation: how well a linear map of frozen patch features tells the class of every pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from darl.data.dense.segmentation import SegmentationData, load_segmentation
from darl.evaluation.dense.base import DenseProtocol, Setting, image_side
from darl.evaluation.dense.feature_maps import MaskedMaps, kept_bytes
from darl.evaluation.dense.linear_head import Batch, count_pixels, fit_heads
from darl.evaluation.dense.mean_iou import mean_iou
from darl.evaluation.subject import MEMORY, evaluating
from darl.evaluation.token_source import PLACE, place_coded_patches
from darl.metrics import DENSE_METRICS, Metric
from darl.randomness import generator
from darl.variants import require

if TYPE_CHECKING:
    from darl.evaluation.protocol import Value
    from darl.model.config import ModelConfig
    from darl.model.darl import Darl

__all__ = ["RATES", "SegmentationProtocol"]

MIOU = DENSE_METRICS["segmentation_miou"]

RATES = (1e-3, 3e-3, 1e-2, 3e-2)
"""The peak learning rates that are tried side by side."""


@dataclass(frozen=True, kw_only=True)
class SegmentationProtocol(DenseProtocol):
    """Mean intersection over union of a linear head on the frozen patch features, in [0, 1].

    Heads with four learning rates are trained side by side on nine tenths of the training images (`linear_head`). The
    one that is best on the other tenth is tested on the validation images, at the size of their own masks. With block
    `best`, it is the best of all blocks' heads.

    The yardstick of raw pixels reads pixel patches of the model's patch size, each with a fixed sine-cosine code of its
    place: the model's tokens know where they are.

    block: after how many blocks the features are read: a number, `last`, or `best`. mask: `kept`, or `removed` to read
    without the causal mask. size: the side in pixels of the squares that images are resized to; 0 for the model's own.
    epochs, batch_size: of the heads' training. Feature maps that take up to 3 GiB are kept; more are computed again in
    every epoch.
    """

    kind: ClassVar[str] = "segmentation"
    gives: ClassVar[tuple[Metric, ...]] = (MIOU,)
    chooses: ClassVar[tuple[str, ...]] = ("segmentation_readout",)
    reads: ClassVar[str] = "images with masks (--data FOLDER, with images/ and masks/, or Parquet)"
    block: str = "last"
    mask: str = "kept"
    size: int = 0
    epochs: int = 30
    batch_size: int = 16

    def __post_init__(self) -> None:
        known = self.block in ("best", "last") or self.block.isdecimal()
        require(known, "protocol.block", "be the number of a block, last or best", self.block)
        require(self.mask in ("kept", "removed"), "protocol.mask", "be kept or removed", self.mask)
        require(self.size >= 0, "protocol.size", "be positive, or 0 for the model's own", self.size)
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, f"protocol.{name}", "be at least 1", getattr(self, name))

    def load(self, data: str) -> SegmentationData:
        """See `DenseProtocol.load`."""
        return load_segmentation(data)

    def measure(self, model: Darl, data: SegmentationData, setting: Setting) -> Mapping[str, Value]:
        """See `DenseProtocol.measure`. Raises ArithmeticError where a feature is not finite."""
        encoder, masked = model.encoder, self.mask == "kept"
        depth = len(encoder.blocks)
        if self.block not in ("best", "last"):
            require(1 <= int(self.block) <= depth, "protocol.block", f"be in 1 to {depth}, best or last", self.block)
        blocks = range(1, depth + 1) if self.block == "best" else [depth if self.block == "last" else int(self.block)]
        best: tuple[float, float, str] | None = None
        with evaluating(model):
            for block in blocks:

                def read(images: Tensor, block: int = block) -> Tensor:
                    states = encoder.forward_blocks(images, causal=None if masked else False)
                    return next(tokens for number, tokens in enumerate(states, start=1) if number == block)

                held, value, rate = self._judge(read, encoder.embed_dim, model.config, data, setting)
                if best is None or held > best[0]:
                    best = held, value, f"block {block}, learning rate {rate:g}"
        assert best is not None
        return {MIOU.column: best[1], "segmentation_readout": best[2]}

    def yardsticks(self, model: Darl, data: SegmentationData, setting: Setting) -> Mapping[str, Value]:
        """See `DenseProtocol.yardsticks`."""
        patch = model.patch_size
        width = model.patch_dim + PLACE
        value = self._judge(lambda images: place_coded_patches(images, patch), width, model.config, data, setting)[1]
        return {MIOU.pixels_column: value}

    def flops(self, data: SegmentationData, config: ModelConfig) -> float:
        """Two passes over the training images and one over the others; three passes of an image through each head.

        Features that do not fit into memory cost a pass in each epoch instead, which is counted. Blocks before the last
        one are read by passes of their own. The enlargement of logits takes 8 operations for a number.
        """
        side, width, depth = image_side(self.size, config), config.size.width, config.size.depth
        patches = (side // config.size.patch_size) ** 2
        blocks, images, rest = depth if self.block == "best" else 1, len(data.train), len(data.validation)
        again = self.epochs if kept_bytes(images, width * patches, side) > MEMORY else 0
        passes = (images * (1 + again) + rest) * (1 if blocks == 1 else (depth + 1) / 2)
        head = data.classes * (2.0 * width * patches + 8 * side**2)
        heads = len(RATES) * (3 * self.epochs * images * 0.9 + images * 0.1) + rest
        return passes * config.trunk_flops(patches) + heads * head * (blocks + 1)

    def _judge(
        self,
        read: Callable[[Tensor], Tensor],
        width: int,
        config: ModelConfig,
        data: SegmentationData,
        setting: Setting,
    ) -> tuple[float, float, float]:
        """mIoU on the held-out tenth and on the validation images of the best head, and its learning rate.

        read: patch tokens (B, N, W) in raster order of normalised images. width: W.
        """
        side, count = image_side(self.size, config), len(data.train)
        require(count >= 2, "data", "hold at least two training images", data.name)
        train, validation = (MaskedMaps(each, read, side, config, setting) for each in (data.train, data.validation))
        mixed = torch.randperm(count, generator=generator("held-out masks"))
        held, rest = mixed[::10], mixed[torch.arange(count) % 10 != 0]
        batch = min(self.batch_size, len(rest))
        steps = len(rest) // batch

        def epoch(number: int) -> Iterator[Batch]:
            order = torch.randperm(len(rest), generator=generator("order of masks", number))
            yield from train.chosen(rest[order[: steps * batch]], batch)

        heads = fit_heads(
            epoch, width, data.classes, epochs=self.epochs, steps=steps, rates=RATES, device=setting.device
        )
        scores = [mean_iou(matrix) for matrix in count_pixels(heads, train.chosen(held, batch), data.classes)]
        best = scores.index(max(scores))
        (matrix,) = count_pixels([heads[best]], validation.whole(), data.classes)
        return scores[best], mean_iou(matrix), RATES[best]
