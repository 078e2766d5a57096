"""Linear heads that classify every pixel from frozen patch features, trained side by side.

As `BNHead` of facebookresearch/dinov2 (`dinov2/eval/segmentation/models/decode_heads/linear_head.py`; Oquab et al.
2023, arXiv 2304.07193, section 7.4): batch norm, a 1 × 1 convolution, and logits enlarged bilinearly to the mask, where
the cross-entropy is taken. Its optimiser too: AdamW with betas (0.9, 0.999), weight decay 1e-4 and a rate that falls
linearly to 0.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darl.data.dense.masked_images import IGNORED
from darl.evaluation.dense.segmenting.feature_maps import Batch, MaskedMaps
from darl.evaluation.dense.segmenting.mean_iou import confusion, mean_iou
from darl.randomness import generator, seed_of

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

__all__ = ["LinearHead", "count_pixels", "fit_heads", "judge_heads"]


class LinearHead(nn.Module):
    """Batch norm and a 1 × 1 convolution."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.linear = nn.Conv2d(width, classes, 1)
        self.linear.apply(_reset)

    def forward(self, maps: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch classes rows columns"]:
        """Class scores of patches."""
        return self.linear(self.norm(maps))


def _reset(linear: nn.Module) -> None:
    """mmsegmentation's initialisation of `cls_seg`."""
    for parameter in linear.parameters():
        nn.init.normal_(parameter, std=0.01) if parameter.ndim > 1 else nn.init.zeros_(parameter)


def fit_heads(
    epoch: Callable[[int], Iterator[Batch]],
    width: int,
    classes: int,
    *,
    epochs: int,
    steps: int,
    rates: Sequence[float],
    device: torch.device,
) -> list[LinearHead]:
    """A head for each peak learning rate, all from the same weights, in evaluation mode.

    Args:
        epoch: the batches of an epoch by its number; the masks of a batch are squares of one size.
        width: of a patch's features.
        classes: number of classes.
        epochs: number of epochs.
        steps: batches of an epoch.
        rates: the peak learning rates.
        device: where the batches are.

    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of("linear segmentation"))
        start = LinearHead(width, classes).to(device)
    heads = [copy.deepcopy(start) for _ in rates]
    groups = [{"params": [*head.parameters()], "lr": rate} for head, rate in zip(heads, rates, strict=True)]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, epochs * steps)
    with torch.enable_grad():
        for number in range(epochs):
            for maps, masks in epoch(number):
                true = torch.stack([*masks])
                if (true == IGNORED).all():
                    continue
                for head in heads:  # one after another: the enlarged logits of all of them may not fit
                    logits = F.interpolate(head(maps), true.shape[1:], mode="bilinear")
                    F.cross_entropy(logits, true, ignore_index=IGNORED).backward()
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
    return [head.eval() for head in heads]


def judge_heads(
    train: MaskedMaps, validation: MaskedMaps, classes: int, *, epochs: int, batch_size: int, rates: Sequence[float]
) -> tuple[float, float, float]:
    """mIoU on a held-out tenth of the training images and on the validation images of the best head, and its rate.

    The best of the heads, one for each peak learning rate, is the one with the highest mIoU on that tenth, which they
    are not trained on. The arguments are those of `fit_heads`.
    """
    count = len(train.split)
    mixed = torch.randperm(count, generator=generator("held-out masks"))
    held, rest = mixed[::10], mixed[torch.arange(count) % 10 != 0]
    batch = min(batch_size, len(rest))
    steps = len(rest) // batch

    def epoch(number: int) -> Iterator[Batch]:
        order = torch.randperm(len(rest), generator=generator("order of masks", number))
        yield from train.chosen(rest[order[: steps * batch]], batch)

    device = train.setting.device
    heads = fit_heads(epoch, train.width, classes, epochs=epochs, steps=steps, rates=rates, device=device)
    scores = [mean_iou(matrix) for matrix in count_pixels(heads, train.chosen(held, batch), classes)]
    best = scores.index(max(scores))
    (matrix,) = count_pixels([heads[best]], validation.whole(), classes)
    return scores[best], mean_iou(matrix), rates[best]


@torch.no_grad()
def count_pixels(
    heads: Sequence[LinearHead], batches: Iterable[Batch], classes: int
) -> list[Int64[Tensor, "classes classes"]]:
    """The confusion matrix of each head over all masks, each in its own size."""
    matrices = [torch.zeros(classes, classes, dtype=torch.int64) for _ in heads]
    for maps, masks in batches:
        for matrix, head in zip(matrices, heads, strict=True):
            for logits, mask in zip(head(maps).split(1), masks, strict=True):
                predicted = F.interpolate(logits, mask.shape, mode="bilinear")[0].argmax(0)
                matrix += confusion(predicted.flatten(), mask.flatten(), classes).cpu()
    return matrices
