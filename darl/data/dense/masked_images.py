"""Images and masks of class indices as they are stored, and batches of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from darl.data.decode import open_image, orient, silence_pil, to_pixels
from darl.data.sources.base import Source
from darl.errors import UserError, reason

if TYPE_CHECKING:
    from jaxtyping import Int64, UInt8

    from darl.data.decode import Encoded

__all__ = ["IGNORED", "MaskedImages", "mask_batches", "unusable"]

IGNORED = 255
"""The class index of pixels that are neither trained on nor counted."""


@dataclass(frozen=True)
class MaskedImages:
    """A split: encoded images, and the mask of each."""

    images: Source
    masks: Source
    ignored: int = IGNORED
    """A class index that is ignored as 255 is: data sets such as ADE20K have 0 for what is in no class."""

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: int, size: int, channels: int) -> UInt8[np.ndarray, "channels size size"]:
        """The whole image, resized to a square (bicubic); raises UserError where it is broken."""
        try:
            with silence_pil():
                image = orient(open_image(self.images.read(index)), channels)
                return to_pixels(image.resize((size, size), Image.Resampling.BICUBIC))
        except UserError:
            raise
        except Exception as error:  # PIL's plug-ins raise anything on a broken file
            raise unusable("image", self.images.name(index), reason(error)) from None

    def mask(self, index: int, size: int | None = None) -> Int64[np.ndarray, "height width"]:
        """The mask in its own size, or resized to a square (nearest); raises UserError where it is broken."""
        try:
            with silence_pil():
                values = _class_indices(self.masks.read(index), size)
        except UserError:
            raise
        except Exception as error:
            raise unusable("mask", self.masks.name(index), reason(error)) from None
        values[values == self.ignored] = IGNORED
        return values

    def checked_classes(self, index: int) -> int:
        """One more than the highest class of a mask, 0 for one that ignores all; raises UserError for a bad pair."""
        mask, name = self.mask(index), self.masks.name(index)
        try:
            with silence_pil():
                image = open_image(self.images.read(index))
                turned = image.getexif().get(0x0112, 1) >= 5  # EXIF: shown with sides exchanged
        except Exception as error:
            raise unusable("image", self.images.name(index), reason(error)) from None
        width, height = image.size[::-1] if turned else image.size
        if mask.shape != (height, width):
            sizes = f"{name} of {mask.shape[1]} x {mask.shape[0]} pixels for an image of {width} x {height}"
            raise UserError(f"must have masks of their images' sizes, got {sizes}", field="data")
        known = mask[mask != IGNORED]
        return int(known.max()) + 1 if known.size else 0


def mask_batches(
    split: MaskedImages,
    *,
    size: int,
    channels: int,
    batch_size: int,
    order: Sequence[int] | None = None,
    square: bool = False,
    workers: int = 0,
) -> Iterator[tuple[UInt8[Tensor, "batch channels size size"], list[Tensor]]]:
    """Images resized to squares, and their masks (int64), in their own sizes or as squares of the same size.

    Args:
        split: the images and masks.
        size: pixels of a square's side.
        channels: 1 (grey) or 3 (RGB).
        batch_size: images a batch; the last may be short.
        order: indices of the images; all by default.
        square: whether the masks are squares too.
        workers: decoding processes.

    """
    indices = range(len(split)) if order is None else order
    views = _Views(split, indices, size, channels, square)
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
        views,  # pyright: ignore[reportArgumentType]  # of a Dataset it needs these two methods
        batch_size,
        num_workers=workers,
        multiprocessing_context="spawn" if workers and split.images.remote else None,  # as in `darl.data.loader`
        collate_fn=_collate,
        generator=torch.Generator(),  # else each pass would draw from the global one
    )
    yield from loader  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class _Views:
    """Chosen images and masks as the loader's workers decode them."""

    split: MaskedImages
    indices: Sequence[int]
    size: int
    channels: int
    square: bool

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        index = int(self.indices[row])
        pixels = self.split.pixels(index, self.size, self.channels)
        mask = self.split.mask(index, self.size if self.square else None)
        return torch.from_numpy(pixels.copy()), torch.from_numpy(mask)


def _collate(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[Tensor]]:
    return torch.stack([pixels for pixels, _ in rows]), [mask for _, mask in rows]


def _class_indices(encoded: Encoded, size: int | None) -> np.ndarray:
    """A mask's class indices; raises ValueError for one of colours."""
    image = open_image(encoded)
    if image.format == "JPEG":
        raise ValueError("JPEG does not keep class indices: a mask must be a PNG")
    if image.mode not in ("1", "L", "P", "I") and not image.mode.startswith("I;16"):
        raise ValueError(f"its pixels are colours (mode {image.mode}), not class indices (a PNG of mode L or P)")
    if size is not None:
        image = image.resize((size, size), Image.Resampling.NEAREST)
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0:
        raise ValueError("it has negative class indices")
    return values


def unusable(what: str, name: str, why: str) -> UserError:
    """The error for a file that cannot be used."""
    return UserError(f"must hold {what}s that can be used, got {name!r} ({why})", field="data")
