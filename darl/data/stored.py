"""All images of a data set in the order in which they are stored, with names and labels, decoded a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from darl.data.dataset import OpenedData
from darl.data.splits import REMOTE_THREADS

if TYPE_CHECKING:
    from jaxtyping import UInt8

__all__ = ["StoredImages", "stored_images"]


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Neighbouring images of one split, without those that cannot be decoded."""

    split: str
    """`train`, `validation` or `test`."""
    names: list[str]
    """Each image's path, or `file#row`."""
    labels: list[int] | None
    """Class numbers, counted from 0 in the order of `classes`; None for a split without labels."""
    classes: tuple[str, ...] | None
    pixels: UInt8[np.ndarray, "images channels size size"]
    skipped: dict[str, str]
    """Why other images could not be decoded, by name."""


def stored_images(opened: OpenedData, *, image_size: int, channels: int, batch_size: int) -> Iterator[StoredImages]:
    """The images of all splits, no more than `batch_size` at a time in memory. Raises UserError.

    They are resized and cut as for an evaluation (`darl.data.decode`).
    """
    from darl.data.decode import decode_many, decode_resized

    for split, source in opened.sources.items():
        labels = opened.labels[split]
        threads = max(torch.get_num_threads(), REMOTE_THREADS if source.remote else 1)
        for start in range(0, len(source), batch_size):
            indices = range(start, min(start + batch_size, len(source)))
            pixels = np.empty((len(indices), channels, image_size, image_size), np.uint8)

            def decode(index: int, source=source) -> np.ndarray:  # type: ignore[no-untyped-def]
                return decode_resized(source.read(index), image_size, channels)

            failed = decode_many(decode, indices, pixels, threads)
            kept = [row for row, index in enumerate(indices) if index not in failed]
            yield StoredImages(
                split=split,
                names=[source.name(indices[row]) for row in kept],
                labels=None if labels is None else [int(labels[indices[row]]) for row in kept],
                classes=opened.classes,
                pixels=pixels[kept],
                skipped={source.name(index): reason for index, reason in failed.items()},
            )
