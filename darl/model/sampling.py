"""Patch-by-patch sampling: each patch is drawn given those before it, with a cache of their keys and values.

A patch is drawn by denoising, from y ~ N(0, I) at signal fraction gamma = 0 to the clean patch at gamma = 1. Let m be
the decoder's estimate of the clean patch from y at gamma, and e = (y - sqrt(gamma) m) / sqrt(1 - gamma) the noise in y:

    y' = sqrt(gamma') m + sqrt(1 - gamma' - s²) e + T s noise          (DDIM, Song et al. 2021, eq. 12)

is the patch at the next level gamma'. The deviation s is the sampler's choice, T is the temperature. At gamma' = 1 it
is m. Where m is the exact posterior mean, draws have the data's distribution in the limit of many steps, whatever s is.
"""

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from darl.model.trunk import Trunk
from darl.variants import Variant, require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Ancestral", "Ddim", "PatchSampler", "Sampling", "denoising_draw", "levels", "sample_patches"]


@dataclass(frozen=True, kw_only=True)
class PatchSampler(Variant):
    """How much fresh noise each denoising step draws."""

    family: ClassVar[str] = "patch_sampler"

    @abstractmethod
    def deviation(self, gamma: float, after: float) -> float:
        """s of the step from `gamma` to `after`, 0 <= gamma < after <= 1; s² is at most 1 - after."""


@dataclass(frozen=True, kw_only=True)
class Ancestral(PatchSampler):
    """DDPM's ancestral sampler: the posterior's deviation for a clean patch that is known (Ho et al. 2020, eq. 7)."""

    kind: ClassVar[str] = "ancestral"

    def deviation(self, gamma: float, after: float) -> float:
        """sqrt((1 - gamma / gamma') (1 - gamma') / (1 - gamma)); with gamma 0 nothing is kept of the noise before."""
        return math.sqrt((1 - gamma / after) * (1 - after) / (1 - gamma))


@dataclass(frozen=True, kw_only=True)
class Ddim(PatchSampler):
    """DDIM (Song et al. 2021): no noise but the first, so that a draw is a function of it.

    eta: the ancestral sampler's deviation is taken times this, in [0, 1].
    """

    kind: ClassVar[str] = "ddim"
    eta: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= self.eta <= 1, "patch_sampler.eta", "be in [0, 1]", self.eta)

    def deviation(self, gamma: float, after: float) -> float:
        """`eta` times the ancestral sampler's."""
        return self.eta * Ancestral().deviation(gamma, after)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How patches are drawn. Objectives that do not denoise have no use for it."""

    steps: int | None = None
    """Denoising steps per patch, at least 1; None for as many as suit the model."""
    sampler: PatchSampler = Ancestral()
    """The steps' noise."""
    temperature: float = 1.0
    """All noise is drawn times this, 0 or more: less for draws that are more alike, 0 for one draw."""
    labels: tuple[int, ...] | None = None
    """The class of each image, for a model that is conditioned on labels; None to draw without."""
    guidance: float = 1.0
    """Classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598): estimates are moved this many times from those
    without label to those with it. 1: the latter; above 1 the class shows more, and images differ less."""

    def __post_init__(self) -> None:
        require(self.steps is None or self.steps >= 1, "steps", "be at least 1", self.steps)
        fits = 0 <= self.temperature < math.inf
        require(fits, "temperature", "be a finite number, 0 or more", self.temperature)
        fits = 0 <= self.guidance < math.inf
        require(fits, "guidance", "be a finite number, 0 or more", self.guidance)
        fits = self.guidance == 1 or self.labels is not None
        require(fits, "guidance", "come with labels to guide to", self.guidance)

    @property
    def guided(self) -> bool:
        """Whether estimates without label are needed, too."""
        return self.guidance != 1

    def guide(self, both: Tensor) -> Tensor:
        """(B, …) from (2B, …) where guided: rows with label, then the same without."""
        if not self.guided:
            return both
        labelled, free = both.chunk(2)
        return free + self.guidance * (labelled - free)


def levels(steps: int, first: float = 0.0) -> list[float]:
    """The signal fractions of `steps` denoising steps: `steps` + 1 of them, from `first` to 1.

    With first = 0, gamma = 1 - cos⁴(pi/2 · s / steps). The last step takes the posterior mean for a draw, so the last
    but one level must leave less noise than there is spread to draw. Measured with exact posterior means, as the part
    of a Gaussian's deviation 0.1 that draws have, ancestral and DDIM: 0.60 and 0.72 with 8 steps, 0.84 and 0.92 with
    32, 0.97 and 0.99 with 250. With Nichol & Dhariwal's cos² it is 0.42 and 0.43, 0.74 and 0.82, 0.95 and 0.98.
    """
    rising = [1 - math.cos(math.pi / 2 * step / steps) ** 4 for step in range(steps)]
    return [*(first + (1 - first) * gamma for gamma in rising), 1.0]


def denoising_draw(
    estimate: Callable[[Tensor, float], Tensor], normal: Callable[[], Tensor], gammas: Sequence[float], how: Sampling
) -> Tensor:
    """A draw by denoising, of the shape that `normal` gives.

    Args:
        estimate: the clean patch from a noisy one and its signal fraction.
        normal: draws standard normal noise.
        gammas: rising signal fractions, the last one 1, as of `levels`; their number decides, not `how.steps`.
        how: sampler and temperature.

    """
    y = how.temperature * normal()
    for gamma, after in itertools.pairwise(gammas):
        clean = estimate(y, gamma)
        noise = (y - gamma**0.5 * clean) / (1 - gamma) ** 0.5
        deviation = how.sampler.deviation(gamma, after)
        y = after**0.5 * clean + max(0.0, 1 - after - deviation**2) ** 0.5 * noise
        if deviation > 0:
            y = y + how.temperature * deviation * normal()
    return y


def sample_patches(
    encoder: Trunk,
    draw: Callable[[Tensor], Tensor],
    prefix: "Float[Tensor, 'batch given patch_dim']",
    patches: int,
    condition: Tensor | None = None,
) -> "Float[Tensor, 'batch patches patch_dim']":
    """Patches (B, `patches`, P) in the order of prediction: `prefix` (B, k, P), then sampled ones.

    draw: samples a patch (B, 1, P) given the trunk's output (B, 1, W). B batch, P pixel values of a patch, W width.
    condition: (B, W) for the start token; with (mB, W), each image is read m times, and `draw` is given (mB, 1, W).
    """
    given, cache = prefix.shape[1], encoder.new_cache()
    drawn, times = list(prefix.unbind(1)), 1 if condition is None else len(condition) // len(prefix)
    for index in range(patches):
        last = drawn[index - 1].repeat(times, 1) if index else None
        context = encoder.next_output(last, index, times * len(prefix), cache, condition)
        if index >= given:
            drawn.append(draw(context)[:, 0])
    return torch.stack(drawn, dim=1)
