"""MSE: next-patch prediction by regression."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from darl.aspects import Aspect, changes
from darl.model.encoder_config import TrunkConfig
from darl.model.objectives.base import Draws
from darl.model.objectives.next_patch import NextPatch, PatchDecoder
from darl.model.objectives.prefix import squared_error
from darl.model.pair_blocks import PairBlocks, pair_block_flops
from darl.model.sampling import Sampling
from darl.variants import require

__all__ = ["Mse", "MseDecoder"]


@dataclass(frozen=True, kw_only=True)
class Mse(NextPatch):
    """The MSE objective: predict each patch's pixels from the trunk's output for it (the context).

    head_depth: Transformer blocks in front of the last linear map, 0 or more. They are the diffusion decoder's own
    blocks, reading a learned vector where the diffusion decoder reads the noisy patch. So `Mse(head_depth=d)` has
    all of `Diffusion(decoder_depth=d)` except the embedding of the noisy patch: P·W parameters and 2PW operations per
    patch fewer, for P pixel values and width W. With 0 blocks the decoder is one linear map.
    """

    kind: ClassVar[str] = "mse"
    takes_prefix: ClassVar[bool] = True
    head_depth: int = changes(Aspect.LOSS, default=0)

    def __post_init__(self) -> None:
        require(self.head_depth >= 0, "objective.head_depth", "be 0 or more", self.head_depth)

    def build(self, config: TrunkConfig) -> PatchDecoder:
        return self.complete(lambda: MseDecoder(config, self.head_depth), config)

    def patch_flops(self, config: TrunkConfig) -> float:
        """2WP for the linear map, and `pair_block_flops` for each block."""
        return 2 * config.size.width * config.patch_dim + self.head_depth * pair_block_flops(config.size)


class MseDecoder(PatchDecoder):
    """The MSE patch decoder. Its prediction does not depend on the noisy patch that `denoise` is given."""

    def __init__(self, config: TrunkConfig, depth: int):
        super().__init__(config)
        self.body = LearnedQuery(config, depth) if depth else nn.Identity()
        self.head = nn.Linear(config.size.width, config.patch_dim)

    def prepare(self, context: Tensor) -> Tensor:
        return self.predict(context).float()

    def denoise(self, prepared: object, noisy: Tensor, gamma: Tensor) -> Tensor:
        assert isinstance(prepared, Tensor)
        return prepared

    def loss(self, context: Tensor, clean: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        prediction = self.predict(context).to(clean.dtype)
        return squared_error(prediction, clean, draws), prediction

    def sample(self, context: Tensor, how: Sampling, generator: torch.Generator) -> Tensor:
        """The prediction itself: an MSE model predicts the mean and has nothing to sample."""
        return how.guide(self.predict(context))

    def predict(self, context: Tensor) -> Tensor:
        """The patches (B, N, P), from the trunk's outputs for them (B, N, W)."""
        return self.head(self.body(context))


class LearnedQuery(nn.Module):
    """The diffusion decoder's blocks, reading the context and one learned vector instead of a noisy patch."""

    def __init__(self, config: TrunkConfig, depth: int):
        super().__init__()
        self.query = nn.Parameter(torch.empty(config.size.width))  # one axis, so that weight decay does not apply
        self.blocks = PairBlocks(config.size, depth)
        self.norm = nn.LayerNorm(config.size.width, eps=1e-6)

    def reset_parameters(self) -> None:
        """The initialisation of a learned token."""
        nn.init.normal_(self.query, std=0.02)

    def forward(self, context: Tensor) -> Tensor:
        # not `expand`: torch's FLOP counter fails on a view without gradients
        query = torch.zeros_like(context) + self.query.to(context)
        return self.norm(self.blocks(query, self.blocks.prepare(context)))
