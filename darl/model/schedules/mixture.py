"""A mixture of two Beta schedules: most patches from the first, a share of them from the second."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from darl.aspects import Aspect, changes
from darl.model.noise import Beta, Noise
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Mixture"]

HALVINGS = 60
"""Steps of the bisection that inverts the cumulative function: an interval of log snr shrinks by 1e18."""


@dataclass(frozen=True, kw_only=True)
class Mixture(Noise):
    """gamma ~ Beta(a, b), and for a `share` of the patches ~ Beta(second_a, second_b); each patch by chance.

    A model that is trained with nearly pure noise never learns to remove the last of it, so it cannot draw; one that is
    trained with every level alike learns worse features. A share of patches from a second schedule teaches the decoder
    the levels that drawing passes through.

    Digits by `--recipe quick` with gamma-conditioning, seeds 0 and 1, uniform seed 0; Fréchet distance, precision and
    recall are protocol `generation`'s, for other real images 0.6, 96 and 92 %:

                       linear probe    5 labels a class    Fréchet      precision    recall
        paper          98.1, 98.3      85.1, 84.8          18.4, 26.7   66, 27       2, 16
        mixture        98.6, 98.3      85.6, 85.0          6.1, 6.2     81, 74       83, 88
        uniform        98.3            85.2                1.7          73           89

    So the probe loses nothing that could be seen, and drawings gain. Two seeds decide nothing about the probe.
    """

    kind: ClassVar[str] = "mixture"
    share: float = changes(Aspect.LOSS, default=0.25)
    a: float = changes(Aspect.LOSS, default=0.03)
    b: float = changes(Aspect.LOSS, default=1.0)
    second_a: float = changes(Aspect.LOSS, default=1.0)
    second_b: float = changes(Aspect.LOSS, default=1.0)

    def __post_init__(self) -> None:
        require(0 <= self.share <= 1, "noise.share", "be in [0, 1]", self.share)
        for name in ("a", "b", "second_a", "second_b"):
            value = getattr(self, name)
            require(1e-6 <= value <= 1e6, f"noise.{name}", "be between 1e-06 and 1e+06", value)

    @property
    def parts(self) -> tuple[Beta, Beta]:
        """The two schedules."""
        return Beta(a=self.a, b=self.b), Beta(a=self.second_a, b=self.second_b)

    def density(self, gamma: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """The densities, weighted."""
        first, second = (part.density(gamma) for part in self.parts)
        return self._mix(first, second)

    def quantile(self, probability: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """By bisection over the logit of gamma, between the two schedules' quantiles, on the CPU in float64."""
        from scipy import special  # pyright: ignore[reportMissingTypeStubs]

        p = probability.double().cpu()
        bounds = torch.stack([part.quantile(p) for part in self.parts])
        ends = bounds.clamp(torch.finfo(torch.float64).tiny, 1 - 2**-53).logit()
        low, high = ends.amin(0), ends.amax(0)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            gamma = middle.sigmoid().numpy()
            below = self._mix(*(torch.as_tensor(special.betainc(part.a, part.b, gamma)) for part in self.parts)) < p
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        gamma = torch.where(bounds[0] == bounds[1], bounds[0], high.sigmoid())
        return gamma.to(probability)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> "Float[Tensor, '*shape']":
        """For each patch a draw of both schedules, one of which is taken."""
        chosen = torch.rand(shape, generator=generator, dtype=torch.float32, device=generator.device) < self.share
        first, second = (part.sample(shape, generator) for part in self.parts)
        return torch.where(chosen, second, first)

    def mean(self) -> float:
        """The means, weighted."""
        first, second = (part.mean() for part in self.parts)
        return (1 - self.share) * first + self.share * second

    def variance(self) -> float:
        """The second moments, weighted, less the mean squared."""
        first, second = (part.variance() + part.mean() ** 2 for part in self.parts)
        return (1 - self.share) * first + self.share * second - self.mean() ** 2

    def _mix(self, first: Tensor, second: Tensor) -> Tensor:
        """Densities at an end where only a schedule without share is infinite stay finite."""
        if self.share in (0, 1):
            return first if self.share == 0 else second
        return (1 - self.share) * first + self.share * second
