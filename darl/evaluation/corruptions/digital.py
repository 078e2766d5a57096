"""Changes of light and colour, and losses of compression."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from darl.evaluation.corruptions.base import Corruption, as_bytes

__all__ = ["Brightness", "Contrast", "Jpeg", "Pixelate", "Saturate"]

TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Brightness(Corruption):
    """More light: the largest channel grows by `strength`, hue and saturation stay."""

    kind: ClassVar[str] = "brightness"
    small: ClassVar[Sequence[Any]] = (0.05, 0.1, 0.15, 0.2, 0.3)
    large: ClassVar[Sequence[Any]] = (0.1, 0.2, 0.3, 0.4, 0.5)

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """The value of HSV, raised: all channels grow in proportion; black becomes grey."""
        value = x.amax(1, keepdim=True)
        raised = (value + strength).clamp(max=1)
        return torch.where(value > 0, x * raised / value.clamp(min=TINY), raised)


@dataclass(frozen=True, kw_only=True)
class Contrast(Corruption):
    """Less contrast: differences to each channel's mean shrink to `strength` of what they were."""

    kind: ClassVar[str] = "contrast"
    small: ClassVar[Sequence[Any]] = (0.75, 0.5, 0.4, 0.3, 0.15)
    large: ClassVar[Sequence[Any]] = (0.4, 0.3, 0.2, 0.1, 0.05)

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """Towards the mean over the image."""
        mean = x.mean((-2, -1), keepdim=True)
        return (x - mean) * strength + mean


@dataclass(frozen=True, kw_only=True)
class Saturate(Corruption):
    """Paler (severities 1 and 2) or more vivid colours (3 to 5); strength: factor and offset of HSV's saturation."""

    kind: ClassVar[str] = "saturate"
    colour: ClassVar[bool] = True
    small: ClassVar[Sequence[Any]] = ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))
    large: ClassVar[Sequence[Any]] = ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """Channels move away from the largest, in proportion; grey has HSV's hue 0, red, as in the authors' code."""
        factor, offset = strength
        value, least = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
        saturation = (value - least) / value.clamp(min=TINY)
        changed = (factor * saturation + offset).clamp(0, 1)
        from_grey = torch.cat([value, value * (1 - changed), value * (1 - changed)], 1)
        return torch.where(saturation > 0, value - (value - x) * changed / saturation.clamp(min=TINY), from_grey)


@dataclass(frozen=True, kw_only=True)
class Pixelate(Corruption):
    """Fewer pixels: shrunk to `strength` of the size and enlarged again, both with a box filter."""

    kind: ClassVar[str] = "pixelate"
    small: ClassVar[Sequence[Any]] = (0.95, 0.9, 0.85, 0.75, 0.65)
    large: ClassVar[Sequence[Any]] = (0.6, 0.5, 0.4, 0.3, 0.25)

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """By PIL, on whole levels."""
        from PIL import Image

        size = x.shape[-1]
        fewer = max(1, int(size * strength))
        box = Image.Resampling.BOX

        def pixelated(channel: np.ndarray) -> np.ndarray:
            return np.array(Image.fromarray(channel).resize((fewer, fewer), box).resize((size, size), box))

        images = as_bytes(x).numpy().reshape(-1, size, size)
        return torch.from_numpy(np.stack([pixelated(channel) for channel in images])).view(x.shape).float() / 255


@dataclass(frozen=True, kw_only=True)
class Jpeg(Corruption):
    """JPEG compression; strength: its quality."""

    kind: ClassVar[str] = "jpeg"
    small: ClassVar[Sequence[Any]] = (80, 65, 58, 50, 40)
    large: ClassVar[Sequence[Any]] = (25, 18, 15, 10, 7)

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """By PIL: torchvision's encoder is deprecated since 0.29."""
        from PIL import Image

        def compressed(image: np.ndarray) -> np.ndarray:
            file = io.BytesIO()
            levels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
            Image.fromarray(levels).save(file, "JPEG", quality=strength)
            decoded = np.array(Image.open(file))
            return decoded[None] if decoded.ndim == 2 else decoded.transpose(2, 0, 1)

        return torch.from_numpy(np.stack([compressed(image) for image in as_bytes(x).numpy()])).float() / 255
