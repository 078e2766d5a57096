"""Linear segmentation: how well a linear map of frozen patch features tells the class of every pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from darl.evaluation.dense.base import DenseProtocol, Setting, image_side
from darl.evaluation.subject import MEMORY, evaluating
from darl.metrics import DENSE_METRICS, Metric
from darl.variants import require

if TYPE_CHECKING:
    from darl.data.dense.segmentation import SegmentationData
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
    epochs, batch_size: of the heads' training. ignored: a class index that is ignored as 255 is, as 0 of ADE20K.
    Feature maps that take up to 3 GiB are kept; more are computed again in every epoch.
    """

    kind: ClassVar[str] = "segmentation"
    gives: ClassVar[tuple[Metric, ...]] = (MIOU,)
    chooses: ClassVar[tuple[str, ...]] = ("segmentation_readout",)
    reads: ClassVar[str] = "images with masks (a folder with images/ and masks/, or Parquet)"
    block: str = "last"
    mask: str = "kept"
    size: int = 0
    epochs: int = 30
    batch_size: int = 16
    ignored: int = 255

    def __post_init__(self) -> None:
        known = self.block in ("best", "last") or self.block.isdecimal()
        require(known, "protocol.block", "be the number of a block, last or best", self.block)
        require(self.mask in ("kept", "removed"), "protocol.mask", "be kept or removed", self.mask)
        require(self.size >= 0, "protocol.size", "be positive, or 0 for the model's own", self.size)
        require(self.ignored >= 0, "protocol.ignored", "be a class index", self.ignored)
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, f"protocol.{name}", "be at least 1", getattr(self, name))

    def load(self, data: str) -> SegmentationData:
        """See `DenseProtocol.load`."""
        from darl.data.dense.segmentation import load_segmentation  # here, and below: with labels nothing needs it

        return load_segmentation(data, self.ignored)

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

                held, value, rate = self._judge(read, model.config, data, setting)
                if best is None or held > best[0]:
                    best = held, value, f"block {block}, learning rate {rate:g}"
        assert best is not None
        return {MIOU.column: best[1], "segmentation_readout": best[2]}

    def yardsticks(self, model: Darl, data: SegmentationData, setting: Setting) -> Mapping[str, Value]:
        """See `DenseProtocol.yardsticks`."""
        from darl.evaluation.token_source import place_coded_patches

        value = self._judge(lambda images: place_coded_patches(images, model.patch_size), model.config, data, setting)[
            1
        ]
        return {MIOU.pixels_column: value}

    def flops(self, data: SegmentationData, config: ModelConfig) -> float:
        """One pass over all images, each as far as the block; three passes of an image through each head in an epoch.

        Features that do not fit into memory cost a pass in each epoch more. The enlargement of logits takes 8
        operations for a number. The heads on raw pixels are counted as those of one more block.
        """
        from darl.evaluation.dense.segmenting.feature_maps import kept_bytes

        side, width, depth = image_side(self.size, config), config.size.width, config.size.depth
        patches = (side // config.size.patch_size) ** 2
        images, rest = len(data.train), len(data.validation)
        again = self.epochs if kept_bytes(images, width * patches, side) > MEMORY else 0
        blocks = range(1, depth + 1) if self.block == "best" else [depth if self.block == "last" else int(self.block)]
        passes = (images * (1 + again) + rest) * sum(blocks) / depth
        head = data.classes * (2.0 * width * patches + 8 * side**2)
        heads = len(RATES) * (3 * self.epochs * images * 0.9 + images * 0.1) + rest
        return passes * config.trunk_flops(patches) + heads * head * (len(blocks) + 1)

    def _judge(
        self,
        read: Callable[[Tensor], Tensor],
        config: ModelConfig,
        data: SegmentationData,
        setting: Setting,
    ) -> tuple[float, float, float]:
        """As `judge_heads`. read: patch tokens (B, N, W) in raster order of normalised images."""
        from darl.evaluation.dense.segmenting.feature_maps import MaskedMaps
        from darl.evaluation.dense.segmenting.linear_head import judge_heads

        side = image_side(self.size, config)
        require(len(data.train) >= 2, "data", "hold at least two training images", data.name)
        train, validation = (MaskedMaps(each, read, side, config, setting) for each in (data.train, data.validation))
        settings = {"epochs": self.epochs, "batch_size": self.batch_size, "rates": RATES}
        return judge_heads(train, validation, data.classes, **settings)
