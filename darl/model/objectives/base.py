"""Next-patch objectives: what the trunk's output z_t is asked to say about patch t (DARL, section 3).

MSE:        loss = |f(z_t) - x_t|².
Diffusion:  gamma ~ noise schedule, eps ~ N(0, I), y = sqrt(gamma) x_t + sqrt(1 - gamma) eps;
            loss = |D(z_t, y) - x_t|², with D the *denoising patch decoder*. Each patch has its own gamma and eps.
At gamma = 0 the noisy patch y says nothing of x_t, and the diffusion objective is MSE's.

Layouts: B batch, N patches in the order of prediction, W width, P pixel values of a patch, H heads, D head width.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from darl.aspects import Aspect, changes
from darl.variants import Variant

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Corruption", "Objective", "PatchDecoder"]


class Corruption(NamedTuple):
    """What a diffusion loss adds to clean patches."""

    gamma: "Float[Tensor, 'batch patches']"
    """Signal fraction in [0, 1]."""
    noise: "Float[Tensor, 'batch patches patch_dim']"
    """Standard normal."""

    def apply(self, clean: Tensor) -> Tensor:
        """sqrt(gamma) clean + sqrt(1 - gamma) noise."""
        gamma = self.gamma.unsqueeze(-1)
        return gamma.sqrt() * clean + (1 - gamma).sqrt() * self.noise


class PatchDecoder(nn.Module):
    """From the trunk's output for a patch to the patch."""

    @abstractmethod
    def prepare(self, context: "Float[Tensor, 'batch patches width']") -> object:
        """What `denoise` needs of the context, computed once for any number of noise levels."""

    @abstractmethod
    def denoise(self, prepared: object, noisy: Tensor, gamma: Tensor) -> Tensor:
        """The clean patches (B, N, P), estimated from noisy ones (B, N, P) at signal fractions (B, N)."""

    @abstractmethod
    def loss(self, context: Tensor, clean: Tensor, corruption: Corruption | None) -> tuple[Tensor, Tensor]:
        """(scalar loss, estimated clean patches (B, N, P))."""

    @abstractmethod
    def sample(self, context: Tensor, steps: int, generator: torch.Generator) -> Tensor:
        """Patches (B, N, P) drawn for the context."""


@dataclass(frozen=True, kw_only=True)
class Objective(Variant):
    """A next-patch objective. With `normalize_target` the targets are each patch's normalised pixels (MAE's)."""

    family: ClassVar[str] = "objective"
    package: ClassVar[str] = "darl.model.objectives"
    uses_noise: ClassVar[bool] = False
    can_denoise: ClassVar[bool] = True
    """Whether its decoder estimates clean patches from noisy ones (`PatchDecoder.denoise`)."""
    normalize_target: bool = changes(Aspect.TARGET, default=False)

    @abstractmethod
    def build(self, width: int, heads: int, patch_dim: int, mlp_ratio: float) -> PatchDecoder:
        """The decoder for a trunk of this width."""

    @abstractmethod
    def flops(self, width: int, patch_dim: int, mlp_ratio: float) -> float:
        """Floating-point operations of the decoder's matrix products, per patch, forward."""
