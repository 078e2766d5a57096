"""Batches of a stream through torch's DataLoader, whose workers decode and crop the images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from darl.data.augment import Augment, crop_boxes, draw, draw_shifts
from darl.data.splits import Stream
from darl.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64, UInt8
    from PIL import Image

__all__ = ["EpochPlan", "EvaluationBatches", "TrainingBatches", "load_batches"]

PREFETCH = 2  # batches that each loader worker prepares in advance

Loaded = tuple[Tensor, Tensor, dict[str, str]]
"""uint8 pixels, the indices of the images that they show, and broken images: reasons by name."""


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """Everything that determines the batches of an epoch on one worker."""

    order: Int64[np.ndarray, " images"]
    seed: int
    epoch: int
    batch_size: int
    augment: Augment
    rows: range

    def indices(self, k: int) -> Int64[np.ndarray, " rows"]:
        """Indices of the images in this worker's rows of batch `k`."""
        start = k * self.batch_size
        return self.order[start + self.rows.start : start + self.rows.stop]

    def draws(self, k: int) -> tuple[Float[Tensor, "rows tries 4"] | None, Bool[Tensor, " rows"] | None]:
        """Random numbers for the crops of batch `k` (see `crop_boxes`), and its flips; None for what is not done."""
        if not (self.augment.crops or self.augment.flip):
            return None, None
        uniform, flips = draw(self.rows, self.seed, "augment", self.epoch, k)
        return uniform if self.augment.crops else None, flips if self.augment.flip else None

    def shifts(self, k: int) -> Int64[Tensor, "rows 2"] | None:
        """The shifts of batch `k` (see `draw_shifts`); None where images are not shifted."""
        if self.augment.shift is None:
            return None
        return draw_shifts(self.rows, self.augment.shift, self.seed, "augment", self.epoch, k)


class BatchDataset(TorchDataset[Loaded | UserError]):
    """Batches by number, for DataLoader. A UserError is returned, since DataLoader would add a worker's traceback."""

    def __init__(self, split: Stream) -> None:
        self.split = split

    def __getitem__(self, number: int) -> Loaded | UserError:
        try:
            pixels, indices, broken = self.batch(number)
        except UserError as error:
            return error
        return torch.from_numpy(pixels), torch.from_numpy(indices), broken

    @abstractmethod
    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        """uint8 pixels, indices of the images shown, and broken images: reasons by name."""


class TrainingBatches(BatchDataset):
    """Training batches: each row cropped out of the whole image, then resized (bicubic, antialiased)."""

    def __init__(self, split: Stream, plan: EpochPlan) -> None:
        super().__init__(split)
        self.plan = plan

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        """Batch `number` of the epoch."""
        split, (uniform, _) = self.split, self.plan.draws(number)
        if uniform is None:
            return split.decode(self.plan.indices(number), split.decode_resized)
        from darl.data.decode import open_image, orient

        def decode(row: int, index: int) -> UInt8[np.ndarray, "channels size size"]:
            return self._crop(orient(open_image(split.source.read(index)), split.channels), uniform[row : row + 1])

        return split.decode(self.plan.indices(number), decode)

    def _crop(self, image: Image.Image, uniform: Float[Tensor, "1 tries 4"]) -> np.ndarray:
        from PIL.Image import Resampling

        from darl.data.decode import to_pixels

        height, width = torch.tensor([image.height]), torch.tensor([image.width])
        top, left, height, width = crop_boxes(uniform, height, width, self.plan.augment.crop_min)[0].tolist()
        size = (self.split.image_size, self.split.image_size)
        return to_pixels(image.crop((left, top, left + width, top + height)).resize(size, Resampling.BICUBIC))


class EvaluationBatches(BatchDataset):
    """The split in its order, in batches numbered by their first row."""

    def __init__(self, split: Stream, batch_size: int) -> None:
        super().__init__(split)
        self.batch_size = batch_size

    def batch(self, number: int) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        """Rows from `number` on."""
        return self.split.decode(
            np.arange(number, min(number + self.batch_size, len(self.split))), self.split.decode_resized
        )


def load_batches(
    split: Stream, data: BatchDataset, numbers: range, device: torch.device
) -> Iterator[tuple[UInt8[Tensor, "rows channels size size"], Int64[Tensor, " rows"]]]:
    """Pixels and image indices of the batches with these numbers, from the loader workers; raises UserError."""
    workers = split.loader_workers
    loader = DataLoader(
        data,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=device.type == "cuda",
        # network clients do not survive a fork
        multiprocessing_context="spawn" if workers and split.source.remote else None,
        generator=torch.Generator(),  # DataLoader draws an (unused) seed: keep it off the global generator
    )
    for item in loader:
        if isinstance(item, UserError):
            raise item
        pixels, indices, broken = item
        split.report(broken)
        yield pixels, indices
