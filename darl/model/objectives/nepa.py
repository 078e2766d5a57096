"""NEPA: predict the next patch's embedding (Xu et al. 2025, arXiv 2512.16922).

    embed      e_t = W x_t + b, the encoder's own linear patch embedding
    read       [start, e_1 … e_{N-1}]   patches in the order of prediction, shifted by the start token, the last dropped
    trunk      z_t = Transformer(e_{<t})
    loss       -cos(z_t, stop_gradient(e_t)), mean over the patches; it lies in [-1, 1]

There is no decoder: the trunk's normed output is the prediction. Two parts keep it from a trivial solution, and the
tests see both fail: without the shift the trunk copies its input, without the stopped gradient all patches get the same
embedding; the loss goes to -1 either way. The embedding learns through what the trunk reads alone.

As in the authors' code (`prediction_loss`, https://github.com/SihanXU/nepa), both vectors are normalised to length 1.
Unlike there, the target never holds an additive position: it is known beforehand, so predicting it teaches nothing.
With the authors' rotary positions there is none. Their blocks have QK-norm, LayerScale and SwiGLU, too.

On digits (settings and figures as in `darl.model.encoder_config.EncoderConfig`, whose default is diffusion) it had
97.7 % (+0.6, +0.3, -0.9) by linear probe and 84.5 % (-1.0, +1.6, -0.6) with 5 labels a class.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from darl.model.encoder_config import PREFIX, TrunkConfig
from darl.model.noise import Noise
from darl.model.objectives.base import Draw, Draws, Objective
from darl.model.objectives.prefix import mean, prefix_draws
from darl.model.trunk import Trunk

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Nepa"]


@dataclass(frozen=True, kw_only=True)
class Nepa(Objective):
    """Next-embedding prediction. It has no pixels to estimate: no denoising evaluation, and no images to draw."""

    kind: ClassVar[str] = "nepa"
    takes_prefix: ClassVar[bool] = True

    def build(self, config: TrunkConfig) -> nn.Module:
        """No decoder: a module without parameters."""
        return nn.Identity()

    def loss(
        self, encoder: Trunk, decoder: nn.Module, patches: "Float[Tensor, 'batch patches patch_dim']", draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """(minus the mean cosine, predicted embeddings (B, N, W), of any length)."""
        embeddings = encoder.project(patches)
        prediction = self.predict(encoder, embeddings, draws.get(PREFIX)).to(patches.dtype)
        target = self.target(embeddings).to(patches.dtype)
        return mean(-F.cosine_similarity(prediction, target, dim=-1), draws), prediction

    def draws(self, config: TrunkConfig, noise: Noise | None) -> dict[str, Draw]:
        """With prefix attention, each image's `prefix`."""
        return prefix_draws(config)

    def predict(
        self,
        encoder: Trunk,
        embeddings: "Float[Tensor, 'batch patches width']",
        prefix: "Int[Tensor, ' batch'] | None" = None,
    ) -> "Float[Tensor, 'batch patches width']":
        """z: of each patch, the trunk's output from the start token and the patches before it, and the prefix."""
        tokens, causal = encoder.add_positions(embeddings[:, :-1], encoder.grid), True if encoder.reads_prefix else None
        return encoder.trunk(tokens, encoder.grid, causal=causal, prefix=prefix)

    def target(self, embeddings: "Float[Tensor, 'batch patches width']") -> "Float[Tensor, 'batch patches width']":
        """The patches' own embeddings, through which no gradient flows."""
        return embeddings.detach()

    def flops(self, config: TrunkConfig) -> float:
        """`TrunkConfig.trunk_flops` of N - 1 patches, and `embed_flops` of the last one, too."""
        return config.trunk_flops(config.patches - 1) + config.embed_flops
