"""Mean intersection over union, by a confusion matrix over a whole data set (Long et al. 2015, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from darl.data.dense.masked_images import IGNORED

if TYPE_CHECKING:
    from jaxtyping import Int64

__all__ = ["confusion", "mean_iou"]


def confusion(
    predicted: Int64[Tensor, " pixels"], true: Int64[Tensor, " pixels"], classes: int
) -> Int64[Tensor, "classes classes"]:
    """How many pixels of each true class (rows) were given each class (columns). Ignored pixels do not count."""
    counted = true != IGNORED
    pairs = true[counted] * classes + predicted[counted]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def mean_iou(matrix: Int64[Tensor, "classes classes"]) -> float:
    """The mean over classes of intersection / union, in [0, 1].

    Classes that are neither in the masks nor predicted do not count, as in mmsegmentation and scikit-learn's
    `jaccard_score(average="macro")`.
    """
    both = matrix.diagonal().double()
    union = matrix.sum(0) + matrix.sum(1) - both
    return (both[union > 0] / union[union > 0]).mean().item()
