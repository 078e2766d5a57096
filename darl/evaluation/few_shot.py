"""Few labels: ridge regression on the frozen features of 5 or 10 labelled images of each class."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from darl.evaluation.feature_protocol import FeatureProtocol, one_hot, ridge, ridge_flops, standardize
from darl.evaluation.protocol import Value
from darl.evaluation.subject import FeatureSource, Readout
from darl.metrics import FEW_SHOT_5, FEW_SHOT_10, FEW_SHOT_WIDTHS, Metric
from darl.randomness import seed_of
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from darl.data import Dataset

__all__ = ["FewShotProtocol", "draw_labelled"]

PENALTIES = (0.01, 0.1, 1.0, 10.0)

CHOSEN_ON = 10_000
"""Most training images, beside the labelled ones, on which readout and penalty are chosen."""


@dataclass(frozen=True, kw_only=True)
class FewShotProtocol(FeatureProtocol):
    """Top-1 with 5 and with 10 labelled images of each class, in [0, 1]: means over several draws of these images.

    The classifier is a ridge regression on one-hot targets, on features standardised by all training images. Block,
    readout and one of four penalties are the ones that classify the other training images best, so that choice sees
    more labels than the classifier. Every model is judged on the same draws. draws: their number.
    """

    kind: ClassVar[str] = "few_shot"
    gives: ClassVar[tuple[Metric, ...]] = (FEW_SHOT_5, FEW_SHOT_10, *FEW_SHOT_WIDTHS.values())
    chooses: ClassVar[tuple[str, ...]] = ("few_shot_5_readout", "few_shot_10_readout")
    draws: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.draws >= 2, "protocol.draws", "be at least 2", self.draws)

    def classifier_flops(self, dataset: "Dataset", widths: Sequence[int]) -> float:
        """See `FeatureProtocol`: ridge regressions on the drawn images, and each one's scores of the others."""
        classes, others = dataset.class_count, min(len(dataset.train), CHOSEN_ON)
        scored = len(PENALTIES) * (others + len(dataset.validation))
        return self.draws * sum(
            ridge_flops(labels * classes, width, classes, len(PENALTIES)) + 2 * scored * width * classes
            for labels in (5, 10)
            for width in widths
        )

    def judge(self, source: FeatureSource) -> Mapping[str, Value]:
        """The mean over the draws, and half the width of its 95 % interval."""
        sets = self.features(source)
        result: dict[str, Value] = {}
        for labels, metric in ((5, FEW_SHOT_5), (10, FEW_SHOT_10)):
            chosen = self._chosen(source, sets, labels)
            x, *others = sets[chosen.readout]
            if metric.tested and (final_x := self.test_features(source, chosen.readout)) is not None:
                others.append(final_x)
            _, test_x, *final = standardize(x, *others)
            each = _right(test_x, chosen.weights, source.labels("validation")).tolist()
            result[metric.column] = statistics.fmean(each)
            result[FEW_SHOT_WIDTHS[metric.column].column] = _half_width(each)
            result[f"few_shot_{labels}_readout"] = f"{chosen.readout}, penalty {chosen.penalty:g}"
            if final:
                result[metric.test_column] = _right(final[0], chosen.weights, source.labels("test")).mean().item()
        return result

    def _chosen(self, source: FeatureSource, sets: Mapping[Readout, tuple[Tensor, ...]], labels: int) -> "_Choice":
        """What classifies the training images best that no draw has."""
        y, classes = source.labels("train"), source.classes
        drawn = draw_labelled(y, classes, labels, self.draws)
        others, targets = _others(y, drawn), one_hot(y[drawn], classes)
        best, choice = -1.0, None
        for readout, (raw_x, _) in sets.items():
            (x,) = standardize(raw_x)
            for penalty, weights in zip(PENALTIES, ridge(x[drawn], targets, PENALTIES), strict=True):
                chosen_by = _right(x[others], weights, y[others]).mean().item()
                if chosen_by > best:
                    best, choice = chosen_by, _Choice(readout, penalty, weights)
        assert choice is not None
        return choice


class _Choice(NamedTuple):
    readout: Readout
    penalty: float
    weights: Tensor
    """(draws, width, classes)."""


def draw_labelled(y: "Int[Tensor, ' images']", classes: int, labels: int, draws: int) -> "Int[Tensor, 'draws drawn']":
    """Indices of `labels` training images of each class for each draw; all of a class that has fewer, repeated."""
    known, rows = y.cpu().numpy(), list[list[int]]()
    for draw in range(draws):
        random = np.random.default_rng(seed_of("few labels", labels, draw))
        each = [random.permutation(np.flatnonzero(known == label)) for label in range(classes)]
        rows.append([int(index) for members in each if len(members) for index in np.resize(members, labels)])
    return torch.tensor(rows, device=y.device)


def _others(y: Tensor, drawn: Tensor) -> Tensor:
    """Indices of at most `CHOSEN_ON` training images that no draw has; all images where every one was drawn."""
    left = torch.ones(len(y), dtype=torch.bool, device=y.device)
    left[drawn.flatten()] = False
    others = left.nonzero().flatten()
    others = others if len(others) else torch.arange(len(y), device=y.device)
    mixed = torch.randperm(len(others), generator=torch.Generator().manual_seed(0))[:CHOSEN_ON]
    return others[mixed.to(y.device)]


def _right(
    x: "Float[Tensor, 'images width']", weights: "Float[Tensor, 'draws width classes']", y: "Int[Tensor, ' images']"
) -> "Float[Tensor, ' draws']":
    """The fraction of images that each draw's classifier gets right."""
    return ((x @ weights).argmax(-1) == y).float().mean(-1)


def _half_width(values: list[float]) -> float:
    """Half the 95 % t interval of the mean."""
    from scipy import stats  # takes half a second to import

    return float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
