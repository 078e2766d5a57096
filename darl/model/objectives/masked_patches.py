"""What the masked objectives share: in each image some patches are hidden, and the loss is on these only.

Every image hides the same number of its N patches, round(mask_ratio · N), chosen uniformly at random. All patches that
are read are read by all: the encoder has no causal mask, and the start token is a ViT's class token. The patch order
changes nothing: a mask is drawn for patches in raster order.

Layouts: B batch, N patches, V visible patches, W width, P pixel values of a patch.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darl.model.encoder_config import TrunkConfig
from darl.model.noise import Noise
from darl.model.objectives.base import Draw, Draws
from darl.model.objectives.pixels import PixelObjective
from darl.model.orders import inverse
from darl.model.patches import take
from darl.model.trunk import Trunk
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["MaskToken", "MaskedPatches"]


@dataclass(frozen=True, kw_only=True)
class MaskedPatches(PixelObjective):
    """What the masked objectives share: the random masks, and the loss on the hidden patches.

    mask_ratio: the fraction of an image's patches that is hidden, between 0 and 1.
    """

    bidirectional: ClassVar[bool] = True
    mask_ratio: float

    def __post_init__(self) -> None:
        require(0 < self.mask_ratio < 1, "objective.mask_ratio", "lie between 0 and 1", self.mask_ratio)

    def check(self, config: TrunkConfig) -> None:
        """Raise UserError also where no patch would be hidden, or none visible."""
        super().check(config)
        remedy = f"hide at least one of {config.patches} patches, and leave one visible"
        require(0 < self.visible(config.patches) < config.patches, "objective.mask_ratio", remedy, self.mask_ratio)

    def visible(self, patches: int) -> int:
        """How many of an image's patches are visible."""
        return patches - round(self.mask_ratio * patches)

    def draws(self, config: TrunkConfig, noise: Noise | None) -> dict[str, Draw]:
        """For each image `shuffle` (B, N): indices into the patch order, first of the visible patches."""
        place = inverse(config.order.permutation(*config.grid))

        def shuffle(count: int, generator: torch.Generator) -> Tensor:
            keys = torch.rand((count, config.patches), generator=generator, device=generator.device)
            return place.to(keys.device)[keys.argsort(1)]

        return {"shuffle": shuffle}

    @abstractmethod
    def predict(self, encoder: Trunk, decoder: nn.Module, patches: Tensor, shuffle: Tensor) -> Tensor:
        """All patches (B, N, P), in the patch order, predicted from the visible ones: the first V of `shuffle`."""

    def loss(self, encoder: Trunk, decoder: nn.Module, patches: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """(mean squared error of the hidden patches, prediction of all patches)."""
        shuffle = draws["shuffle"]
        hidden = shuffle[:, self.visible(patches.shape[1]) :]
        prediction = self.predict(encoder, decoder, patches, shuffle).to(patches.dtype)
        return F.mse_loss(take(prediction, hidden), take(self.targets(patches), hidden)), prediction


class MaskToken(nn.Module):
    """The learned vector that stands for a hidden patch."""

    def __init__(self, width: int):
        super().__init__()
        self.vector = nn.Parameter(torch.empty(width))  # one axis, so that weight decay does not apply

    def reset_parameters(self) -> None:
        """MAE's initialisation."""
        nn.init.normal_(self.vector, std=0.02)

    def forward(self, tokens: "Float[Tensor, 'batch hidden width']") -> "Float[Tensor, 'batch hidden width']":
        """As many mask tokens, of the same type and device."""
        return torch.zeros_like(tokens) + self.vector.to(tokens)  # not `expand`: see `LearnedQuery` in `mse`
