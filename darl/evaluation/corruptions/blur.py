"""Blur of lenses and of movement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from darl.evaluation.corruptions.base import Corruption

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["DefocusBlur", "GaussianBlur", "MotionBlur", "ZoomBlur"]


@dataclass(frozen=True, kw_only=True)
class GaussianBlur(Corruption):
    """Gaussian blur; strength: its standard deviation in pixels."""

    kind: ClassVar[str] = "gaussian_blur"
    small: ClassVar[Sequence[Any]] = (0.4, 0.6, 0.7, 0.8, 1.0)
    large: ClassVar[Sequence[Any]] = (1, 2, 3, 4, 6)

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """As `skimage.filters.gaussian`: cut off at 4 deviations, edges repeated."""
        sigma = strength * scale
        kernel = _gaussian(int(4 * sigma + 0.5), sigma)
        down = _filtered(x, kernel[:, None], "replicate")
        return _filtered(down, kernel[None, :], "replicate")


@dataclass(frozen=True, kw_only=True)
class DefocusBlur(Corruption):
    """A lens out of focus; strength: the radius of its disk, and the deviation of the disk's smooth edge, in pixels."""

    kind: ClassVar[str] = "defocus_blur"
    small: ClassVar[Sequence[Any]] = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))
    large: ClassVar[Sequence[Any]] = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """The average over the disk, edges of the image mirrored."""
        radius, edge = strength
        return _filtered(x, _disk(radius * scale, edge * scale), "reflect")


@dataclass(frozen=True, kw_only=True)
class MotionBlur(Corruption):
    """Movement in a direction within 45° of the horizontal, drawn for each image.

    strength: how far the blur reaches (the radius), and the deviation of its weights, in pixels.
    """

    kind: ClassVar[str] = "motion_blur"
    small: ClassVar[Sequence[Any]] = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))
    large: ClassVar[Sequence[Any]] = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """As ImageMagick's `MotionBlurImage`: a one-sided Gaussian along the direction, edges repeated."""
        radius, sigma = strength
        half = _gaussian(2 * math.ceil(radius * scale), sigma * scale)
        weights = half[len(half) // 2 :]
        weights = weights / weights.sum()
        angles = math.pi / 180 * (90 * self.draw(indices, lambda source: torch.rand((), generator=source)) - 45)
        down, right = angles.sin(), angles.cos()
        return sum(
            (weight * _shifted(x, (step * down - 0.5).ceil().long(), (step * right - 0.5).ceil().long())
             for step, weight in enumerate(weights)), torch.zeros_like(x),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ZoomBlur(Corruption):
    """A camera that moves towards the scene; strength: the end and the step of its zoom factors, from 1 on."""

    kind: ClassVar[str] = "zoom_blur"
    small: ClassVar[Sequence[Any]] = ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01))
    large: ClassVar[Sequence[Any]] = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """The average of the image and of all its enlargements."""
        factors = np.arange(1, *strength)
        return sum((_zoomed(x, factor) for factor in factors), x) / (len(factors) + 1)


def _gaussian(radius: int, sigma: float) -> "Float[Tensor, ' width']":
    """Weights of the numbers -radius to radius, with sum 1."""
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma).square())
    return weights / weights.sum()


def _disk(radius: float, edge: float) -> "Float[Tensor, 'width width']":
    """A disk with sum 1, smoothed by a Gaussian of 3 pixels width, or 5 where its radius is above 8."""
    half = 8 if radius <= 8 else math.ceil(radius)
    numbers = torch.arange(-half, half + 1)
    inside = (numbers.square()[:, None] + numbers.square() <= radius**2).float()
    reach = 1 if radius <= 8 else 2
    smooth = _gaussian(reach, edge)
    disk = _filtered((inside / inside.sum())[None, None], torch.outer(smooth, smooth), "reflect")[0, 0]
    empty = max(0, half - math.floor(radius) - reach)  # rows and columns of zeros around it
    return disk[empty : len(disk) - empty, empty : len(disk) - empty]


def _filtered(x: Tensor, kernel: "Float[Tensor, 'rows columns']", edges: str) -> Tensor:
    """Each channel's correlation with the kernel; edges: how `F.pad` continues the image."""
    rows, columns = (length // 2 for length in kernel.shape)
    padded = F.pad(x, (columns, columns, rows, rows), mode=edges)
    channels = x.shape[1]
    return F.conv2d(padded, kernel.expand(channels, 1, *kernel.shape), groups=channels)


def _shifted(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Each image's pixels from so many rows below and columns to the right; edges are repeated."""
    height, width = x.shape[-2:]
    rows = (torch.arange(height) + down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width) + right[:, None]).clamp(0, width - 1)
    images = torch.arange(len(x))
    return x[images[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _zoomed(x: Tensor, factor: float) -> Tensor:
    """The middle of images enlarged to their size, bilinear, as `scipy.ndimage.zoom` of order 1."""
    size = x.shape[-1]
    kept = math.ceil(size / factor)
    start = (size - kept) // 2
    middle = x[..., start : start + kept, start : start + kept]
    enlarged = F.interpolate(middle, size=round(kept * factor), mode="bilinear", align_corners=True)
    start = (enlarged.shape[-1] - size) // 2
    return enlarged[..., start : start + size, start : start + size]
