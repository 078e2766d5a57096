"""AdamW, and a learning rate with linear warm-up and cosine decay, from timm's factories.

Biases, norms and other vectors get no weight decay (timm's `create_optimizer_v2`). The learning rate is a function of
the step alone, so a checkpoint need not hold it. torch and timm are imported where an optimiser is built: the settings
are part of every experiment's record, which is made without them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from darl.aspects import Aspect, changes
from darl.variants import require

if TYPE_CHECKING:
    import torch
    from timm.scheduler import CosineLRScheduler
    from torch import nn

__all__ = ["Optimizer", "build_optimizer", "build_schedule"]


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW's settings except the peak learning rate; the defaults are the paper's."""

    weight_decay: float = changes(Aspect.TRAINING, default=0.05)
    """At least 0."""
    beta1: float = changes(Aspect.TRAINING, default=0.9)
    """Decay of the gradient's moving average, in [0, 1)."""
    beta2: float = changes(Aspect.TRAINING, default=0.95)
    """Decay of the squared gradient's moving average, in [0, 1)."""
    warmup: float = changes(Aspect.TRAINING, default=0.1)
    """Fraction of all steps during which the learning rate rises linearly from 0, in [0, 1)."""
    clip: float = changes(Aspect.TRAINING, default=1.0)
    """The gradient is scaled down to at most this norm; 0 for no clipping."""
    ema: float = changes(Aspect.TRAINING, default=0.0)
    """Decay of the weights' moving average, in [0, 1). It is evaluated instead of them and saved with them; 0: none."""

    def __post_init__(self) -> None:
        for field in ("weight_decay", "clip"):
            require(getattr(self, field) >= 0, f"optim.{field}", "be 0 or more", getattr(self, field))
        for field in ("beta1", "beta2", "ema", "warmup"):
            require(0 <= getattr(self, field) < 1, f"optim.{field}", "be in [0, 1)", getattr(self, field))


def build_optimizer(
    model: "nn.Module", config: Optimizer, learning_rate: float, layer_decay: float | None = None
) -> "torch.optim.Optimizer":
    """Fused AdamW over all parameters of `model`; vectors get no weight decay.

    learning_rate: peak. layer_decay: for a model with timm's `group_matcher`, each layer's rate as a multiple of that
    of the layer above it, which timm keeps as `lr_scale` of the parameter groups; None for one rate.
    """
    from timm.optim import create_optimizer_v2

    return create_optimizer_v2(
        model,
        opt="adamw",
        lr=learning_rate,
        weight_decay=config.weight_decay,
        betas=(config.beta1, config.beta2),
        fused=True,
        layer_decay=layer_decay,
    )


def build_schedule(optimizer: "torch.optim.Optimizer", config: Optimizer, steps: int) -> "CosineLRScheduler":
    """The learning-rate schedule: linear warm-up from 0, then a cosine to 0.

    Call `step_update(step)` before each step; steps are counted from 1.
    """
    from timm.scheduler import CosineLRScheduler

    warmup = round(config.warmup * steps)
    return CosineLRScheduler(
        optimizer,
        t_initial=steps + 1,
        warmup_t=warmup,
        warmup_lr_init=0.0,
        warmup_prefix=False,
        t_in_epochs=False,
    )
