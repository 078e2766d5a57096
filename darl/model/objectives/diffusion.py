"""Diffusion: next-patch prediction by denoising (DARL, section 3; equations in `next_patch`)."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from darl.aspects import Aspect, changes
from darl.model.encoder_config import TrunkConfig
from darl.model.noise import Corruption, Noise
from darl.model.objectives.base import Draw, Draws
from darl.model.objectives.next_patch import NextPatch, PatchDecoder
from darl.model.objectives.prefix import counted, squared_error
from darl.model.pair_blocks import PairBlocks, pair_block_flops
from darl.model.sampling import Sampling, denoising_draw, levels
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Diffusion", "DiffusionDecoder"]

STEPS = 32
"""Denoising steps per patch where nothing is said."""

GUESSABLE = 256
"""Pixel values of a patch from which a decoder can tell how noisy it is: see `Diffusion`."""


@dataclass(frozen=True, kw_only=True)
class Diffusion(NextPatch):
    """The diffusion objective: denoise each patch, given the trunk's output for it (the context).

    decoder_depth: Transformer blocks of the denoising decoder, at least 1. gamma_conditioning: the decoder reads gamma.
    prediction: `x0` (the clean patch, as in the paper) or `eps` (the noise, for ablations).

    The paper's decoder is not told gamma, which suits representations. To draw, it must then tell the noise by looking,
    and P values tell a variance to sqrt(2 / P) of it: 0.7 for 4, 0.09 for 256. Where it cannot, it takes a nearly clean
    patch for a noisy one and pulls it to the mean at every step. So the criterion is whether draws become more alike
    with more steps. Measured on the digits (uniform gamma, a nano model; at 32 pixels enlarged), the deviation of a
    pixel over 100 drawn images, of real ones 0.60, with 1, 8, 32 and 100 steps:

        P = 4     told 0.29 0.53 0.57 0.57    not told 0.31 0.26 0.07 0.03
        P = 64    told 0.43 0.38 0.41 0.37    not told 0.53 0.33 0.33 0.24
        P = 256                               not told 0.35 0.51 0.61 0.63

    (P = 4: 150 and 40 epochs; the others: 30.) Hence a decoder that is not told gamma draws in one step where P is
    below `GUESSABLE`, and refuses more. Nothing was measured between 64 and 256, nor on natural images.
    """

    kind: ClassVar[str] = "diffusion"
    takes_prefix: ClassVar[bool] = True
    uses_noise: ClassVar[bool] = True
    decoder_depth: int = changes(Aspect.LOSS, default=1)
    gamma_conditioning: bool = changes(Aspect.LOSS, default=False)
    prediction: str = changes(Aspect.LOSS, default="x0")

    def __post_init__(self) -> None:
        require(self.decoder_depth >= 1, "objective.decoder_depth", "be at least 1", self.decoder_depth)
        require(self.prediction in ("x0", "eps"), "objective.prediction", "be x0 or eps", self.prediction)

    def check(self, config: TrunkConfig) -> None:
        super().check(config)
        even = config.size.width % 2 == 0 or not self.gamma_conditioning
        require(even, "model.width", "be even for objective.gamma_conditioning", config.size.width)

    def build(self, config: TrunkConfig) -> PatchDecoder:
        return self.complete(lambda: DiffusionDecoder(self, config), config)

    def draws(self, config: TrunkConfig, noise: Noise | None) -> dict[str, Draw]:
        """For each patch a signal fraction, `gamma` (B, N), and standard normal `noise` (B, N, P); the prefix."""
        assert noise is not None

        def gamma(count: int, generator: torch.Generator) -> Tensor:
            return noise.sample((count, config.patches), generator)

        def normal(count: int, generator: torch.Generator) -> Tensor:
            shape = (count, config.patches, config.patch_dim)
            return torch.randn(shape, generator=generator, device=generator.device)

        return {**super().draws(config, noise), "gamma": gamma, "noise": normal}

    @property
    def takes_adaptive_noise(self) -> bool:
        """Where the loss is that of clean patches."""
        return self.prediction == "x0"

    def estimation_errors(self, patches: Tensor, prediction: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        errors, counts = self.patch_errors(patches, prediction), counted(draws, patches.shape[1])
        errors = errors if counts is None else errors.masked_fill(~counts, math.nan)
        return draws["gamma"].flatten(), errors.flatten()

    def knows_gamma(self, config: TrunkConfig) -> bool:
        """Whether the decoder is told gamma, or can tell it by looking at a patch."""
        return self.gamma_conditioning or config.patch_dim >= GUESSABLE

    def check_drawing(self, config: TrunkConfig, how: Sampling) -> None:
        """See `NextPatch.check_drawing`; also where the decoder cannot know gamma but would have to."""
        super().check_drawing(config, how)
        predicts_noise = self.prediction == "eps"
        allowed = self.knows_gamma(config) or (how.steps in (None, 1) and not predicts_noise)
        remedy = f"be true (in pretraining) to draw patches of {config.patch_dim} numbers"
        remedy += "" if predicts_noise else " in more than one step (or set steps to 1)"
        require(allowed, "objective.gamma_conditioning", remedy, False)

    def patch_flops(self, config: TrunkConfig) -> float:
        """2WP to embed, 2WP for the head, `pair_block_flops` for each block, and 4W² for gamma-conditioning."""
        width, blocks = config.size.width, self.decoder_depth * pair_block_flops(config.size)
        return 4 * width * config.patch_dim + blocks + 4 * width**2 * self.gamma_conditioning


class DiffusionDecoder(PatchDecoder):
    """The denoising patch decoder: Transformer blocks over the pair [context z_t, embedded noisy patch]."""

    per_patch: ClassVar[tuple[str, ...]] = ("gamma", "noise")

    def __init__(self, config: Diffusion, trunk: TrunkConfig):
        super().__init__(trunk)
        width = trunk.size.width
        self.knows_gamma = config.knows_gamma(trunk)
        self.predicts_noise = config.prediction == "eps"
        self.embed = nn.Linear(trunk.patch_dim, width)
        self.embed_gamma = GammaEmbedding(width) if config.gamma_conditioning else None
        self.blocks = PairBlocks(trunk.size, config.decoder_depth)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, trunk.patch_dim)

    def prepare(self, context: Tensor) -> list[tuple[Tensor, Tensor]]:
        return self.blocks.prepare(context)

    def denoise(self, prepared: object, noisy: Tensor, gamma: Tensor) -> Tensor:
        return self._clean(self._decode(prepared, noisy, gamma), noisy, gamma)

    def loss(self, context: Tensor, clean: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        corruption = Corruption(draws["gamma"], draws["noise"])
        noisy = corruption.apply(clean)
        output = self._decode(self.prepare(context), noisy, corruption.gamma)
        target = corruption.noise if self.predicts_noise else clean
        return squared_error(output, target, draws), self._clean(output, noisy, corruption.gamma)

    def sample(self, context: Tensor, how: Sampling, generator: torch.Generator) -> Tensor:
        """See `denoising_draw`; without a number of steps 32, or 1 where gamma is not known.

        Predicted noise says nothing of the patch at gamma = 0: then the first level is 0.001.
        """
        times = 2 if how.guided else 1
        shape = (len(context) // times, context.shape[1], self.head.out_features)
        prepared = self.prepare(context)

        def normal() -> Tensor:
            return torch.randn(shape, generator=generator, device=context.device, dtype=context.dtype)

        def estimate(noisy: Tensor, gamma: float) -> Tensor:
            noisy = noisy.repeat(times, 1, 1)
            return how.guide(self.denoise(prepared, noisy, torch.full_like(noisy[..., 0], gamma)))

        steps = how.steps or (STEPS if self.knows_gamma else 1)
        return denoising_draw(estimate, normal, levels(steps, 0.001 * self.predicts_noise), how)

    def _decode(self, prepared: object, noisy: Tensor, gamma: Tensor) -> Tensor:
        x = self.embed(noisy)
        if self.embed_gamma is not None:
            x = x + self.embed_gamma(gamma)
        x = self.blocks(x, prepared)
        return self.head(self.norm(x)).to(noisy.dtype)

    def _clean(self, output: Tensor, noisy: Tensor, gamma: Tensor) -> Tensor:
        """The clean patch from the output; from predicted noise it is (y - sqrt(1 - gamma) eps) / sqrt(gamma).

        The divisor is at least 1e-3: as gamma goes to 0 the error of noise prediction is large, but stays finite.
        """
        if not self.predicts_noise:
            return output
        gamma = gamma.unsqueeze(-1)
        return (noisy - (1 - gamma).sqrt() * output) / gamma.sqrt().clamp(min=1e-3)


class GammaEmbedding(nn.Module):
    """Sines and cosines of 1000 gamma through a small MLP: DiT's timestep embedding (Peebles & Xie 2023)."""

    def __init__(self, width: int):
        super().__init__()
        from timm.layers import Mlp  # here, since configs import this module and are built without timm

        self.pairs = width // 2
        self.mlp = Mlp(2 * self.pairs, width, act_layer=nn.SiLU)

    def forward(self, gamma: "Float[Tensor, 'batch patches']") -> "Float[Tensor, 'batch patches width']":
        rate = torch.exp(torch.arange(self.pairs, device=gamma.device) * (-math.log(10_000.0) / self.pairs))
        angle = 1000 * gamma.unsqueeze(-1) * rate
        return self.mlp(torch.cat([angle.sin(), angle.cos()], dim=-1).to(self.mlp.fc1.weight.dtype))
