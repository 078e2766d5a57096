"""A model under evaluation with its data, and its frozen features, which all protocols of an evaluation share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.evaluation.pca import Projection, components_of
from darl.model.patches import grid_of
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from darl.data import Dataset, Images, Stream
    from darl.model.darl import Darl
    from darl.model.patches import Grid

__all__ = [
    "BATCH", "TOKENS", "FeatureSource", "Readout", "Split", "Subject", "coarse_grid", "evaluating", "labelled",
    "read_features", "spans",
]  # fmt: skip

BATCH = 512
"""Images per batch."""

TOKENS = "tokens"
"""The pooling that keeps every patch's place: all patch tokens side by side."""

LARGEST = 3072
"""Most numbers of an image side by side: the pixels of a 32-pixel RGB image, or 2 × 2 tokens of a base model. Of more,
neighbours are averaged to a coarser grid."""

MEMORY = 3 * 2**30
"""Bytes up to which the features of all blocks and poolings are kept to choose among them."""

POOLED_MEMORY = 12 * 2**30
"""Bytes up to which the pooled features of all blocks are kept, as those of a tiny model are for ImageNet."""

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Readout:
    """Which numbers are an image's features."""

    block: int
    """The number of blocks that the tokens have passed, from 1 on; after the last one they pass the last norm too."""
    pooling: str
    """`mean` or `last` (of the patch tokens), `tokens` (side by side), or `pca` and `pcaN` (their N components)."""
    blocks: int = 1
    """How many blocks, up to that one, are read and put side by side."""

    def __str__(self) -> str:
        first = self.block - self.blocks + 1
        return (
            f"block {self.block}, {self.pooling}"
            if self.blocks == 1
            else f"blocks {first} to {self.block}, {self.pooling}"
        )

    @property
    def parts(self) -> list[Readout]:
        """The readouts of single blocks, without components, that this one is made of."""
        pooling = TOKENS if components_of(self.pooling) else self.pooling
        return [Readout(block, pooling) for block in range(self.block - self.blocks + 1, self.block + 1)]


class FeatureSource(ABC):
    """Something that gives features of labelled images: a model, or the pixels themselves."""

    dataset: Dataset
    device: torch.device

    @abstractmethod
    def candidates(self, block: str, readout: str) -> list[Readout]:
        """The readouts that options of a protocol (`darl.evaluation.feature_protocol`) leave to choose from."""

    @abstractmethod
    def features(
        self, split: Split, readouts: Sequence[Readout], *, masked: bool = True, size: int | None = None
    ) -> Mapping[Readout, Float[Tensor, "images width"]]:
        """The features (float32) of every image of a split, by readout.

        masked: whether a causal model keeps its mask. size: pixels that the images are resized to first, bicubic.
        """

    def labels(self, split: Split) -> Int[Tensor, " images"]:
        """The label of every image of a labelled split, on the device."""
        labels = getattr(self.dataset, split).labels
        assert labels is not None
        return torch.tensor(labels, device=self.device)

    @property
    def is_tested(self) -> bool:
        """Whether final figures are due on the labelled test images (`Dataset.test`)."""
        return False

    @property
    def classes(self) -> int:
        """Number of classes: one more than the highest label of both splits."""
        return self.dataset.class_count


@dataclass(frozen=True, eq=False)
class Subject(FeatureSource):
    """A model, the data that it is evaluated on, and the device. Features are computed once and kept."""

    model: Darl
    dataset: Dataset
    device: torch.device
    _kept: dict[tuple[Split, bool, int | None], dict[Readout, Tensor]] = field(
        default_factory=dict[tuple[Split, bool, int | None], dict[Readout, Tensor]], repr=False
    )
    _projections: dict[tuple[Readout, bool], Projection] = field(
        default_factory=dict[tuple[Readout, bool], Projection], repr=False
    )

    @property
    def is_tested(self) -> bool:
        """See `FeatureSource.is_tested`."""
        return self.dataset.test is not None and self.dataset.test.labels is not None

    @property
    def labelled(self) -> bool:
        """Whether both splits have labels."""
        return labelled(self.dataset)

    def candidates(self, block: str, readout: str) -> list[Readout]:
        """Blocks from the first to the last, each with the model's own pooling and with its tokens side by side.

        Where the features of all of them would take more than 3 GiB, tokens side by side are left out of `best`; where
        the pooled ones take more than 12 GiB, blocks are, evenly over the depth, the last one never. Raises UserError
        for a block that the model does not have.
        """
        encoder = self.model.encoder
        read = spans(block, len(encoder.blocks))
        rows, columns = coarse_grid(encoder.grid, encoder.embed_dim)
        images = len(self.dataset.train) + len(self.dataset.validation)
        pooled = 4 * images * encoder.embed_dim * sum(blocks for _, blocks in read)
        poolings = [encoder.readout, TOKENS] if pooled * (1 + rows * columns) <= MEMORY else [encoder.readout]
        if block == "best" and pooled > POOLED_MEMORY:
            step = math.ceil(pooled / POOLED_MEMORY)
            read = read[::-1][::step][::-1]
        chosen = poolings if readout == "best" else [readout]
        return [Readout(number, pooling, blocks) for number, blocks in read for pooling in chosen]

    def features(
        self, split: Split, readouts: Sequence[Readout], *, masked: bool = True, size: int | None = None
    ) -> Mapping[Readout, Float[Tensor, "images width"]]:
        """See `FeatureSource.features`. Raises ArithmeticError where a feature is not finite."""
        kept = self._kept.setdefault((split, masked, size), {})
        derived = [readout for readout in readouts if readout not in kept]
        parts = dict.fromkeys(part for readout in derived for part in readout.parts)
        if missing := [part for part in parts if part not in kept]:
            kept |= self._read(getattr(self.dataset, split), missing, masked=masked, size=size)
        for readout in derived:
            whole = (
                torch.cat([kept[part] for part in readout.parts], 1) if readout.blocks > 1 else kept[readout.parts[0]]
            )
            if most := components_of(readout.pooling):
                whole = self._projection(readout, most, masked=masked)(whole)
            kept[readout] = whole
        return {readout: kept[readout] for readout in readouts}

    def _projection(self, readout: Readout, most: int, *, masked: bool) -> Projection:
        """The components of the training images, at their own size."""
        if (readout, masked) not in self._projections:
            tokens = replace(readout, pooling=TOKENS)
            x = self.features("train", [tokens], masked=masked)[tokens]
            self._projections[readout, masked] = Projection.fit(x, most)
        return self._projections[readout, masked]

    def _read(
        self, split: Images | Stream, readouts: Sequence[Readout], *, masked: bool, size: int | None
    ) -> dict[Readout, Tensor]:
        """One pass over a split. Under autocast the model's passes follow it."""
        from darl.data import evaluation_batches

        whole, row = dict[Readout, Tensor](), 0
        with torch.no_grad(), evaluating(self.model):
            for images in evaluation_batches(self.dataset, split, batch_size=BATCH, device=self.device):
                if size is not None:
                    images = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True)
                for readout, features in read_features(self.model, images, readouts, masked=masked):
                    if readout not in whole:
                        whole[readout] = features.new_empty(len(split), features.shape[1])
                    whole[readout][row : row + len(features)] = features
                row += len(images)
        if not all(features.isfinite().all() for features in whole.values()):
            raise ArithmeticError("the features are not finite: training has diverged; try a lower learning rate")
        return whole


def read_features(
    model: Darl,
    images: Float[Tensor, "batch channels height width"],
    readouts: Sequence[Readout],
    *,
    masked: bool = True,
) -> Iterator[tuple[Readout, Float[Tensor, "batch features"]]]:
    """The features (float32) of normalised images by each readout, in one pass.

    masked: whether a causal model keeps its mask. Tokens side by side have the coarse grid of the training's images.
    """
    encoder = model.encoder
    grid = grid_of((images.shape[2], images.shape[3]), model.patch_size)
    coarse = coarse_grid(encoder.grid, encoder.embed_dim)
    blocks = encoder.forward_blocks(images, causal=None if masked else False)
    for number, tokens in enumerate(blocks, start=1):
        for readout in readouts:
            if readout.block == number:
                if readout.pooling != TOKENS:
                    features = encoder.pool(tokens, readout.pooling)
                elif coarse == grid:
                    features = tokens.flatten(1)
                else:
                    maps_BWRC = tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)
                    features = F.adaptive_avg_pool2d(maps_BWRC, coarse).flatten(2).transpose(1, 2).flatten(1)
                yield readout, features.float()


def spans(block: str, depth: int) -> list[tuple[int, int]]:
    """For an option `block`: the last block that is read, and how many up to it are put side by side."""
    if block == "best":
        return [(number, 1) for number in range(1, depth + 1)]
    if block.startswith("last"):
        blocks = int(block.removeprefix("last") or 1)
        require(1 <= blocks <= depth, "protocol.block", f"be last1 to last{depth}", block)
        return [(depth, blocks)]
    require(1 <= int(block) <= depth, "protocol.block", f"be in 1 to {depth}, best or last", block)
    return [(int(block), 1)]


def coarse_grid(grid: Grid, width: int) -> Grid:
    """The grid of tokens that are put side by side: that of the patches, or a coarser one of at most 3,072 numbers."""
    shrink = min(1.0, (LARGEST / (grid[0] * grid[1] * width)) ** 0.5) + 1e-9
    return max(1, int(grid[0] * shrink)), max(1, int(grid[1] * shrink))


def labelled(dataset: Dataset) -> bool:
    """Whether both splits have labels."""
    return dataset.train.labels is not None and dataset.validation.labels is not None


@contextmanager
def evaluating(model: Darl) -> Generator[None]:
    """Within, the model is in evaluation mode; its previous mode is restored afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
