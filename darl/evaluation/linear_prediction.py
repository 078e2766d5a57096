"""How hard each step of a patch order is, before anything is trained: the errors of the best linear predictor.

Images are taken as normally distributed, with the mean and covariance of the training images. Then the best estimate of
a patch from those before it is linear, and its mean squared error at each step follows from one Cholesky factor of the
covariance, permuted to the order: with L its block of a patch, trace(L Lᵀ) over the number of values.

Along an order the first patch is a guess from nothing, a patch beside known ones is easy. The product of the steps'
errors (their volumes, exactly) is the same in every order, by the chain rule: an order chooses only how the difficulty
is spread. So orders are ranked by how *evenly* hard their steps are, the standard deviation of the steps' errors over
their mean: where some steps teach nothing and others cannot be learned, training is wasted. That this foretells good
features is a guess, which `darl orders --results` holds against trained models.

REOrder's prior (Kutscher et al. 2025, arXiv 2505.23751, section 4.1) ranks orders by how well a general compressor
(LZMA) shortens their sequences of discrete patches; here nothing has to be made discrete, and the numbers are in the
unit of the validation loss, mean squared errors of normalised pixels.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.evaluation.subject import BATCH
from darl.model.patches import Grid, grid_of, patchify

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from darl.data import Dataset

__all__ = ["LARGEST_COVARIANCE", "PatchStatistics", "linear_errors", "patch_statistics", "unevenness"]

LARGEST_COVARIANCE = 1536
"""Numbers of an image above which each patch is averaged to fewer pixels first."""

RIDGE = 1e-3
"""Added to each variance, in the unit of normalised pixels: pixels that never vary would be predicted for nothing."""


@dataclass(frozen=True)
class PatchStatistics:
    """The covariance of the patches of the training images."""

    covariance: "Float[Tensor, 'patches values patches values']"
    """In float64; patches in raster order."""
    grid: Grid
    pixels: int
    """The side of a patch, in the pixels that it was averaged to."""


def patch_statistics(dataset: "Dataset", patch_size: int) -> PatchStatistics:
    """The statistics of the training images, on the CPU; one pass over them.

    Raises UserError where the patch size does not divide the image size.
    """
    from darl.data import evaluation_batches

    total, products, count, grid, pixels = torch.zeros(()), torch.zeros(()), 0, (0, 0), 1
    for images in evaluation_batches(dataset, dataset.train, batch_size=BATCH, device="cpu"):
        if count == 0:
            grid = grid_of((images.shape[2], images.shape[3]), patch_size)
            pixels = _averaged_side(patch_size, grid[0] * grid[1] * images.shape[1])
        x = patchify(F.avg_pool2d(images, patch_size // pixels), pixels).flatten(1).double()
        total, products, count = total + x.sum(0), products + x.T @ x, count + len(x)
    mean = total / count
    covariance = products / count - torch.outer(mean, mean)
    patches = grid[0] * grid[1]
    return PatchStatistics(covariance.view(patches, -1, patches, len(mean) // patches), grid, pixels)


def linear_errors(statistics: PatchStatistics, path: "Int[Tensor, ' patches']") -> "Float[Tensor, ' patches']":
    """The mean squared error of the best linear predictor at each step of an order.

    path: raster indices in the order of prediction, as `Order.permutation` gives them.
    """
    patches, values = statistics.covariance.shape[:2]
    permuted = statistics.covariance[path][:, :, path].reshape(patches * values, patches * values)
    factor = torch.linalg.cholesky(permuted + RIDGE * torch.eye(len(permuted)).double())
    blocks = factor.view(patches, values, patches, values).diagonal(dim1=0, dim2=2)
    return blocks.square().sum((0, 1)) / values - RIDGE


def unevenness(errors: "Float[Tensor, ' patches']") -> float:
    """The standard deviation of the steps' errors over their mean: 0 where all steps are equally hard."""
    return float(errors.std(correction=0) / errors.mean())


def _averaged_side(patch_size: int, planes: int) -> int:
    """The largest side to which patches can be averaged so that an image has at most `LARGEST_COVARIANCE` numbers.

    planes: patches times channels.
    """
    sides = [side for side in range(1, patch_size + 1) if patch_size % side == 0]
    return max((side for side in sides if planes * side**2 <= LARGEST_COVARIANCE), default=1)
