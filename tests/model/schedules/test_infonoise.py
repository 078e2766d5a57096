"""InfoNoise: the learned density on data with a known answer, against a slow reference, and over workers."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from darl.errors import UserError
from darl.experiment import Experiment
from darl.model.noise import Noise
from darl.model.objectives.diffusion import Diffusion
from darl.model.schedules.infonoise import BINS, LIMIT, MEMORY, InfoNoise, LossProfile, Piecewise
from tests.model.small_models import images, small

EDGES = torch.linspace(-LIMIT, LIMIT, BINS + 1, dtype=torch.float64)
SNR = ((EDGES[1:] + EDGES[:-1]) / 2).exp()


def alone(values: Tensor) -> Tensor:
    """The total of a single worker."""
    return values


def shares(profile: LossProfile) -> Tensor:
    """The probability of each bin."""
    return profile.schedule.below.diff()


def trained(config: InfoNoise, error: Callable[[Tensor, torch.Generator], Tensor], steps: int = 200) -> LossProfile:
    """A schedule that has followed these errors of 1024 patches a step."""
    profile, generator = config.adaptation(), torch.Generator().manual_seed(0)
    for _ in range(steps):
        gamma = profile.schedule.sample((1024,), generator)
        profile.observe(gamma, error(gamma.double(), generator))
        profile.update(alone)
    return profile


def gaussian_error(gamma: Tensor, generator: torch.Generator) -> Tensor:
    """Squared errors of the posterior mean of Gaussian patches of 8 values with deviation 0.5; all drawn."""
    clean, noise = (torch.randn(len(gamma), 8, dtype=torch.float64, generator=generator) for _ in range(2))
    noisy = gamma.sqrt()[:, None] * clean / 2 + (1 - gamma).sqrt()[:, None] * noise
    estimate = (gamma.sqrt() / 4 / (gamma / 4 + 1 - gamma))[:, None] * noisy
    return (estimate - clean / 2).square().mean(1)


@pytest.mark.parametrize("pivot", [0.0, 0.2, 1.0])
def test_the_density_becomes_that_of_the_information_in_gaussian_data(pivot: float) -> None:
    """mmse = v / (1 + v snr) for variance v, so the rate over log snr is v snr / (1 + v snr) / 2, gated."""
    rate = SNR / 4 / (1 + SNR / 4) / (1 + pivot**3 * SNR**1.5)
    expected = 0.05 / BINS + 0.95 * rate / rate.sum()
    learned = shares(trained(InfoNoise(pivot=pivot, warmup=20), gaussian_error))
    assert (learned - expected).abs().sum() / 2 < 0.025  # total variation; that of the start is 0.4 or more
    assert (1 / BINS - expected).abs().sum() / 2 > 0.4


def test_the_density_follows_losses_that_change() -> None:
    """The mean goes back about MEMORY losses: after 11 times as many a share of e^-11 of the first is left."""
    profile, generator = InfoNoise(warmup=1).adaptation(), torch.Generator().manual_seed(0)
    for step in range(300):
        gamma = profile.schedule.sample((1024,), generator)
        profile.observe(gamma, torch.full_like(gamma, 1.0 if step < 10 else 0.01))
        profile.update(alone)
    often = shares(profile) * 1024 * 290 > 11 * MEMORY
    assert often.sum() > BINS / 4
    mean = profile.sums[often] / 2**24 / profile.counts[often]
    torch.testing.assert_close(mean, torch.full_like(mean, 0.01), rtol=0.02, atol=0)


class SlowProfile:
    """The same in plain Python: each loss on its own."""

    def __init__(self, config: InfoNoise):
        self.config, self.steps = config, 0
        self.sums, self.counts = [0.0] * BINS, [0.0] * BINS

    def update(self, gammas: list[float], losses: list[float]) -> None:
        new: dict[int, list[float]] = {}
        for gamma, loss in zip(gammas, losses, strict=True):
            log_snr = math.log(gamma / (1 - gamma)) if 0 < gamma < 1 else math.copysign(math.inf, gamma - 0.5)
            inside = min(max(log_snr, -LIMIT), LIMIT)
            new.setdefault(min(int((inside + LIMIT) / (2 * LIMIT) * BINS), BINS - 1), []).append(loss)
        for place in range(BINS):
            own = new.get(place, [])
            kept = min(self.counts[place], max(MEMORY - len(own), 0))
            if self.counts[place]:
                self.sums[place] *= kept / self.counts[place]
            self.sums[place] += sum(own)
            self.counts[place] = kept + len(own)
        self.steps += 1

    def shares(self) -> list[float]:
        rates = []
        for place in range(BINS):
            sigma = math.exp(-(-LIMIT + 2 * LIMIT * (place + 0.5) / BINS) / 2)
            loss = self.sums[place] / self.counts[place] if self.counts[place] else 0.0
            rates.append(loss / sigma**2 / 2 * sigma**3 / (sigma**3 + self.config.pivot**3))
        if self.steps < self.config.warmup:
            return [1 / BINS] * BINS
        return [self.config.floor / BINS + (1 - self.config.floor) * rate / sum(rates) for rate in rates]


def test_it_agrees_with_the_slow_reference() -> None:
    config = InfoNoise(pivot=0.3, warmup=3, floor=0.1)
    fast, slow, generator = config.adaptation(), SlowProfile(config), torch.Generator().manual_seed(0)
    for _ in range(12):
        gamma = torch.rand(3000, generator=generator)
        gamma[:2] = torch.tensor([0.0, 1.0])
        losses = torch.rand(3000, generator=generator)
        fast.observe(gamma, losses)
        fast.update(alone)
        slow.update(gamma.tolist(), losses.tolist())
        torch.testing.assert_close(shares(fast), torch.tensor(slow.shares()).double(), rtol=1e-4, atol=1e-7)


def test_workers_and_microbatches_give_the_state_of_one_worker_bit_for_bit() -> None:
    gamma, losses = (torch.rand(1000, generator=torch.Generator().manual_seed(seed)) for seed in range(2))
    whole, first, second = (InfoNoise(warmup=1).adaptation() for _ in range(3))
    for _ in range(2):
        whole.observe(gamma, losses)
        for part in (first, second):
            rows = slice(0, 600) if part is first else slice(600, 1000)
            for chunk, own in zip(gamma[rows].flip(0).split(100), losses[rows].flip(0).split(100), strict=True):
                part.observe(chunk, own)
        total = first.pending + second.pending
        before = first.schedule.below.clone()
        assert torch.equal(before, second.schedule.below)  # a step draws all its micro-batches alike
        whole.update(alone)
        for part in (first, second):
            part.update(lambda _, total=total: total.clone())
    for part in (first, second):
        assert all(torch.equal(own, part.state_dict()[name]) for name, own in whole.state_dict().items())


def test_it_starts_uniform_over_log_snr_and_adapts_after_its_warmup() -> None:
    profile = trained(InfoNoise(warmup=5), gaussian_error, steps=4)
    assert torch.equal(shares(profile), shares(InfoNoise().adaptation()))
    profile.observe(torch.rand(1024), torch.rand(1024))
    profile.update(alone)
    assert (shares(profile) - 1 / BINS).abs().sum() > 0.5


def test_a_piecewise_distribution_skips_what_has_no_probability() -> None:
    log_snr, below = torch.tensor([-2.0, 0.0, 1.0, 3.0]).double(), torch.tensor([0.0, 0.5, 0.5, 1.0]).double()
    distribution = Piecewise(log_snr=log_snr, below=below)
    at = distribution.quantile(torch.tensor([0.0, 0.25, 0.75, 1.0]).double()).logit()
    torch.testing.assert_close(at, torch.tensor([-2.0, -1.0, 2.0, 3.0]).double())
    gamma = torch.tensor([-3.0, -1.0, 0.5, 2.0, 4.0]).double().sigmoid()
    slope = distribution.density(gamma) * gamma * (1 - gamma)
    torch.testing.assert_close(slope, torch.tensor([0.0, 0.25, 0.0, 0.25, 0.0]).double())


# In a model


@pytest.mark.parametrize("attention", [None, "prefix"])
def test_a_model_observes_the_errors_of_the_patches_that_count(attention: str | None) -> None:
    model = small(Diffusion(normalize_target=True), noise=InfoNoise(), attention=attention)
    assert isinstance(model.adaptation, LossProfile)
    draws = model.draw(range(2), 0)
    out = model(images(), draws)
    model.observe(images(), draws, out["prediction"])
    patches, _ = model.encoder.patches(images())
    errors = (out["prediction"] - model.objective.targets(patches)).square().mean(2)
    counted = torch.ones(2, 12, dtype=torch.bool)
    if attention is not None:
        for row, prefix in enumerate(draws["prefix"].tolist()):
            counted[row, : prefix - 1] = False
    assert model.adaptation.pending[1].sum() == counted.sum()
    assert model.adaptation.pending[0].sum().item() / 2**24 == pytest.approx(errors[counted].sum().item(), rel=1e-5)


def test_draws_follow_the_learned_schedule_and_the_weights_alone_hold_it() -> None:
    model, other = (small(noise=InfoNoise(warmup=1)) for _ in range(2))
    assert isinstance(model.adaptation, LossProfile)
    model.adaptation.load_state_dict(trained(InfoNoise(), gaussian_error, steps=120).state_dict())
    assert model.draw(range(200), 0)["gamma"].mean() > 0.6 > other.draw(range(200), 0)["gamma"].mean()
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.draw(range(4), 0)["gamma"], other.draw(range(4), 0)["gamma"])


def test_fixed_schedules_add_nothing_to_a_models_weights() -> None:
    assert not any("adaptation" in name for name in small().state_dict())
    assert {name for name in small(noise=InfoNoise()).state_dict() if "adaptation" in name} == {
        f"adaptation.{name}" for name in ("sums", "counts", "steps")
    }


def test_it_is_for_losses_of_clean_patches() -> None:
    noise = Noise.parse("infonoise")
    with pytest.raises(UserError, match=r"^noise must be a fixed schedule for objective diffusion:.*prediction=eps"):
        Experiment(noise=noise, objective=Diffusion(prediction="eps"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("infonoise:pivot=-1", "noise.pivot must be between 0 and 1e+06, got -1.0"),
        ("infonoise:warmup=0", "noise.warmup must be at least 1, got 0"),
        ("infonoise:floor=0", "noise.floor must be above 0 and at most 1, got 0.0"),
    ],
)
def test_invalid_settings_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError) as mistake:
        Noise.parse(text)
    assert str(mistake.value) == message
