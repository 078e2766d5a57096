"""The accuracies of one classifier on one split: top-1 with its interval, balanced accuracy, top-5."""

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from darl.evaluation.protocol import Value

__all__ = ["MANY", "accuracies", "best_classes", "half_width"]

MANY = 10
"""Most classes without a top-5."""


def best_classes(scores: "Float[Tensor, 'images classes']") -> "Int[Tensor, 'images best']":
    """The classes of the highest scores, highest first: one of up to 10 classes, five of more.

    Of equal scores the class with the smaller number comes first, as `argmax` has it.
    """
    if scores.shape[1] <= MANY:
        return scores.argmax(1, keepdim=True)
    return scores.sort(dim=1, descending=True, stable=True).indices[:, :5]


def accuracies(
    best: "Int[Tensor, 'images best']", y: "Int[Tensor, ' images']", classes: int, prefix: str
) -> "dict[str, Value]":
    """What a classifier's `best_classes` are worth, by column; fractions in [0, 1].

    `PREFIX_top1`; `PREFIX_half_width`, of its 95 % interval over test images; `PREFIX_balanced_top1`, the mean over the
    classes that occur of the fraction of their images that are right; `PREFIX_top5`, None with up to 10 classes.
    """
    right = best[:, 0] == y
    count = int(right.sum())
    return {
        f"{prefix}_top1": count / len(y),
        f"{prefix}_half_width": half_width(count, len(y)),
        f"{prefix}_balanced_top1": _balanced(right, y, classes),
        f"{prefix}_top5": (best == y[:, None]).any(1).double().mean().item() if classes > MANY else None,
    }


def half_width(right: int, images: int) -> float:
    """Half the width of Wilson's 95 % interval (1927) of a fraction of images.

    Other than the normal one, it covers what it says also near 0 and 1 and for few images (Brown, Cai and DasGupta
    2001). It is about the test images only: another seed's training is not in it.
    """
    from scipy import stats  # takes half a second to import

    interval = stats.binomtest(right, images).proportion_ci(method="wilson")
    return float(interval.high - interval.low) / 2


def _balanced(right: Tensor, y: Tensor, classes: int) -> float:
    known = max(classes, int(y.max()) + 1)  # of test images there may be a class that no other split has
    every, hits = y.bincount(minlength=known), y[right].bincount(minlength=known)
    occurs = every > 0
    return (hits[occurs].double() / every[occurs]).mean().item()
