"""Next-token prediction: the token of patch t is predicted from z_t (DARL, section 4.3; iGPT: Chen et al. 2020).

    read       [start, x_1 … x_{N-1}]   patches, or tokens (`TrunkConfig.token_input`), in the order of prediction
    trunk      z_t = Transformer(x_{<t})
    decoder    z_t -> a score for each of V tokens, one linear map
    loss       cross-entropy with the token of patch t, in nats

The tokenizer (`darl.model.tokenizers`) does not learn. Targets are encoded in the whole image, as in BEiT (Bao et al.
2021, arXiv 2106.08254); for `dvae`, whose encoder reads patch by patch, that is the same.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from darl.model.encoder_config import PREFIX, TrunkConfig
from darl.model.noise import Noise
from darl.model.objectives.base import Draw, Draws, Objective
from darl.model.objectives.prefix import mean, prefix_draws
from darl.model.patches import unpatchify
from darl.model.tokenizers.base import build_frozen
from darl.model.trunk import Trunk

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Tokens", "TokensDecoder"]


@dataclass(frozen=True, kw_only=True)
class Tokens(Objective):
    """Next-token prediction. It has no pixels to estimate: no denoising evaluation, and no images to draw."""

    kind: ClassVar[str] = "tokens"
    takes_prefix: ClassVar[bool] = True
    needs_tokenizer: ClassVar[bool] = True

    def build(self, config: TrunkConfig) -> "TokensDecoder":
        return TokensDecoder(config)

    def draws(self, config: TrunkConfig, noise: Noise | None) -> dict[str, Draw]:
        """With prefix attention, each image's `prefix`."""
        return prefix_draws(config)

    def loss(
        self, encoder: Trunk, decoder: nn.Module, patches: "Float[Tensor, 'batch patches patch_dim']", draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy in nats, scores (B, N, V)); patches count as `prefix.mean` has it."""
        assert isinstance(decoder, TokensDecoder)
        tokens = encoder.embed(patches[:, :-1], encoder.grid)
        causal = True if encoder.reads_prefix else None
        scores = decoder.head(encoder.trunk(tokens, encoder.grid, causal=causal, prefix=draws.get(PREFIX)))
        target = decoder.targets(encoder, patches)
        losses = F.cross_entropy(scores.to(patches.dtype).flatten(0, 1), target.flatten(), reduction="none")
        return mean(losses.view_as(target), draws), scores

    def flops(self, config: TrunkConfig) -> float:
        """`TrunkConfig.trunk_flops` of N - 1 patches, and 2WV and the tokenizer's for each of N."""
        assert config.tokenizer is not None
        target = config.tokenizer.encode_flops(config.patch_dim)
        scores = 2 * config.size.width * config.tokenizer.vocabulary
        return config.trunk_flops(config.patches - 1) + config.patches * (scores + target)


class TokensDecoder(nn.Module):
    """The linear map to scores, and the tokenizer, where the trunk does not hold it."""

    def __init__(self, config: TrunkConfig):
        super().__init__()
        assert config.tokenizer is not None
        size = config.size
        self.patch_size, reads = size.patch_size, bool(config.token_input)
        self.head = nn.Linear(size.width, config.tokenizer.vocabulary)
        self.tokenizer = None if reads else build_frozen(config.tokenizer, config.channels, size.patch_size)

    def targets(self, encoder: Trunk, patches: Tensor) -> "Int[Tensor, 'batch patches']":
        """The token of each patch, in the order of prediction."""
        tokenizer = encoder.tokenizer if self.tokenizer is None else self.tokenizer
        assert tokenizer is not None
        images = unpatchify(patches[:, encoder.inverse], encoder.grid, self.patch_size)
        return tokenizer.tokens(images)[:, encoder.order]
