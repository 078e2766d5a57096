"""Masked regression: hidden patches are replaced by a mask token (SimMIM: Xie et al. 2022, arXiv 2111.09886).

    read       all N positions; a mask token in place of each hidden patch, then positions
    trunk      z = Transformer(all), every token reads every other
    decoder    z_t -> x_t, for the hidden patches

SimMIM's loss is |error| where ours is error², as in the other objectives, and it hides squares of 32 pixels where ours
hides single patches.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from darl.aspects import Aspect, changes
from darl.model.encoder_config import TrunkConfig
from darl.model.objectives.masked_patches import MaskedPatches, MaskToken
from darl.model.objectives.mse import Mse, MseDecoder
from darl.model.trunk import Trunk
from darl.variants import require

__all__ = ["Masked", "MaskedDecoder"]


@dataclass(frozen=True, kw_only=True)
class Masked(MaskedPatches):
    """Masked regression: the encoder reads mask tokens in place of the hidden patches.

    head_depth: blocks in front of the last linear map, 0 or more; the head is that of `mse`.
    """

    kind: ClassVar[str] = "masked"
    mask_ratio: float = changes(Aspect.INPUT, default=0.6)
    head_depth: int = changes(Aspect.LOSS, default=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.head_depth >= 0, "objective.head_depth", "be 0 or more", self.head_depth)

    def build(self, config: TrunkConfig) -> "MaskedDecoder":
        return MaskedDecoder(config, self.head_depth)

    def predict(self, encoder: Trunk, decoder: nn.Module, patches: Tensor, shuffle: Tensor) -> Tensor:
        assert isinstance(decoder, MaskedDecoder)
        hidden = shuffle[:, self.visible(patches.shape[1]) :]
        is_hidden = torch.zeros_like(shuffle, dtype=torch.bool).scatter(1, hidden, True).unsqueeze(-1)
        tokens = encoder.project(patches)
        tokens = encoder.add_positions(torch.where(is_hidden, decoder.mask(tokens), tokens), encoder.grid)
        return decoder.head.predict(encoder.trunk(tokens, encoder.grid, causal=False)[:, 1:])

    def flops(self, config: TrunkConfig) -> float:
        """`TrunkConfig.trunk_flops` of N patches, and the head of `mse` for each."""
        head = Mse(head_depth=self.head_depth).patch_flops(config)
        return config.trunk_flops(config.patches) + config.patches * head


class MaskedDecoder(nn.Module):
    """The mask token that the encoder reads, and the head."""

    def __init__(self, config: TrunkConfig, depth: int):
        super().__init__()
        self.mask = MaskToken(config.size.width)
        self.head = MseDecoder(config, depth)
