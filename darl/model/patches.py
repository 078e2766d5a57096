"""Images as sequences of patches, and back.

An image of (channels, rows·p, columns·p) pixels is a grid of rows × columns patches. A patch is the vector of its
channels·p·p pixel values, channel first: the layout of a convolution's weight, so that embedding patch vectors by a
linear map equals timm's `PatchEmbed`.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Grid", "grid_of", "normalize_patches", "patchify", "take", "unpatchify"]

Grid = tuple[int, int]
"""(rows, columns) of patches."""


def grid_of(image_size: tuple[int, int], patch_size: int) -> Grid:
    """The grid of an image of (height, width) pixels; raises UserError where the patch size does not divide it."""
    require(patch_size >= 1, "patch_size", "be at least 1", patch_size)
    height, width = image_size
    require(
        height % patch_size == 0 and width % patch_size == 0 and min(height, width) >= patch_size,
        "image_size",
        f"be a multiple of patch_size {patch_size}",
        height if height == width else image_size,
    )
    return height // patch_size, width // patch_size


def patchify(
    images: "Float[Tensor, 'batch channels height width']", patch_size: int
) -> "Float[Tensor, 'batch patches patch_dim']":
    """Images to patch vectors in raster order (row by row)."""
    rows, columns = grid_of((images.shape[2], images.shape[3]), patch_size)
    x = images.unflatten(3, (columns, patch_size)).unflatten(2, (rows, patch_size))
    return x.permute(0, 2, 4, 1, 3, 5).reshape(len(images), rows * columns, -1)


def unpatchify(
    patches: "Float[Tensor, 'batch patches patch_dim']", grid: Grid, patch_size: int
) -> "Float[Tensor, 'batch channels height width']":
    """Patch vectors in raster order to images: the inverse of `patchify`."""
    x = patches.unflatten(2, (-1, patch_size, patch_size)).unflatten(1, grid)
    return x.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def normalize_patches(
    patches: "Float[Tensor, 'batch patches patch_dim']", eps: float = 1e-6
) -> "Float[Tensor, 'batch patches patch_dim']":
    """Each patch shifted and scaled to mean 0 and variance 1: MAE's normalised pixels (He et al. 2022, section 4)."""
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return (patches - mean) * torch.rsqrt(variance + eps)


def take(
    sequences: "Float[Tensor, 'batch tokens channels']", at: "Int[Tensor, 'batch taken']"
) -> "Float[Tensor, 'batch taken channels']":
    """The elements of each sequence at its own indices."""
    return sequences.gather(1, at.unsqueeze(-1).expand(-1, -1, sequences.shape[2]))
