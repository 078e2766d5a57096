"""Random resized crop or shift, and flip: drawn per row of the global batch, applied to a whole batch at once.

Random numbers are drawn on the CPU from (seed, epoch, batch, row), so they are the same on every device, for every
number of workers and for every loader. Boxes have the distribution of torchvision's RandomResizedCrop: an area uniform
in [crop_min, 1] and an aspect log-uniform in [3/4, 4/3], ten tries, else the centre. A shift is torchvision's
RandomCrop with padding: the image is padded with black and cut out again at a random place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.aspects import Aspect, changes
from darl.randomness import draw_rows
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64, UInt8

__all__ = ["Augment", "augment_batch", "crop_boxes", "draw", "draw_shifts", "normalize"]

TRIES = 10

ASPECT = (3 / 4, 4 / 3)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random augmentation of training images."""

    crop_min: float = changes(Aspect.TRAINING, default=1.0)
    """Smallest area of a random resized crop, as a fraction of the image, in (0, 1]; 1 for no crops."""
    flip: bool = changes(Aspect.TRAINING, default=False)
    """Flip left to right with probability 1/2."""
    shift: int | None = changes(Aspect.TRAINING, default=None)
    """Shift by up to this many pixels in each direction, uniformly; what comes in is black. None for no shifts. It is
    meant for images that fill their frame, as CIFAR's (4) or digits (1), in the place of crops."""

    def __post_init__(self) -> None:
        require(0 < self.crop_min <= 1, "augment.crop_min", "lie in (0, 1]", self.crop_min)
        require(self.shift is None or self.shift >= 1, "augment.shift", "be at least 1, or none", self.shift)
        alone = self.shift is None or not self.crops
        require(alone, "augment.shift", f"be none where augment.crop_min {self.crop_min:g} crops", self.shift)

    @property
    def crops(self) -> bool:
        """Whether images are cropped at all."""
        return self.crop_min < 1


def draw(rows: range, *parts: int | str) -> tuple[Float[Tensor, "batch tries 4"], Bool[Tensor, " batch"]]:
    """Uniform numbers in [0, 1) for the boxes, and the flips, of rows of the global batch; `parts` seed them."""
    uniform = draw_rows(lambda n, g: torch.rand(n, 4 * TRIES + 1, generator=g), rows, *parts)
    return uniform[:, 1:].reshape(len(uniform), TRIES, 4), uniform[:, 0] < 0.5


def draw_shifts(rows: range, shift: int, *parts: int | str) -> Int64[Tensor, "batch 2"]:
    """Shifts (down, right) of up to `shift` pixels of rows of the global batch; `parts` seed them."""
    return draw_rows(lambda n, g: torch.randint(-shift, shift + 1, (n, 2), generator=g), rows, *parts, "shift")


def crop_boxes(
    uniform: Float[Tensor, "batch tries 4"],
    heights: Int64[Tensor, " batch"],
    widths: Int64[Tensor, " batch"],
    crop_min: float,
) -> Int64[Tensor, "batch 4"]:
    """Crop boxes (top, left, height, width) in pixels, for images of these heights and widths."""
    H, W = heights[:, None].double(), widths[:, None].double()
    area_draw, aspect_draw, top_draw, left_draw = uniform.double().unbind(-1)
    area = H * W * (crop_min + area_draw * (1 - crop_min))
    low, high = (math.log(aspect) for aspect in ASPECT)
    aspect = torch.exp(low + aspect_draw * (high - low))
    height, width = torch.round(torch.sqrt(area / aspect)), torch.round(torch.sqrt(area * aspect))
    fits = (height >= 1) & (height <= H) & (width >= 1) & (width <= W)
    top, left = torch.floor(top_draw * (H - height + 1)), torch.floor(left_draw * (W - width + 1))
    first = fits.byte().argmax(1, keepdim=True)
    drawn = torch.stack([value.gather(1, first) for value in (top, left, height, width)], -1).squeeze(1)
    height, width = torch.round(W / ASPECT[0]).minimum(H), torch.round(H * ASPECT[1]).minimum(W)
    centre = torch.cat([((H - height) / 2).floor(), ((W - width) / 2).floor(), height, width], 1)
    return torch.where(fits.any(1, keepdim=True), drawn, centre).long()


def normalize(
    pixels: UInt8[Tensor, "batch channels height width"], mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "batch channels height width"]:
    """`(pixels / 255 - mean) / std`, per channel."""
    return _normalize_(pixels.float(), mean, std)


def _normalize_(
    pixels: Float[Tensor, "batch channels height width"], mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "batch channels height width"]:
    """`normalize`, in place."""
    scale = pixels.new_tensor([1 / (255 * s) for s in std])[:, None, None]
    shift = pixels.new_tensor([-m / s for m, s in zip(mean, std, strict=True)])[:, None, None]
    return pixels.mul_(scale).add_(shift)


def augment_batch(
    pixels: UInt8[Tensor, "batch channels height width"],
    boxes: Int64[Tensor, "batch 4"] | None,
    flips: Bool[Tensor, " batch"] | None,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    shifts: Int64[Tensor, "batch 2"] | None = None,
) -> Float[Tensor, "batch channels height width"]:
    """Shift, crop to `boxes` and resize back (bilinear), flip, normalise; None skips a step.

    A crop is never larger than the image, so no antialiasing is needed. The flip costs nothing: it reverses the sampled
    columns.
    """
    if shifts is not None:
        pixels = _shifted(pixels, shifts.to(pixels.device))
    if boxes is None:
        if flips is not None:
            pixels = torch.where(flips.to(pixels.device)[:, None, None, None], pixels.flip(3), pixels)
        return normalize(pixels, mean, std)
    boxes = boxes.to(pixels.device)
    y = _sampled(boxes[:, 0], boxes[:, 2], pixels.shape[2])
    x = _sampled(boxes[:, 1], boxes[:, 3], pixels.shape[3])
    if flips is not None:
        x = torch.where(flips.to(pixels.device)[:, None], x.flip(1), x)
    shape = (len(pixels), pixels.shape[2], pixels.shape[3])
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)
    cropped = F.grid_sample(pixels.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return _normalize_(cropped, mean, std)


def _shifted(
    pixels: UInt8[Tensor, "batch channels height width"], shifts: Int64[Tensor, "batch 2"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Each image moved by its shift; black comes in."""
    height, width = pixels.shape[2:]
    y = torch.arange(height, device=pixels.device) - shifts[:, :1]
    x = torch.arange(width, device=pixels.device) - shifts[:, 1:]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    row, image = y.clamp(0, height - 1), torch.arange(len(pixels), device=pixels.device)
    moved = pixels[image[:, None, None], :, row[:, :, None], x.clamp(0, width - 1)[:, None, :]].permute(0, 3, 1, 2)
    return torch.where(inside[:, None], moved, 0)


def _sampled(start: Int64[Tensor, " batch"], length: Int64[Tensor, " batch"], size: int) -> Float[Tensor, "batch size"]:
    """Sampling coordinates of `size` pixels of a resized crop, from -1 to 1 over the image, all inside the crop."""
    within = (torch.arange(size, device=start.device) + 0.5) * (length[:, None] / size) - 0.5
    position = within.clamp(min=0).minimum(length[:, None] - 1.0) + start[:, None]
    return (2 * position + 1) / size - 1
