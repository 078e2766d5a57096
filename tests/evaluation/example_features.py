"""Features of known classes, without a model."""

import torch
from torch import Tensor

__all__ = ["blobs"]


def blobs(count: int, spread: float, seed: int) -> tuple[Tensor, Tensor]:
    """Three classes around three centres, in 8 dimensions of unequal scale."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    y = torch.randint(3, (count,), generator=generator)
    return (centres[y] + spread * torch.randn(count, 8, generator=generator)) * torch.logspace(-2, 2, 8), y
