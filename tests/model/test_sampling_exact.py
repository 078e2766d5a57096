"""The denoising sampler held to known answers: its draws with the exact posterior mean as the decoder.

For a mixture of Gaussians E[x | y] has a closed form at every gamma. So whatever draws lack is the sampler's fault: in
the limit of many steps nothing, with few steps as much as the bounds say.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from darl.errors import UserError
from darl.model.sampling import Ancestral, Ddim, PatchSampler, Sampling, denoising_draw, levels

DRAWS = 10_000
SAMPLERS = [Ancestral(), Ddim()]


@dataclass(frozen=True)
class Mixture:
    """Independent scalars of a mixture of Gaussians."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]

    def posterior_mean(self, y: Tensor, gamma: float) -> Tensor:
        """E[x | y] for y = sqrt(gamma) x + sqrt(1 - gamma) noise: the components' regressions, by their likelihood."""
        weights, means, deviations = (torch.tensor(of).double() for of in (self.weights, self.means, self.deviations))
        variance = gamma * deviations**2 + 1 - gamma
        rest = y.unsqueeze(-1) - math.sqrt(gamma) * means
        likelihood = (weights.log() - variance.log() / 2 - rest**2 / (2 * variance)).softmax(-1)
        return (likelihood * (means + math.sqrt(gamma) * deviations**2 / variance * rest)).sum(-1)

    def drawn(self, how: Sampling, seed: int = 0, first: float = 0.0) -> Tensor:
        """Draws in float64."""
        generator = torch.Generator().manual_seed(seed)

        def normal() -> Tensor:
            return torch.randn(DRAWS, generator=generator, dtype=torch.float64)

        assert how.steps is not None
        return denoising_draw(self.posterior_mean, normal, levels(how.steps, first), how)


TWO_POINTS = Mixture((0.3, 0.7), (-1.0, 1.0), (0.0, 0.0))
TWO_GAUSSIANS = Mixture((0.3, 0.7), (-1.0, 1.0), (0.3, 0.1))
# of Gaussians of deviation 1 and 0.1: the part of it that draws have at least; of two points 0.7: how far off at most
BOUNDS = {
    ("ancestral", 8): (0.74, 0.57, 0.05), ("ancestral", 32): (0.91, 0.82, 0.02),
    ("ancestral", 250): (0.97, 0.95, 0.013),
    ("ddim", 8): (0.81, 0.69, 0.03), ("ddim", 32): (0.94, 0.90, 0.016), ("ddim", 250): (0.98, 0.97, 0.013),
}  # fmt: skip
every_case = pytest.mark.parametrize(
    ("sampler", "steps"), list(itertools.product(SAMPLERS, (8, 32, 250))), ids=lambda value: str(value)
)


@every_case
def test_two_points_are_drawn_in_their_proportions(sampler: PatchSampler, steps: int) -> None:
    x = TWO_POINTS.drawn(Sampling(steps=steps, sampler=sampler))
    assert ((x.abs() - 1).abs() > 1e-3).double().mean() <= 0.001  # hardly any in between
    assert abs((x > 0).double().mean().item() - 0.7) <= BOUNDS[sampler.kind, steps][2]


@every_case
def test_a_gaussian_has_its_moments(sampler: PatchSampler, steps: int) -> None:
    for deviation, least in zip((1.0, 0.1), BOUNDS[sampler.kind, steps][:2], strict=True):
        x = Mixture((1.0,), (0.5,), (deviation,)).drawn(Sampling(steps=steps, sampler=sampler))
        assert x.mean().item() == pytest.approx(0.5, abs=0.04 * deviation)  # four standard errors
        assert least < x.std().item() / deviation < 1.02
        skewness, kurtosis = (((x - x.mean()) / x.std()) ** power for power in (3, 4))
        assert skewness.mean().item() == pytest.approx(0, abs=0.1)
        assert kurtosis.mean().item() == pytest.approx(3, abs=0.2)


@every_case
def test_a_mixture_of_gaussians_has_its_proportions_and_moments(sampler: PatchSampler, steps: int) -> None:
    x = TWO_GAUSSIANS.drawn(Sampling(steps=steps, sampler=sampler))
    allowed = BOUNDS[sampler.kind, steps][2]
    high = x > 0.2
    assert abs(high.double().mean().item() - 0.7) <= allowed + 0.005
    for part, mean, deviation in ((x[~high], -1.0, 0.3), (x[high], 1.0, 0.1)):
        assert part.mean().item() == pytest.approx(mean, abs=0.17 if steps == 8 else 0.06)
        assert part.std().item() == pytest.approx(deviation, rel={8: 0.4, 32: 0.2, 250: 0.08}[steps])


@pytest.mark.parametrize(("gamma", "after"), [(0.0, 0.1), (0.1, 0.3), (0.3, 0.95), (0.9, 1.0)])
def test_an_ancestral_step_is_ddpms(gamma: float, after: float) -> None:
    """Ho et al. 2020, equations 6 and 7, in their own symbols: alpha_bar falls from t - 1 to t."""
    bar, bar_before, y = gamma, after, torch.linspace(-2, 2, 5).double()
    alpha = bar / bar_before
    clean = 0.3 + 0.5 * y
    mean = (
        math.sqrt(bar_before) * (1 - alpha) / (1 - bar) * clean
        + math.sqrt(alpha) * (1 - bar_before) / (1 - bar) * y
    )  # fmt: skip
    deviation = math.sqrt((1 - bar_before) / (1 - bar) * (1 - alpha))
    noise = iter([y, torch.tensor([1.0, -1.0, 0.5, 0.0, 2.0]).double()])
    expected = mean + deviation * torch.tensor([1.0, -1.0, 0.5, 0.0, 2.0]).double()
    result = denoising_draw(lambda y, _: 0.3 + 0.5 * y, lambda: next(noise), [gamma, after], Sampling())
    torch.testing.assert_close(result, expected)


def test_ddim_with_eta_1_is_ancestral_and_with_0_a_function_of_the_first_noise() -> None:
    ancestral, full = (TWO_GAUSSIANS.drawn(Sampling(steps=8, sampler=each)) for each in (Ancestral(), Ddim(eta=1)))
    torch.testing.assert_close(full, ancestral)
    first = torch.linspace(-3, 3, 1000).double()
    noise = iter([first])  # a second draw would fail
    how = Sampling(sampler=Ddim())
    x = denoising_draw(TWO_GAUSSIANS.posterior_mean, lambda: next(noise), levels(32), how)
    assert (x.diff() > 0).all()  # a scalar's transport keeps the order


def test_temperature_scales_the_spread() -> None:
    gaussian = Mixture((1.0,), (0.5,), (1.0,))
    for sampler in SAMPLERS:
        cold, cool, plain = (
            gaussian.drawn(Sampling(steps=32, sampler=sampler, temperature=temperature)) for temperature in (0, 0.5, 1)
        )
        assert cold.std() < 1e-12
        assert cold.mean().item() == pytest.approx(0.5)
        assert (cool.std() / plain.std()).item() == pytest.approx(0.5, abs=1e-9)  # all is linear here


def test_a_first_level_above_0_moves_draws_little() -> None:
    """Where noise is predicted: at gamma = 0 it would say nothing of the patch."""
    x = TWO_POINTS.drawn(Sampling(steps=250), first=0.001)
    assert abs((x > 0).double().mean().item() - 0.7) <= 0.02


@pytest.mark.parametrize("steps", [1, 8, 250])
@pytest.mark.parametrize("first", [0.0, 0.001])
def test_levels_rise_to_1(steps: int, first: float) -> None:
    gammas = levels(steps, first)
    assert (len(gammas), gammas[0], gammas[-1]) == (steps + 1, first, 1.0)
    assert all(low < high for low, high in itertools.pairwise(gammas))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sampling(steps=0), "steps must be at least 1, got 0"),
        (lambda: Sampling(temperature=-1), "temperature must be a finite number, 0 or more, got -1"),
        (lambda: Sampling(temperature=math.nan), "temperature must be a finite number, 0 or more, got nan"),
        (lambda: PatchSampler.parse("ddim:2"), r"patch_sampler.eta must be in \[0, 1\], got 2.0"),
        (lambda: PatchSampler.parse("euler"), "patch_sampler must be one of ancestral, ddim, got 'euler'"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        make()
