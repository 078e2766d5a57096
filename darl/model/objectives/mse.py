"""Next-patch prediction by mean squared error."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darl.model.objectives.base import Corruption, Objective, PatchDecoder

if TYPE_CHECKING:
    pass

__all__ = ["Mse", "MseDecoder"]


@dataclass(frozen=True, kw_only=True)
class Mse(Objective):
    """Predict the patch itself."""

    kind: ClassVar[str] = "mse"

    def build(self, width: int, heads: int, patch_dim: int, mlp_ratio: float) -> "MseDecoder":
        return MseDecoder(width, patch_dim)

    def flops(self, width: int, patch_dim: int, mlp_ratio: float) -> float:
        """2WP."""
        return 2 * width * patch_dim


class MseDecoder(PatchDecoder):
    """One linear map; what it says does not depend on any noisy patch."""

    def __init__(self, width: int, patch_dim: int):
        super().__init__()
        self.head = nn.Linear(width, patch_dim)

    def prepare(self, context: Tensor) -> Tensor:
        return self.head(context).float()

    def denoise(self, prepared: object, noisy: Tensor, gamma: Tensor) -> Tensor:
        assert isinstance(prepared, Tensor)
        return prepared

    def loss(self, context: Tensor, clean: Tensor, corruption: Corruption | None) -> tuple[Tensor, Tensor]:
        prediction = self.head(context).to(clean.dtype)
        return F.mse_loss(prediction, clean), prediction

    def sample(self, context: Tensor, steps: int, generator: torch.Generator) -> Tensor:
        """The prediction itself: the objective's only answer is the mean."""
        return self.head(context)
