"""Initial weights: each module's own, from the seed and its name, so that models that share modules start alike."""

import torch
from timm.models.vision_transformer import init_weights_vit_timm
from torch import nn

from darl.model.tokenizers.base import FROZEN
from darl.randomness import seed_of

__all__ = ["initialize", "reset"]


def initialize(model: nn.Module, seed: int) -> None:
    """Initialise each module from `seed` and its name: models that share modules start from the same weights."""
    with torch.random.fork_rng(devices=[]):
        for name, module in model.named_modules():
            torch.manual_seed(seed_of(seed, "initialize", name))
            reset(module)


def reset(module: nn.Module) -> None:
    """timm's ViT initialisation for linear maps; `reset_parameters` for all other modules that have it.

    A tokenizer within a model keeps its weights.
    """
    if hasattr(module, FROZEN):
        return
    if isinstance(module, nn.Linear):
        init_weights_vit_timm(module)
    elif hasattr(module, "reset_parameters"):
        module.reset_parameters()  # pyright: ignore[reportCallIssue]
