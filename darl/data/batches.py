"""Deterministic batches: batch `k` of an epoch is a function of (seed, epoch, k).

So it is the same for any number of workers and loader processes, and a run that resumes at a step starts there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from darl.data.augment import Augment, augment_batch, crop_boxes, normalize
from darl.data.dataset import Dataset
from darl.data.loader import EpochPlan, EvaluationBatches, TrainingBatches, load_batches
from darl.data.shuffle import epoch_order, steps_per_epoch
from darl.data.splits import Images, Stream
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

__all__ = ["Batch", "batches", "evaluation_batches"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one global batch."""

    images: Float[Tensor, "rows channels size size"]
    """Normalised, on the device."""
    indices: Int64[Tensor, " rows"]
    """Indices of the images in the training split; on the CPU."""


def batches(
    dataset: Dataset,
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    augment: Augment,
    device: torch.device | str,
    rows: range | None = None,
    first: int = 0,
) -> Iterator[Batch]:
    """The training batches of one epoch from number `first` on; the last, incomplete batch is left out.

    Args:
        dataset: the data; its training split is used.
        seed: seeds the order of the images, the boxes, the shifts and the flips.
        epoch: the epoch's number, from 0 on; each has an order of its own.
        batch_size: images of a global batch, over all workers.
        augment: the random crops, shifts and flips.
        device: where the images are augmented and returned.
        rows: the rows of each global batch that this worker takes; all by default. A row's image, box, shift and flip
            are the same whichever rows are asked for together.
        first: number of the first batch, from 0 on.

    Raises:
        UserError: there are fewer images than `batch_size`.
    """
    split = dataset.train
    steps = range(first, steps_per_epoch(len(split), batch_size))
    rows = range(batch_size) if rows is None else rows
    assert rows.step == 1
    assert 0 <= rows.start < rows.stop <= batch_size, (rows, batch_size)
    order = epoch_order(split, seed, epoch).numpy()
    plan = EpochPlan(order, seed, epoch, batch_size, augment, rows)
    augmented = _stream_batches if isinstance(split, Stream) else _memory_batches
    return augmented(dataset, plan, steps, torch.device(device))


def _memory_batches(dataset: Dataset, plan: EpochPlan, steps: range, device: torch.device) -> Iterator[Batch]:
    split = dataset.train
    assert isinstance(split, Images)
    size = torch.full((len(plan.rows),), split.pixels.shape[-1])
    for k in steps:
        indices = plan.indices(k)
        uniform, flips = plan.draws(k)
        boxes = None if uniform is None else crop_boxes(uniform, size, size, plan.augment.crop_min)
        # indexed by NumPy: torch would warn of read-only pixels, as they come from Ray's object store
        pixels = torch.from_numpy(split.pixels[indices]).to(device)
        images = augment_batch(pixels, boxes, flips, dataset.mean, dataset.std, shifts=plan.shifts(k))
        yield Batch(images, torch.from_numpy(indices.copy()))


def _stream_batches(dataset: Dataset, plan: EpochPlan, steps: range, device: torch.device) -> Iterator[Batch]:
    split = dataset.train
    assert isinstance(split, Stream)
    loaded = load_batches(split, TrainingBatches(split, plan), steps, device)
    for k, (pixels, indices) in zip(steps, loaded, strict=True):
        _, flips = plan.draws(k)
        moved = pixels.to(device, non_blocking=True)
        images = augment_batch(moved, None, flips, dataset.mean, dataset.std, shifts=plan.shifts(k))
        yield Batch(images, indices)


def evaluation_batches(
    dataset: Dataset, split: Images | Stream, *, batch_size: int, device: torch.device | str
) -> Iterator[Float[Tensor, "rows channels size size"]]:
    """All images of a split in order, normalised and not augmented; the last batch may be short.

    In a stream, a broken image is replaced by the next readable one of its label, so that images and labels match.
    """
    require(batch_size >= 1, "batch_size", "be at least 1", batch_size)
    starts = range(0, len(split), batch_size)
    if isinstance(split, Stream):
        loaded = load_batches(split, EvaluationBatches(split, batch_size), starts, torch.device(device))
        pixels = (pixels for pixels, _ in loaded)
    else:
        pixels = (torch.from_numpy(split.pixels[start : start + batch_size].copy()) for start in starts)
    return (normalize(batch.to(device), dataset.mean, dataset.std) for batch in pixels)
