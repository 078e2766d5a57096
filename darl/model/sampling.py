"""Patch-by-patch sampling: each patch is drawn given those before it, with a cache of their keys and values.

A cache holds, for each block, the keys and values (batch, heads, tokens, head width) of the tokens seen so far; one
more token costs one token's work.
"""

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Cache", "Sampleable", "sample_patches"]

Cache = list[tuple[Tensor, Tensor] | None]


class Sampleable(Protocol):
    """What sampling needs of a model."""

    def next_context(self, patch: Tensor | None, place: int, batch: int, cache: Cache) -> Tensor:
        """The trunk's output (batch, 1, width) for the patch at `place`, after `patch` (batch, patch_dim).

        The first call has no patch: the start token stands in. `cache` is extended in place.
        """
        ...

    def draw_patch(self, context: Tensor, steps: int, generator: torch.Generator) -> Tensor:
        """A patch (batch, 1, patch_dim) for the context."""
        ...


def sample_patches(
    model: Sampleable, prefix: Tensor, patches: int, steps: int, generator: torch.Generator, cache: Cache
) -> Tensor:
    """`prefix` (batch, k, patch_dim), continued to `patches` patches, in the order of prediction.

    steps: noise levels per patch of a diffusion model; without meaning for MSE.
    """
    known = prefix.shape[1]
    drawn = list(prefix.unbind(1))
    for place in range(patches):
        context = model.next_context(drawn[place - 1] if place else None, place, len(prefix), cache)
        if place >= known:
            drawn.append(model.draw_patch(context, steps, generator)[:, 0])
    return torch.stack(drawn, dim=1)
