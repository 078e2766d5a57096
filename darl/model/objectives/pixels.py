"""Objectives that predict pixels of patches, each patch's pixels normalised or as they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from darl.aspects import Aspect, changes
from darl.model.encoder_config import TrunkConfig
from darl.model.objectives.base import Objective
from darl.model.patches import normalize_patches
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["PixelObjective"]


@dataclass(frozen=True, kw_only=True)
class PixelObjective(Objective):
    """What the objectives that predict pixels share: the targets.

    normalize_target: predict each patch's pixels normalised to mean 0 and variance 1 (MAE's targets).
    """

    normalize_target: bool = changes(Aspect.TARGET, default=False)

    def check(self, config: TrunkConfig) -> None:
        """Raise UserError where targets are to be normalised but have one value, whose variance is not defined."""
        fits = config.patch_dim > 1 or not self.normalize_target
        require(fits, "objective.normalize_target", "be false for patches of a single value", True)

    def targets(self, patches: "Float[Tensor, 'batch patches patch_dim']") -> Tensor:
        """The patches to predict, each normalised if `normalize_target`."""
        return normalize_patches(patches) if self.normalize_target else patches
