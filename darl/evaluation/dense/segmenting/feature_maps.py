"""Frozen features of images with masks, as maps: kept where they fit into memory, else computed at every reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from darl.data import normalize
from darl.data.dense.masked_images import MaskedImages, mask_batches
from darl.evaluation.dense.base import Setting
from darl.evaluation.subject import MEMORY
from darl.model.patches import grid_of

if TYPE_CHECKING:
    from jaxtyping import Float

    from darl.model.config import ModelConfig

__all__ = ["Batch", "MaskedMaps", "kept_bytes"]

Batch = tuple[Tensor, Sequence[Tensor]]
"""Feature maps (B, W, rows, columns), and the mask (H, W) of each image."""

READ_AT_ONCE = 64
"""Images of a forward pass that trains nothing."""


class MaskedMaps:
    """The feature maps (B, W, rows, columns) of a split's images, resized to squares, and their masks.

    Args:
        split: images and masks.
        read: patch tokens in raster order of normalised images.
        side: of the squares, in pixels.
        config: of the model that the patch size and the channels are taken from.
        setting: pixel statistics, device and loader.
        memory: bytes up to which the maps are kept.

    """

    def __init__(
        self,
        split: MaskedImages,
        read: Callable[[Float[Tensor, "batch channels side side"]], Float[Tensor, "batch patches width"]],
        side: int,
        config: ModelConfig,
        setting: Setting,
        memory: int = MEMORY,
    ):
        self.split, self.read, self.side, self.channels, self.setting = split, read, side, config.channels, setting
        self.grid, self.memory = grid_of((side, side), config.size.patch_size), memory

    def chosen(self, indices: Tensor, batch_size: int) -> Iterator[Batch]:
        """Maps of some images in a given order; masks are squares of the images' size. The last batch may be short."""
        kept = self._kept
        if kept is None:
            yield from self._read(batch_size, indices.tolist(), square=True)
            return
        for part in indices.split(batch_size):
            maps, masks = (each[part].to(self.setting.device) for each in kept)
            yield maps, list(masks.long())

    def whole(self) -> Iterator[Batch]:
        """The maps of all images in order; each mask has its own size."""
        yield from self._read(READ_AT_ONCE)

    @cached_property
    def width(self) -> int:
        """Numbers of a patch's features."""
        return next(self._read(1, [0]))[0].shape[1]

    @cached_property
    def _kept(self) -> tuple[Tensor, Tensor] | None:
        """All maps (float32) and square masks on the CPU; None where they would take too much memory."""
        kept, row = None, 0
        for maps, masks in self._read(READ_AT_ONCE, square=True):
            if kept is None:
                if kept_bytes(len(self.split), maps[0].numel(), self.side) > self.memory:
                    return None
                kept = (
                    torch.empty(len(self.split), *maps.shape[1:]),
                    torch.empty(len(self.split), self.side, self.side, dtype=torch.int16),
                )
            kept[0][row : row + len(maps)], kept[1][row : row + len(maps)] = maps.cpu(), torch.stack([*masks]).cpu()
            row += len(maps)
        return kept

    def _read(self, batch_size: int, order: list[int] | None = None, *, square: bool = False) -> Iterator[Batch]:
        """Raises ArithmeticError where a feature is not finite."""
        setting = self.setting
        for pixels, masks in mask_batches(
            self.split, size=self.side, channels=self.channels, batch_size=batch_size, order=order, square=square,
            workers=setting.loader_workers,
        ):  # fmt: skip
            with torch.no_grad():
                images = normalize(pixels.to(setting.device), setting.mean, setting.std)
                tokens = self.read(images).float()
            if not tokens.isfinite().all():
                raise ArithmeticError("the features are not finite: training has diverged; try a lower learning rate")
            yield tokens.transpose(1, 2).unflatten(2, self.grid), [mask.to(setting.device) for mask in masks]


def kept_bytes(images: int, numbers: int, side: int) -> int:
    """What maps of so many numbers an image (float32) and square masks (int16) take."""
    return images * (4 * numbers + 2 * side**2)
