"""AdamW with warm-up and a cosine, from timm's factories.

Weight decay is left off biases, norms and other vectors (timm's `create_optimizer_v2`). The learning rate is a pure
function of the step, so that nothing of the schedule needs to be saved.
"""

from dataclasses import dataclass

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from torch import nn

from darl.aspects import Aspect, changes
from darl.variants import require

__all__ = ["Optimizer", "build_optimizer", "build_schedule"]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW's settings but for the peak learning rate; the defaults are the paper's."""

    weight_decay: float = changes(Aspect.TRAINING, default=0.05)
    beta1: float = changes(Aspect.TRAINING, default=0.9)
    beta2: float = changes(Aspect.TRAINING, default=0.95)
    warmup: float = changes(Aspect.TRAINING, default=0.1)
    """Fraction of all steps in which the learning rate rises linearly from 0."""
    clip: float = changes(Aspect.TRAINING, default=1.0)
    """Largest norm of the gradient; 0 leaves it as it is."""
    ema: float = changes(Aspect.TRAINING, default=0.0)
    """Decay of the weights' moving average that is evaluated and kept beside the weights; 0 keeps none."""

    def __post_init__(self) -> None:
        for field in ("weight_decay", "clip"):
            require(getattr(self, field) >= 0, f"optim.{field}", "be 0 or more", getattr(self, field))
        for field in ("beta1", "beta2", "ema", "warmup"):
            require(0 <= getattr(self, field) < 1, f"optim.{field}", "be in [0, 1)", getattr(self, field))


def build_optimizer(model: nn.Module, config: Optimizer, learning_rate: float) -> torch.optim.Optimizer:
    """Fused AdamW."""
    return create_optimizer_v2(
        model,
        opt="adamw",
        lr=learning_rate,
        weight_decay=config.weight_decay,
        betas=(config.beta1, config.beta2),
        fused=True,
    )


def build_schedule(optimizer: torch.optim.Optimizer, config: Optimizer, steps: int) -> CosineLRScheduler:
    """Linear warm-up from 0, then a cosine to 0. Call `step_update(step)` before step number `step`, counted from 1."""
    warmup = round(config.warmup * steps)
    return CosineLRScheduler(
        optimizer,
        t_initial=steps + 1,
        warmup_t=warmup,
        warmup_lr_init=0.0,
        warmup_prefix=False,
        t_in_epochs=False,
    )
