"""Functions of the forward pass that TorchScript compiles and that FX calls as they are, since they need numbers."""

import torch
from torch import Tensor

__all__ = ["kept_patches", "patches_in_order", "taken"]


def patches_in_order(images: Tensor, grid: tuple[int, int], size: int, order: Tensor) -> Tensor:
    """Patch vectors (B, N, P) in the order of prediction, of images (B, channels, height, width) of that grid."""
    rows, columns = grid
    height, width = images.shape[2], images.shape[3]
    if not torch.jit.is_tracing() and (height != rows * size or width != columns * size):
        raise ValueError(
            f"images must be {rows * size} x {columns * size} pixels for this scripted or traced model, "
            f"got {height} x {width}"
        )
    x = images.unflatten(3, [columns, size]).unflatten(2, [rows, size])
    return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)[:, order]


def kept_patches(tokens: Tensor, rate: float) -> Tensor:
    """Indices (B, n) into the order, rising, of the patches that each image of tokens (B, N, W) keeps; n is at least 1.

    Drawn by torch's default generator, as timm's `PatchDropout` draws.
    """
    patches = tokens.shape[1]
    count = max(1, int(patches * (1.0 - rate)))
    drawn = torch.rand(tokens.shape[0], patches, device=tokens.device).argsort(dim=1)
    return drawn[:, :count].sort(dim=1)[0]


def taken(tokens: Tensor, at: Tensor) -> Tensor:
    """The tokens (B, n, W) at indices (n), the same for all images, or (B, n)."""
    if at.dim() == 1:
        return tokens[:, at]
    return tokens.gather(1, at.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
