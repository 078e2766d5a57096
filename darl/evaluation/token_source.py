"""Patch tokens of all images of a data set, normalised, for classifiers that read them one batch at a time.

They are kept in half precision where they fit into memory; else each epoch computes them again. Both give the same
numbers, in the same order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.evaluation.subject import BATCH, MEMORY, Split, Subject
from darl.model.patches import grid_of, patchify

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

__all__ = ["PLACE", "ModelTokens", "PixelTokens", "TokenSource", "place_coded_patches"]

PLACE = 64
"""Numbers of the code of a pixel patch's place."""

SEED = 0
"""Of the order of the training images."""


class TokenSource(ABC):
    """Normalised patch tokens (B, N, W) of the images of a subject's data set.

    Args:
        subject: the data and the device.
        memory: bytes up to which the tokens of a split are kept.

    """

    width: int
    """Numbers of a token."""
    heads: int
    """Attention heads that suit the width."""

    def __init__(self, subject: Subject, memory: int = MEMORY):
        self.subject, self.memory = subject, memory

    @abstractmethod
    def read(self, images: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch tokens width"]:
        """The tokens (float32) of normalised images."""

    def shuffled(
        self, epoch: int, batch_size: int
    ) -> Iterator[tuple[Float[Tensor, "batch tokens width"], Int64[Tensor, " batch"]]]:
        """Batches of the training images in an order of the epoch's own, and the images' indices.

        The last, incomplete batch is left out.
        """
        from darl.data import batches, steps_per_epoch
        from darl.data.augment import Augment
        from darl.data.shuffle import epoch_order

        dataset, kept = self.subject.dataset, self._kept
        if kept is None:
            every = batches(
                dataset, seed=SEED, epoch=epoch, batch_size=batch_size, augment=Augment(), device=self.subject.device
            )
            for batch in every:
                yield self._normalized(batch.images).float(), batch.indices
            return
        order = epoch_order(dataset.train, SEED, epoch)
        for step in range(steps_per_epoch(len(dataset.train), batch_size)):
            indices = order[step * batch_size : (step + 1) * batch_size]
            yield kept[indices.to(kept.device)].float(), indices

    def ordered(self, split: Split) -> Iterator[Float[Tensor, "batch tokens width"]]:
        """All images of a split in order; the last batch may be short."""
        if split == "train" and self._kept is not None:
            yield from (part.float() for part in self._kept.split(BATCH))
        else:
            yield from (self._normalized(images).float() for images in self._images(split))

    @cached_property
    def _kept(self) -> Float[Tensor, "images tokens width"] | None:
        """The normalised tokens of the training images in half precision; None where they take too much memory."""
        images = len(self.subject.dataset.train)
        kept, row = None, 0
        for batch in self._images("train"):
            tokens = self._normalized(batch)
            if kept is None:
                if images * tokens[0].numel() * tokens.element_size() > self.memory:
                    return None
                kept = tokens.new_empty(images, *tokens.shape[1:])
            kept[row : row + len(tokens)] = tokens
            row += len(tokens)
        return kept

    @cached_property
    def _statistics(self) -> tuple[Float[Tensor, " width"], Float[Tensor, " width"]]:
        """Mean and deviation of each number over all tokens of the training images. Raises ArithmeticError."""
        count, mean, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for images in self._images("train"):
            tokens = self._read(images).flatten(0, 1)
            here, own = len(tokens), tokens.mean(0).double().cpu()
            deviation = tokens.var(0, correction=0).double().cpu()
            difference, total = own - mean, count + here
            squares = squares + deviation * here + difference.square() * count * here / total  # Chan et al. 1979
            mean, count = mean + difference * here / total, total
        if not squares.isfinite().all():
            raise ArithmeticError("the features are not finite: training has diverged; try a lower learning rate")
        std = (squares / count).sqrt()
        return mean.float().to(self.subject.device), std.float().clamp(min=1e-3).to(self.subject.device)

    def _images(self, split: Split) -> Iterator[Tensor]:
        from darl.data import evaluation_batches

        dataset, device = self.subject.dataset, self.subject.device
        yield from evaluation_batches(dataset, getattr(dataset, split), batch_size=BATCH, device=device)

    def _normalized(self, images: Tensor) -> Float[Tensor, "batch tokens width"]:
        """In half precision."""
        mean, std = self._statistics
        return ((self._read(images) - mean) / std).half()

    @torch.no_grad()
    def _read(self, images: Tensor) -> Tensor:
        return self.read(images).float()


class ModelTokens(TokenSource):
    """The patch tokens after a block. block: counted from 1. masked: whether a causal model keeps its mask."""

    def __init__(self, subject: Subject, block: int, *, masked: bool, memory: int = MEMORY):
        super().__init__(subject, memory)
        self.block, self.masked = block, masked
        encoder = subject.model.encoder
        self.width, self.heads = encoder.embed_dim, encoder.size.heads

    def read(self, images: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch tokens width"]:
        """See `TokenSource.read`."""
        states = self.subject.model.encoder.forward_blocks(images, causal=None if self.masked else False)
        return next(tokens for number, tokens in enumerate(states, start=1) if number == self.block)


class PixelTokens(TokenSource):
    """Pixel patches with a sine-cosine code of their place, and zeros up to a multiple of the heads."""

    def __init__(self, subject: Subject, patch_size: int, heads: int, memory: int = MEMORY):
        super().__init__(subject, memory)
        self.patch_size, self.heads = patch_size, heads
        numbers = subject.model.patch_dim + PLACE
        self.padding = -numbers % heads
        self.width = numbers + self.padding

    def read(self, images: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch tokens width"]:
        """See `TokenSource.read`."""
        return F.pad(place_coded_patches(images, self.patch_size), (0, self.padding))


def place_coded_patches(
    images: Float[Tensor, "batch channels height width"], patch_size: int
) -> Float[Tensor, "batch patches numbers"]:
    """Pixel patches in raster order, each followed by a fixed sine-cosine code of its place (`PLACE` numbers)."""
    from timm.layers import build_sincos2d_pos_embed  # takes seconds to import

    patches = patchify(images, patch_size)
    grid = grid_of((images.shape[2], images.shape[3]), patch_size)
    place = build_sincos2d_pos_embed(list(grid), dim=PLACE, device=images.device).expand(len(images), -1, -1)
    return torch.cat([patches, place.to(patches)], 2)
