"""Patch-by-patch sampling: each patch is drawn given those before it, with a cache of their keys and values."""

from collections.abc import Callable

import torch
from torch import Tensor

from darl.model.trunk import Trunk

__all__ = ["sample_patches"]


def sample_patches(encoder: Trunk, draw: Callable[[Tensor], Tensor], prefix: Tensor, patches: int) -> Tensor:
    """Patches (B, `patches`, P) in the order of prediction: `prefix` (B, k, P), then sampled ones.

    draw: samples a patch (B, 1, P) given the trunk's output (B, 1, W). B batch, P pixel values of a patch, W width.
    """
    given, cache = prefix.shape[1], encoder.new_cache()
    drawn = list(prefix.unbind(1))
    for index in range(patches):
        context = encoder.next_output(drawn[index - 1] if index else None, index, len(prefix), cache)
        if index >= given:
            drawn.append(draw(context)[:, 0])
    return torch.stack(drawn, dim=1)
