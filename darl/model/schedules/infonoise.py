"""InfoNoise: the noise schedule follows the denoising losses during training (Raya et al. 2026, arXiv 2602.18647).

A noisy patch tells the more of the clean one, the higher its signal-to-noise ratio snr = gamma / (1 - gamma). How fast,
the I-MMSE relation says (Guo, Shamai & Verdú 2005): with `mmse` the least mean squared error of an estimate,

    dI / d log snr = snr · mmse(snr) / 2.

Where the noise is weak nothing is left to tell, where it is strong little can be told: noise levels between deserve the
training. So patches are drawn with a density over log snr proportional to that rate, with the mean squared error of
training's own estimates (here: given the patches before) in the place of mmse, times a gate

    sigma³ / (sigma³ + pivot³),    sigma = snr^(-1/2),

which takes weight from weak noise, where snr · mmse does not vanish (it tends to the number of dimensions) and the
model's error is far above the least. The paper divides by the loss's weight at each level; DARL's loss of clean patches
has weight 1.

Of the neighbours: P2's weighting (Choi et al. 2022) is a fixed function of snr; the resampler of Improved DDPM (Nichol
& Dhariwal 2021, section 3.4) draws by the root of the mean squared loss at a timestep and divides the loss by that
probability, which lowers the variance of one and the same objective. InfoNoise changes what is learned, as the choice
of (a, b) does; so it is a schedule.

It is made for drawing images, and does not find what the search for representations finds. On the digits
(`sweeps/noise_schedule.py --adaptive`, three fresh seeds) it came to weak noise, as Beta(1.02, 0.26), where the search
ended at Beta(0.02, 0.07); with 5 labels a class it had 82.9 % ± 1.8, the paper's schedule 84.5 % ± 2.9 and the best
of the search 86.1 % ± 0.4; kNN 97.6, 97.6 and 97.7 %. Three seeds decide nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from darl.aspects import Aspect, changes
from darl.model.noise import Adaptation, Noise
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["BINS", "LIMIT", "MEMORY", "InfoNoise", "LossProfile", "Piecewise"]

BINS = 64
"""Number of bins of log snr."""

LIMIT = 10.0
"""Log snr is drawn between minus and plus this: gamma from 4.5e-5 to 1 - 4.5e-5."""

MEMORY = 512
"""Losses that a bin's mean goes back, in the manner of the paper's buffers."""

_UNIT = 2**24
"""Losses are added as integers, in units of 1 / `_UNIT`: sums do not depend on the order, so neither on workers."""


@dataclass(frozen=True, kw_only=True)
class InfoNoise(Noise):
    """The density of log snr follows snr · loss, gated, while the model trains. It starts uniform over log snr.

    pivot: sigma below which the gate takes weight away, in deviations of the pixels; 0 for no gate. The paper chooses
    it by a rule that depends on the range of sigma, or sets 0.2; here it is set. warmup: optimiser steps before the
    schedule adapts. floor: the share of patches that stay drawn as at the start, so that every level is known.

    `density` and `quantile` are those of the start: the learned ones are the model's (`darl.model.darl.Darl.schedule`).
    """

    kind: ClassVar[str] = "infonoise"
    pivot: float = changes(Aspect.LOSS, default=0.2)
    warmup: int = changes(Aspect.LOSS, default=100)
    floor: float = changes(Aspect.LOSS, default=0.05)

    def __post_init__(self) -> None:
        require(0 <= self.pivot <= 1e6, "noise.pivot", "be between 0 and 1e+06", self.pivot)
        require(self.warmup >= 1, "noise.warmup", "be at least 1", self.warmup)
        require(0 < self.floor <= 1, "noise.floor", "be above 0 and at most 1", self.floor)

    def density(self, gamma: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """Of the start: 1 / (2 LIMIT gamma (1 - gamma)) within the limits."""
        return self.adaptation().schedule.density(gamma)

    def quantile(self, probability: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """Of the start: the sigmoid of LIMIT (2 · probability - 1)."""
        return self.adaptation().schedule.quantile(probability)

    def adaptation(self) -> "LossProfile":
        """The state of the schedule before the first step."""
        return LossProfile(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Piecewise(Noise):
    """A distribution whose cumulative function is piecewise linear in the logit of gamma. No variant: not named.

    log_snr: K + 1 rising logits of gamma; below: (K + 1), the probability of at most each, from 0 to 1; both float64.
    """

    log_snr: Tensor
    below: Tensor

    def density(self, gamma: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """The slope of the cumulative function, by d log snr = d gamma / (gamma (1 - gamma))."""
        x = gamma.double()
        log_snr, knots = x.logit(), self.log_snr.to(x.device)
        slopes = (self.below.diff() / self.log_snr.diff()).to(x.device)
        piece = (torch.searchsorted(knots, log_snr, right=True) - 1).clamp(0, len(slopes) - 1)
        inside = (log_snr >= knots[0]) & (log_snr <= knots[-1])
        return torch.where(inside, slopes[piece] / (x * (1 - x)).clamp(min=1e-300), 0.0).to(gamma.dtype)

    def quantile(self, probability: "Float[Tensor, '*shape']") -> "Float[Tensor, '*shape']":
        """By linear interpolation, which has no division by an empty piece's probability."""
        p = probability.double()
        below, knots = self.below.to(p.device), self.log_snr.to(p.device)
        piece = (torch.searchsorted(below, p.contiguous(), right=True) - 1).clamp(0, len(below) - 2)
        share = ((p - below[piece]) / (below[piece + 1] - below[piece]).clamp(min=1e-300)).clamp(0, 1)
        return torch.sigmoid(torch.lerp(knots[piece], knots[piece + 1], share)).to(probability.dtype)


class LossProfile(Adaptation):
    """InfoNoise's state: mean losses by bins of log snr.

    All buffers are integers: they are in the checkpoint, and a moving average of the weights copies them as they are.
    """

    sums: Tensor
    """(bins) Sums of losses, in units of 1 / `_UNIT`."""
    counts: Tensor
    """(bins) Their numbers, at most about `MEMORY` each."""
    steps: Tensor
    """() Optimiser steps so far."""
    pending: Tensor
    """(2, bins) Sums and numbers of the losses of this worker since the last step."""

    def __init__(self, config: InfoNoise):
        super().__init__()
        self.config = config
        for name, shape in (("sums", (BINS,)), ("counts", (BINS,)), ("steps", ())):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("pending", torch.zeros((2, BINS), dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def observe(self, gamma: Tensor, losses: Tensor) -> None:
        """See `Adaptation.observe`."""
        place = (gamma.double().logit() + LIMIT) * (BINS / (2 * LIMIT))
        bins = place.nan_to_num(0.0).clamp(0, BINS - 1).long().flatten()
        units = (losses.double().nan_to_num(0.0).clamp(0, 2**14) * _UNIT).round().long().flatten()
        counts = (~losses.isnan()).long().flatten()  # not by selection, which would wait for a GPU
        self.pending[0].index_add_(0, bins, units)
        self.pending[1].index_add_(0, bins, counts)

    @torch.no_grad()
    def update(self, total: Callable[[Tensor], Tensor]) -> None:
        """See `Adaptation.update`. Each bin keeps as many older losses as fill its memory."""
        sums, counts = total(self.pending)
        kept = torch.minimum(self.counts, (MEMORY - counts).clamp(min=0))
        share = kept.double() / self.counts.clamp(min=1)
        self.sums.copy_((self.sums * share).round().long() + sums)
        self.counts.copy_(kept + counts)
        self.steps += 1
        self.pending.zero_()

    @property
    def schedule(self) -> Piecewise:
        """See `Adaptation.schedule`. Nothing waits for a GPU."""
        edges = torch.linspace(-LIMIT, LIMIT, BINS + 1, dtype=torch.float64, device=self.sums.device)
        floor, uniform = self.config.floor, torch.full_like(edges[1:], 1 / BINS)
        rates = self.rates(torch.exp((edges[:-1] + edges[1:]) / 2))
        learned = floor * uniform + (1 - floor) * rates / rates.sum().clamp(min=1e-300)
        adapts = (self.steps >= self.config.warmup) & (rates.sum() > 0)
        shares = torch.where(adapts, learned, uniform)
        below = shares @ torch.ones(BINS, BINS, dtype=shares.dtype, device=shares.device).triu()
        return Piecewise(log_snr=edges, below=torch.cat([torch.zeros_like(below[:1]), below / below[-1]]))

    def rates(self, snr: Tensor) -> Tensor:
        """(bins) The gated rate of information at the bins' middles, where a loss is known; else 0."""
        losses = self.sums.double() / _UNIT / self.counts.clamp(min=1)
        return snr * losses / 2 / (1 + (self.config.pivot**2 * snr) ** 1.5)
