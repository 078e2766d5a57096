"""Drawing an image patch by patch: with the cache of keys and values, and with the prefix read again for each patch."""

from collections.abc import Callable

import torch
from torch import Tensor

from darl.model.darl import Darl
from darl.model.objectives.next_patch import PatchDecoder
from darl.model.sampling import Sampling, sample_patches

__all__ = ["cached", "recomputed"]


def cached(model: Darl, images: int) -> Callable[[], Tensor]:
    """All patches (images, N, P) as `darl.model.sampling` draws them."""
    draw = _draw(model)

    @torch.no_grad()
    def patches() -> Tensor:
        return sample_patches(model.encoder, draw, torch.zeros(images, 0, model.patch_dim), len(model.order))

    return patches


def recomputed(model: Darl, images: int) -> Callable[[], Tensor]:
    """The same, each from a forward pass over the start token and all patches before it."""
    encoder, draw = model.encoder, _draw(model)

    @torch.no_grad()
    def patches() -> Tensor:
        drawn = torch.zeros(images, 0, model.patch_dim)
        for _ in range(len(model.order)):
            context = encoder.trunk(encoder.embed(drawn, encoder.grid), encoder.grid)[:, -1:]
            drawn = torch.cat([drawn, draw(context)], dim=1)
        return drawn

    return patches


def _draw(model: Darl) -> Callable[[Tensor], Tensor]:
    decoder = model.decoder
    assert isinstance(decoder, PatchDecoder)
    return lambda context: decoder.sample(context, Sampling(), torch.Generator())
