"""One configuration for a whole model, and the one way to build a model from it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from darl.model.encoder_config import TrunkConfig
from darl.model.noise import Noise
from darl.model.objectives.base import Objective
from darl.model.tokenizers.base import require_tokenizer
from darl.variants import require

if TYPE_CHECKING:
    from darl.model.darl import Darl

__all__ = ["ModelConfig"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(TrunkConfig):
    """Everything that a model is built from, except the seed of its initial weights.

    Raises UserError where noise or mask do not fit the objective, or a size does not fit the others.
    """

    objective: Objective
    noise: Noise | None
    """The noise schedule of an objective that uses one, None for others."""

    def __post_init__(self) -> None:
        needs = self.objective.uses_noise
        remedy = f"be {'given' if needs else 'left out'} for objective {self.objective.kind}"
        require((self.noise is not None) == needs, "noise", remedy, self.noise and str(self.noise))
        super().__post_init__()
        fixed = self.noise is None or self.noise.adaptation() is None
        remedy = f"be a fixed schedule for objective {self.objective}, whose loss is not that of clean patches"
        require(fixed or self.objective.takes_adaptive_noise, "noise", remedy, str(self.noise))
        full = not (self.causal and self.objective.bidirectional)
        require(full, "causal", f"be false for objective {self.objective.kind}", self.causal)
        takes = self.attention is None or self.objective.takes_prefix
        require(takes, "attention", f"be left out for objective {self.objective.kind}", self.attention)
        takes = self.context_noise is None or self.objective.takes_context_noise
        require(takes, "context_noise", f"be left out for objective {self.objective.kind}", self.context_noise)
        takes = self.next_patches is None or self.objective.takes_next_patches
        require(takes, "next_patches", f"be left out for objective {self.objective.kind}", self.next_patches)
        takes = self.condition is None or self.objective.takes_condition
        require(takes, "condition", f"be left out for objective {self.objective.kind}", self.condition)
        users = {"token_input": bool(self.token_input), "objective tokens": self.objective.needs_tokenizer}
        require_tokenizer(self.tokenizer, users)
        takes = self.random_order is None or self.objective.takes_random_order
        own = self.random_order and self.random_order.kind
        require(takes, "random_order", f"be left out for objective {self.objective.kind}", own)
        self.objective.check(self)

    def build(self, seed: int) -> "Darl":
        """The model, initialised from the seed."""
        from darl.model.darl import Darl  # here, since it imports timm and torchvision (2 s), which configs do without
        from darl.model.initial_weights import initialize

        model = Darl(self)
        initialize(model, seed)
        return model

    def flops(self) -> float:
        """Floating-point operations of one image's forward pass in training; no model is built for it."""
        return self.objective.flops(self)
