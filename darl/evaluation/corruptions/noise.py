"""Noise of sensors and transmission."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from darl.evaluation.corruptions.base import Corruption

__all__ = ["GaussianNoise", "ImpulseNoise", "ShotNoise", "SpeckleNoise"]


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Corruption):
    """Noise of one standard deviation, as of low light."""

    kind: ClassVar[str] = "gaussian_noise"
    small: ClassVar[Sequence[Any]] = (0.04, 0.06, 0.08, 0.09, 0.10)
    large: ClassVar[Sequence[Any]] = (0.08, 0.12, 0.18, 0.26, 0.38)

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """Plus strength × N(0, 1)."""
        return x + strength * self.draw(indices, lambda source: torch.randn(x.shape[1:], generator=source))


@dataclass(frozen=True, kw_only=True)
class ShotNoise(Corruption):
    """Poisson noise: `strength` photons at full brightness."""

    kind: ClassVar[str] = "shot_noise"
    small: ClassVar[Sequence[Any]] = (500, 250, 100, 75, 50)
    large: ClassVar[Sequence[Any]] = (60, 25, 12, 5, 3)

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """The number of photons over the most."""
        photons = iter(strength * x)
        return self.draw(indices, lambda source: torch.poisson(next(photons), generator=source)) / strength


@dataclass(frozen=True, kw_only=True)
class ImpulseNoise(Corruption):
    """Salt and pepper: a share of all values becomes 0 or 1."""

    kind: ClassVar[str] = "impulse_noise"
    small: ClassVar[Sequence[Any]] = (0.01, 0.02, 0.03, 0.05, 0.07)
    large: ClassVar[Sequence[Any]] = (0.03, 0.06, 0.09, 0.17, 0.27)

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """Each channel of a pixel apart, as `skimage.util.random_noise` has it."""
        uniform = self.draw(indices, lambda source: torch.rand((2, *x.shape[1:]), generator=source))
        return torch.where(uniform[:, 0] <= strength, (uniform[:, 1] <= 0.5).float(), x)


@dataclass(frozen=True, kw_only=True)
class SpeckleNoise(Corruption):
    """Noise in proportion to brightness."""

    kind: ClassVar[str] = "speckle_noise"
    small: ClassVar[Sequence[Any]] = (0.06, 0.1, 0.12, 0.16, 0.2)
    large: ClassVar[Sequence[Any]] = (0.15, 0.2, 0.35, 0.45, 0.6)

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Sequence[int]) -> Tensor:
        """Plus x × strength × N(0, 1)."""
        return x + x * strength * self.draw(indices, lambda source: torch.randn(x.shape[1:], generator=source))
