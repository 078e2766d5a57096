"""A split, decoded in memory or as a stream of encoded images.

A broken image does not stop a run. In memory it is left out; in a stream, where it is found only when it is decoded,
another image replaces it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from darl.data.sources.base import Source
from darl.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Int64, UInt8

__all__ = ["REMOTE_THREADS", "Images", "Stream"]

REMOTE_THREADS = 16
"""Number of parallel reads from remote storage, where each costs a round trip."""


@dataclass(frozen=True, eq=False)
class Images:
    """A split decoded into memory, which all trials on a host share."""

    pixels: UInt8[np.ndarray, "images channels size size"]
    labels: Int64[np.ndarray, " images"] | None

    def __len__(self) -> int:
        return len(self.pixels)


class Stream:
    """A split that is too large for memory: images are decoded when they are used.

    A broken image is replaced, always the same way, by the next readable one of the same label (in a cycle over the
    split; of any label where there are none), warned of once by its path and kept in `skipped`.
    """

    def __init__(
        self,
        source: Source,
        labels: Int64[np.ndarray, " images"] | None,
        *,
        image_size: int,
        channels: int,
        loader_workers: int = 0,
    ) -> None:
        self.source = source
        self.labels = labels
        self.image_size = image_size
        self.channels = channels
        self.loader_workers = loader_workers
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.source)

    def decode_resized(self, _row: int, index: int) -> UInt8[np.ndarray, "channels size size"]:
        """An image resized without augmentation, as an argument of `decode`."""
        from darl.data.decode import decode_resized

        return decode_resized(self.source.read(index), self.image_size, self.channels)

    def decode(
        self, indices: Int64[np.ndarray, " rows"], decode: Callable[[int, int], np.ndarray]
    ) -> tuple[UInt8[np.ndarray, "rows channels size size"], Int64[np.ndarray, " rows"], dict[str, str]]:
        """Pixels from `decode(row, index)`, the indices of the images shown, and broken images: reasons by name."""
        from darl.data.decode import decode_many

        size = self.image_size
        pixels = np.empty((len(indices), self.channels, size, size), np.uint8)
        threads = max(torch.get_num_threads(), REMOTE_THREADS if self.source.remote else 1)
        failed = decode_many(lambda row: decode(row, int(indices[row])), range(len(indices)), pixels, threads)
        shown, broken = indices.copy(), {}
        for row, reason in failed.items():
            broken[self.source.name(int(indices[row]))] = reason
            for other in self._others(int(indices[row])):
                again = decode_many(lambda _, row=row, other=other: decode(row, other), [0], pixels[row : row + 1], 1)
                if not again:
                    shown[row] = other
                    break
                broken[self.source.name(other)] = again[0]
            else:
                name, reason = next(iter(broken.items()))
                raise UserError(f"must hold an image that can be read, got none ({name}: {reason})", field="data")
        return pixels, shown, broken

    def _others(self, index: int) -> Iterator[int]:
        """The images to try in place of image `index`, in order."""
        after = (index + np.arange(1, len(self))) % len(self)
        if self.labels is not None:
            same = self.labels[after] == self.labels[index]
            after = np.concatenate([after[same], after[~same]])
        return map(int, after)

    def report(self, broken: dict[str, str]) -> None:
        """Warn of broken images, of each once."""
        for name, reason in broken.items():
            if name not in self.skipped:
                self.skipped[name] = reason
                warnings.warn(f"skipped {name}: {reason}", stacklevel=2)
