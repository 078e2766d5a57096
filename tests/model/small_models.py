"""A model and images for it, small enough for a slow reference, in float64."""

import torch

import darl
from darl.model.darl import Darl
from darl.model.encoder_config import EncoderConfig
from darl.model.objectives.base import Objective
from darl.model.objectives.next_patch import NextPatch

__all__ = ["SMALL", "context", "images", "small"]

SMALL = EncoderConfig(width=32, depth=2, heads=2, patch_size=2)


def small(objective: str | Objective = "diffusion", **options: object) -> Darl:
    options = {"image_size": (6, 8), "channels": 2, **options}
    return darl.create_model(SMALL, objective=objective, **options).double()  # type: ignore[arg-type]


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 2, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def context(model: Darl, patches: torch.Tensor) -> torch.Tensor:
    """z (B, N, W) of a next-patch objective."""
    assert isinstance(model.objective, NextPatch)
    return model.objective.context(model.encoder, patches)
