"""Next-patch prediction by denoising."""

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor, nn

from darl.aspects import Aspect, changes
from darl.model.objectives.base import Corruption, Objective, PatchDecoder
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Diffusion", "DiffusionDecoder"]


@dataclass(frozen=True, kw_only=True)
class Diffusion(Objective):
    """Denoise the patch, given the context.

    decoder_depth: Transformer blocks of the denoising decoder, at least 1. gamma_conditioning: tell the decoder gamma.
    prediction: `x0` (the clean patch; the paper's) or `eps` (the noise; to ablate).
    """

    kind: ClassVar[str] = "diffusion"
    uses_noise: ClassVar[bool] = True
    decoder_depth: int = changes(Aspect.LOSS, default=1)
    gamma_conditioning: bool = changes(Aspect.LOSS, default=False)
    prediction: str = changes(Aspect.LOSS, default="x0")

    def __post_init__(self) -> None:
        require(self.decoder_depth >= 1, "objective.decoder_depth", "be at least 1", self.decoder_depth)
        require(self.prediction in ("x0", "eps"), "objective.prediction", "be x0 or eps", self.prediction)

    def build(self, width: int, heads: int, patch_dim: int, mlp_ratio: float) -> "DiffusionDecoder":
        even = width % 2 == 0 or not self.gamma_conditioning
        require(even, "model.width", "be even for objective.gamma_conditioning", width)
        return DiffusionDecoder(self, width, heads, patch_dim, mlp_ratio)

    def flops(self, width: int, patch_dim: int, mlp_ratio: float) -> float:
        """2WP in, 2WP out, and per block 6W² (q, k, v of the noisy patch) + 4W² (k, v of the context) + 2W² + 4rW².

        The attention itself is over two keys and has no matrix product. With gamma-conditioning 4W² more.
        """
        block = (12 + 4 * mlp_ratio) * width**2
        return 4 * width * patch_dim + self.decoder_depth * block + 4 * width**2 * self.gamma_conditioning


class DiffusionDecoder(PatchDecoder):
    """The denoising patch decoder: Transformer blocks over the pair [context z_t, embedded noisy patch].

    Only the noisy patch's output is read, and the context stands still from block to block, so each block computes one
    query (the noisy patch's) over two keys. The context's keys and values do not depend on the noise: once for any
    number of noise levels or sampling steps.
    """

    def __init__(self, config: Diffusion, width: int, heads: int, patch_dim: int, mlp_ratio: float):
        super().__init__()
        self.predicts_noise = config.prediction == "eps"
        self.embed = nn.Linear(patch_dim, width)
        self.embed_gamma = GammaEmbedding(width) if config.gamma_conditioning else None
        self.blocks = nn.ModuleList(PairBlock(width, heads, mlp_ratio) for _ in range(config.decoder_depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, patch_dim)

    def prepare(self, context: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [block.context_key_value(context) for block in self._blocks()]

    def denoise(self, prepared: object, noisy: Tensor, gamma: Tensor) -> Tensor:
        return self._clean(self._decode(prepared, noisy, gamma), noisy, gamma)

    def loss(self, context: Tensor, clean: Tensor, corruption: Corruption | None) -> tuple[Tensor, Tensor]:
        assert corruption is not None
        noisy = corruption.apply(clean)
        output = self._decode(self.prepare(context), noisy, corruption.gamma)
        target = corruption.noise if self.predicts_noise else clean
        return F.mse_loss(output, target), self._clean(output, noisy, corruption.gamma)

    def sample(self, context: Tensor, steps: int, generator: torch.Generator) -> Tensor:
        """DDPM's ancestral sampler (Ho et al. 2020, eq. 7) over `steps` levels, gamma = sin²(pi/2 · s / steps)."""
        shape = (*context.shape[:2], self.head.out_features)

        def normal() -> Tensor:
            return torch.randn(shape, generator=generator, device=context.device, dtype=context.dtype)

        prepared, x = self.prepare(context), normal()
        levels = [math.sin(math.pi / 2 * step / steps) ** 2 for step in range(steps)] + [1.0]
        for now, after in itertools.pairwise(levels):
            clean = self.denoise(prepared, x, torch.full(shape[:2], now, device=x.device, dtype=x.dtype))
            kept = now / after
            mean = after**0.5 * (1 - kept) * clean + kept**0.5 * (1 - after) * x
            x = mean / (1 - now) + ((1 - kept) * (1 - after) / (1 - now)) ** 0.5 * normal()
        return x

    def _blocks(self) -> "list[PairBlock]":
        return list(self.blocks)  # pyright: ignore[reportReturnType]

    def _decode(self, prepared: object, noisy: Tensor, gamma: Tensor) -> Tensor:
        assert isinstance(prepared, list)
        x = self.embed(noisy)
        if self.embed_gamma is not None:
            x = x + self.embed_gamma(gamma)
        for block, (k, v) in zip(self._blocks(), prepared, strict=True):
            x = block(x, k, v)
        return self.head(self.norm(x)).to(noisy.dtype)

    def _clean(self, output: Tensor, noisy: Tensor, gamma: Tensor) -> Tensor:
        """x0 from the output. From noise it is (y - sqrt(1 - gamma) eps) / sqrt(gamma): useless as gamma goes to 0.

        The divisor is kept at 1e-3 or more: a finite, large error there is the truth about noise prediction.
        """
        if not self.predicts_noise:
            return output
        gamma = gamma.unsqueeze(-1)
        return (noisy - (1 - gamma).sqrt() * output) / gamma.sqrt().clamp(min=1e-3)


class PairBlock(nn.Module):
    """A pre-norm Transformer block over a pair, for the second of the two tokens.

    A softmax over two scores is a sigmoid of their difference: attention is v_y + sigmoid(q·(k_z - k_y)) (v_z - v_y).
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def context_key_value(self, context_BNW: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, N, H, D) of the context tokens."""
        width = context_BNW.shape[-1]
        kv = F.linear(self.norm1(context_BNW), self.qkv.weight[width:], self.qkv.bias[width:])
        k_BNHD, v_BNHD = kv.unflatten(-1, (2, self.heads, -1)).unbind(-3)
        return k_BNHD, v_BNHD

    def forward(self, x_BNW: Tensor, context_k_BNHD: Tensor, context_v_BNHD: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x_BNW)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        to_context = torch.sigmoid((q * (context_k_BNHD - k)).sum(-1, keepdim=True) * self.scale)
        attended = torch.lerp(v, context_v_BNHD, to_context.to(v.dtype).expand_as(v))
        x_BNW = x_BNW + self.proj(attended.flatten(-2))
        return x_BNW + self.mlp(self.norm2(x_BNW))


class GammaEmbedding(nn.Module):
    """Sines and cosines of 1000 gamma through a small MLP: DiT's timestep embedding (Peebles & Xie 2023)."""

    def __init__(self, width: int):
        super().__init__()
        self.pairs = width // 2
        self.mlp = Mlp(2 * self.pairs, width, act_layer=nn.SiLU)

    def forward(self, gamma: "Float[Tensor, 'batch patches']") -> "Float[Tensor, 'batch patches width']":
        rate = torch.exp(torch.arange(self.pairs, device=gamma.device) * (-math.log(10_000.0) / self.pairs))
        angle = 1000 * gamma.unsqueeze(-1) * rate
        return self.mlp(torch.cat([angle.sin(), angle.cos()], dim=-1).to(self.mlp.fc1.weight.dtype))
