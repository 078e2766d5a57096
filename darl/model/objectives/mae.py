"""Masked autoencoder: the encoder reads the visible patches only (MAE: He et al. 2022, arXiv 2111.06377).

    read       the V visible patches, with their positions, and the start token (MAE's class token)
    trunk      z = Transformer(visible), every token reads every other
    decoder    [start, z in its places, a mask token in each other place] + positions -> all patches

The decoder is a Transformer of its own, narrower and shallower than the encoder, that is dropped after pretraining.

Unlike the paper: weights are initialised as everywhere in this package, not by Xavier's rule.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from darl.aspects import Aspect, changes
from darl.model.encoder_config import EncoderConfig, TrunkConfig, block_flops
from darl.model.objectives.masked_patches import MaskedPatches, MaskToken
from darl.model.patches import take
from darl.model.positions import Sincos2d
from darl.model.trunk import Trunk
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Mae", "MaeDecoder"]

_DEEPEST, _WIDEST = 8, 512
"""MAE's decoder of ViT-L and ViT-H: of a third of ViT-L's depth, and half its width."""


@dataclass(frozen=True, kw_only=True)
class Mae(MaskedPatches):
    """The masked autoencoder.

    decoder_depth: Transformer blocks of the decoder; 0 stands for a third of the encoder's, at least 1, at most 8.
    decoder_width: its width; 0 stands for half the encoder's, at most 512. The decoder has as many heads as the
    encoder. So both are MAE's own for ViT-L and ViT-H, and smaller encoders have decoders of the same proportions.
    """

    kind: ClassVar[str] = "mae"
    normalize_target: bool = changes(Aspect.TARGET, default=True)
    mask_ratio: float = changes(Aspect.INPUT, default=0.75)
    decoder_depth: int = changes(Aspect.LOSS, default=0)
    decoder_width: int = changes(Aspect.LOSS, default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("decoder_depth", "decoder_width"):
            require(getattr(self, name) >= 0, f"objective.{name}", "be 0 or more", getattr(self, name))

    def check(self, config: TrunkConfig) -> None:
        super().check(config)
        step = _width_step(config.size)
        remedy = f"be 0, or a multiple of 4 and of model.heads {config.size.heads}"
        require(self.decoder_width % step == 0, "objective.decoder_width", remedy, self.decoder_width)

    def depth(self, size: EncoderConfig) -> int:
        """Number of blocks of the decoder of an encoder of this size."""
        return self.decoder_depth or min(_DEEPEST, max(1, size.depth // 3))

    def width(self, size: EncoderConfig) -> int:
        """Width of the decoder of an encoder of this size; by default rounded down to the next that is possible."""
        step = _width_step(size)
        return self.decoder_width or max(step, min(_WIDEST, size.width // 2) // step * step)

    def build(self, config: TrunkConfig) -> "MaeDecoder":
        return MaeDecoder(config, self.depth(config.size), self.width(config.size))

    def predict(self, encoder: Trunk, decoder: nn.Module, patches: Tensor, shuffle: Tensor) -> Tensor:
        visible = shuffle[:, : self.visible(patches.shape[1])]
        tokens = encoder.embed(take(patches, visible), encoder.grid, visible)
        return decoder(encoder.trunk(tokens, encoder.grid, at=visible, causal=False), shuffle)

    def flops(self, config: TrunkConfig) -> float:
        """`TrunkConfig.trunk_flops` of the V visible patches, and the decoder of width D on N + 1 tokens.

        That is 2(V + 1)WD to embed, `block_flops` for each block, and 2NDP for the head.
        """
        size, patches, visible = config.size, config.patches, self.visible(config.patches)
        width = self.width(size)
        embed, head = 2 * (visible + 1) * size.width * width, 2 * patches * width * config.patch_dim
        blocks = self.depth(size) * block_flops(patches + 1, width, size.mlp_ratio)
        return config.trunk_flops(visible) + embed + blocks + head


class MaeDecoder(nn.Module):
    """The decoder: reads the encoder's outputs and a mask token for each hidden patch, and predicts every patch."""

    def __init__(self, trunk: TrunkConfig, depth: int, width: int):
        super().__init__()
        from darl.model.transformer import Block, Reading  # here, since it imports timm, which configs do without

        size, self.grad_checkpointing = trunk.size, False
        self.embed = nn.Linear(size.width, width)
        self.mask = MaskToken(width)
        reading = Reading(causal=False)
        self.blocks = nn.ModuleList(
            Block(width, size.heads, int(width * size.mlp_ratio), reading) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, trunk.patch_dim)
        positions = Sincos2d().build(trunk.grid, width, width // size.heads).additive(trunk.grid)
        assert positions is not None
        in_order = positions[trunk.order.permutation(*trunk.grid)]
        self.register_buffer("positions", in_order, persistent=False)

    positions: Tensor
    """(N, D), in the patch order."""

    def forward(
        self, read: "Float[Tensor, 'batch read width']", shuffle: "Int[Tensor, 'batch patches']"
    ) -> "Float[Tensor, 'batch patches patch_dim']":
        """All patches, in the patch order.

        Args:
            read: the encoder's outputs of the start token and the visible patches.
            shuffle: the patches' indices in the order, first of the visible ones, in the order of `read`.

        """
        start, visible = self.embed(read).split([1, read.shape[1] - 1], dim=1)
        hidden = self.mask(visible.new_empty(len(visible), shuffle.shape[1] - visible.shape[1], visible.shape[2]))
        tokens = take(torch.cat([visible, hidden], dim=1), shuffle.argsort(1))
        x = torch.cat([start, tokens + self.positions.to(tokens)], dim=1)
        for block in self.blocks:
            recompute = self.grad_checkpointing and self.training
            x = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
        return self.head(self.norm(x[:, 1:]))


def _width_step(size: EncoderConfig) -> int:
    """Widths of the decoder are multiples of this: of 4 for the positions, and of the number of heads."""
    return math.lcm(4, size.heads)
