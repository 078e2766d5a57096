"""Nearest neighbours on the frozen readout."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.evaluation.protocol import READOUTS, Need, Pass, Protocol
from darl.evaluation.subject import BATCH, Subject
from darl.metrics import KNN, Metric
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["KnnProtocol", "knn"]

LARGEST_EXPONENT = 80.0
"""Thousands of weights exp(80) can be added in float32."""


@dataclass(frozen=True, kw_only=True)
class KnnProtocol(Protocol):
    """Top-1 of the weighted nearest training images by cosine, in [0, 1]. The defaults are DINO's.

    neighbours: the number that vote. temperature: each votes with weight exp(cosine / temperature).
    """

    kind: ClassVar[str] = "knn"
    gives: ClassVar[tuple[Metric, ...]] = (KNN,)
    needs: ClassVar[frozenset[Need]] = frozenset({Need.LABELS})
    neighbours: int = 20
    temperature: float = 0.07

    def __post_init__(self) -> None:
        require(self.neighbours >= 1, "protocol.neighbours", "be at least 1", self.neighbours)
        require(self.temperature > 0, "protocol.temperature", "be positive", self.temperature)

    def passes(self) -> frozenset[Pass]:
        """The readouts of both splits."""
        return READOUTS

    def measure(self, subject: Subject) -> Mapping[str, float]:
        """The readouts follow autocast; the vote is float32 in any case."""
        sets = (*subject.readouts("train"), *subject.readouts("validation"))
        with torch.autocast(subject.device.type, enabled=False):
            score = knn(*sets, subject.classes, neighbours=self.neighbours, temperature=self.temperature)
        return {KNN.column: score}


def knn(
    train_x: "Float[Tensor, 'images width']",
    train_y: "Int[Tensor, ' images']",
    test_x: "Float[Tensor, 'others width']",
    test_y: "Int[Tensor, ' others']",
    classes: int,
    *,
    neighbours: int = 20,
    temperature: float = 0.07,
) -> float:
    """Top-1 of the weighted nearest neighbours by cosine, in [0, 1] (Wu et al. 2018; DINO's settings)."""
    train_x, test_x = F.normalize(train_x, dim=1), F.normalize(test_x, dim=1)
    right = 0
    for x, y in zip(test_x.split(BATCH), test_y.split(BATCH), strict=True):
        similarity, index = (x @ train_x.T).topk(min(neighbours, len(train_x)), dim=1)
        exponent = similarity / temperature
        # a common factor of an image's weights changes no vote: it keeps them finite, and is 1 wherever they are
        exponent = exponent - (exponent.amax(1, keepdim=True) - LARGEST_EXPONENT).clamp(min=0)
        votes = (F.one_hot(train_y[index], classes) * exponent.exp().unsqueeze(-1)).sum(1)
        right += int((votes.argmax(1) == y).sum())
    return right / len(test_y)
