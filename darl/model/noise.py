"""Noise schedules: how much of a patch remains visible (DARL, arXiv 2403.05196, section 3).

A schedule is a distribution over the signal fraction gamma in [0, 1] of a noisy patch

    y = sqrt(gamma) x + sqrt(1 - gamma) eps,    eps ~ N(0, I).

The paper draws gamma from Beta(a, b), and finds its best far noisier than the usual diffusion schedules: a near 0.03
with b = 1, so that half of all patches have gamma below 1e-10. The conventional schedules are here for comparison.
A new schedule is one class with a density and a quantile function; `darl.model.schedules` has more.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from darl.aspects import Aspect, changes
from darl.model.torch_internals import standard_gamma
from darl.variants import Variant, require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["PAPER", "Adaptation", "Beta", "Corruption", "Cosine", "Linear", "Noise", "nearest_beta"]


class Corruption(NamedTuple):
    """Signal fractions and noise that turn clean patches into noisy ones."""

    gamma: "Float[Tensor, 'batch patches']"
    """Signal fraction in [0, 1]."""
    noise: "Float[Tensor, 'batch patches patch_dim']"
    """Standard normal."""

    def apply(self, clean: Tensor) -> Tensor:
        """sqrt(gamma) clean + sqrt(1 - gamma) noise."""
        gamma = self.gamma.unsqueeze(-1)
        return gamma.sqrt() * clean + (1 - gamma).sqrt() * self.noise


@dataclass(frozen=True, kw_only=True)
class Noise(Variant):
    """A noise schedule: a distribution of the signal fraction gamma over [0, 1].

    `density` and `quantile` are elementwise, and keep the dtype and device of their argument.
    """

    family: ClassVar[str] = "noise"
    package: ClassVar[str] = "darl.model.schedules"

    @abstractmethod
    def density(self, gamma: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """The probability density at gamma in [0, 1]: 0 outside the support, infinite at an end where it diverges."""

    @abstractmethod
    def quantile(self, probability: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """The gamma in [0, 1] below which a draw lies with this probability: the inverse distribution function."""

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> "Float[Tensor, '*shape']":
        """Independent draws: float32, on the generator's device. By inverse transform unless overridden."""
        return self.quantile(_uniform(shape, generator))

    def mean(self) -> float:
        """The expected gamma."""
        return self.quantile(_midpoints()).mean().item()

    def variance(self) -> float:
        """The variance of gamma."""
        return self.quantile(_midpoints()).var(correction=0).item()

    def adaptation(self) -> "Adaptation | None":
        """The state, as it is before the first step, of a schedule that follows the losses; None for a fixed one."""
        return None


class Adaptation(nn.Module):
    """The state of a schedule that follows the losses of training: a part of the model, and so of its checkpoints."""

    @abstractmethod
    def observe(self, gamma: "Float[Tensor, ' patches']", losses: "Float[Tensor, ' patches']") -> None:
        """Count a micro-batch's mean squared errors of estimated clean patches. The schedule does not change yet.

        A patch whose loss is NaN does not count.
        """

    @abstractmethod
    def update(self, total: Callable[[Tensor], Tensor]) -> None:
        """Adapt the schedule to what was observed since the last step; called once for each step, on every worker.

        total: the sum of a tensor over the workers. Equal totals must give equal states.
        """

    @property
    @abstractmethod
    def schedule(self) -> Noise:
        """What gamma is drawn from now."""


@dataclass(frozen=True, kw_only=True)
class Beta(Noise):
    """gamma ~ Beta(a, b): the smaller a, the more noise; b = 1 gives density a gamma^(a - 1). The paper's schedule.

    a, b: between 1e-6, where gamma is almost always 0 or 1, and 1e6, where it hardly differs from its mean.
    """

    kind: ClassVar[str] = "beta"
    a: float = changes(Aspect.LOSS, default=0.03)
    b: float = changes(Aspect.LOSS, default=1.0)

    def __post_init__(self) -> None:
        for field, value in (("noise.a", self.a), ("noise.b", self.b)):
            require(value > 0, field, "be positive", value)
            require(1e-6 <= value <= 1e6, field, "be between 1e-06 and 1e+06", value)

    def density(self, gamma: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """gamma^(a - 1) (1 - gamma)^(b - 1) / B(a, b), computed in float64."""
        # Imported here: it takes half a second, and configs do without it.
        from scipy import special  # pyright: ignore[reportMissingTypeStubs]

        x = gamma.double()
        log_kernel = torch.xlogy(self.a - 1, x) + torch.xlogy(self.b - 1, 1 - x)
        return torch.exp(log_kernel - special.betaln(self.a, self.b)).to(gamma.dtype)

    def quantile(self, probability: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """The inverse of the regularised incomplete beta function, computed in float64 on the CPU."""
        from scipy import special  # pyright: ignore[reportMissingTypeStubs]

        gamma = special.betaincinv(self.a, self.b, probability.double().cpu().numpy())
        return torch.as_tensor(gamma).to(probability)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> "Float[Tensor, '*shape']":
        """G(a) / (G(a) + G(b)) with gamma variates G, in logarithms: exact 0 and 1 are drawn, NaN never is."""
        return torch.sigmoid(_log_gamma_draw(self.a, shape, generator) - _log_gamma_draw(self.b, shape, generator))

    def mean(self) -> float:
        """a / (a + b)."""
        return self.a / (self.a + self.b)

    def variance(self) -> float:
        """ab / ((a + b)² (a + b + 1))."""
        total = self.a + self.b
        return self.mean() * (self.b / total) / (total + 1)


PAPER = Beta(a=0.03, b=1.0)
"""The schedule that the paper finds best (section 4.3)."""


@dataclass(frozen=True, kw_only=True)
class Linear(Noise):
    """DDPM's linear schedule (Ho et al. 2020: 1000 steps, beta from 1e-4 to 0.02) at a uniformly random time.

    In continuous time t in [0, 1] (Song et al. 2021, variance-preserving), where everything has a closed form: gamma =
    exp(-∫₀ᵗ beta) with beta(t) = 0.1 + 19.9 t, the steps' betas times their number. DDPM's product of 1000 factors
    differs from it by less than 0.001.
    """

    kind: ClassVar[str] = "linear"
    first: ClassVar[float] = 1000 * 1e-4
    last: ClassVar[float] = 1000 * 0.02

    def density(self, gamma: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """-dt / dgamma = 1 / (gamma beta(t)) from gamma(1) = exp(-10.05) to 1, and 0 below."""
        beta = (self.first**2 - 2 * (self.last - self.first) * gamma.log()).sqrt()
        return torch.where(gamma < math.exp(-(self.first + self.last) / 2), 0.0, 1 / (gamma * beta))

    def quantile(self, probability: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """gamma at time t = 1 - probability, since gamma falls with time."""
        time = 1 - probability
        return torch.exp(-time * (self.first + (self.last - self.first) / 2 * time))


@dataclass(frozen=True, kw_only=True)
class Cosine(Noise):
    """The cosine schedule (Nichol & Dhariwal 2021) at a uniformly random time: gamma = cos²(pi/2 · t).

    Without their offset s = 0.008: it keeps the first of T discrete steps from being too small, and there are no steps
    here. So this is Beta(1/2, 1/2), the arcsine distribution.
    """

    kind: ClassVar[str] = "cosine"

    def density(self, gamma: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """1 / (pi sqrt(gamma (1 - gamma)))."""
        return 1 / (math.pi * (gamma * (1 - gamma)).sqrt())

    def quantile(self, probability: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """gamma at time t = 1 - probability: sin²(pi/2 · probability)."""
        return torch.sin(math.pi / 2 * probability) ** 2


def nearest_beta(schedule: Noise) -> Beta:
    """The Beta with `schedule`'s mean and variance, used as a search's starting point."""
    mean, variance = schedule.mean(), schedule.variance()
    total = mean * (1 - mean) / variance - 1
    return Beta(a=mean * total, b=(1 - mean) * total)


def _log_gamma_draw(concentration: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """The logarithm of a gamma variate: log G(c) = log G(c + 1) + log(U) / c (Marsaglia & Tsang 2000, section 6).

    At c = 0.03 one draw of G(c) in fourteen is too small for float32; its logarithm is not.
    """
    concentrations = torch.full(shape, concentration + 1, dtype=torch.float32, device=generator.device)
    return standard_gamma(concentrations, generator).log() + torch.log1p(-_uniform(shape, generator)) / concentration


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform over [0, 1), float32."""
    return torch.rand(shape, generator=generator, dtype=torch.float32, device=generator.device)


def _midpoints(intervals: int = 2**16) -> Tensor:
    """The midpoints of equal intervals of [0, 1]: a mean over them is off by at most 1 / (2 · intervals)."""
    return (torch.arange(intervals, dtype=torch.float64) + 0.5) / intervals
