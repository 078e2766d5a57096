"""Nearest neighbours on the frozen features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.evaluation.accuracy import accuracies, best_classes
from darl.evaluation.feature_protocol import FeatureProtocol
from darl.evaluation.protocol import Value
from darl.evaluation.subject import BATCH, FeatureSource
from darl.metrics import KNN, KNN_10, OVER_IMAGES, Metric
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from darl.data import Dataset

__all__ = ["KnnProtocol", "classify", "knn"]

LARGEST_EXPONENT = 80.0
"""Thousands of weights exp(80) can be added in float32."""

CHUNK = 65_536
"""Training images whose similarities are held at a time."""

QUERIES = 2_000
"""Most training images that choose block and readout."""


@dataclass(frozen=True, kw_only=True)
class KnnProtocol(FeatureProtocol):
    """Top-1 of the weighted nearest training images by cosine, in [0, 1]. The defaults are DINO's.

    With its 95 % interval over images, its mean over classes and, with more than 10 classes, top-5.

    Block and readout are the ones whose neighbours classify 2,000 training images best, each among all the others.

    neighbours: the number that vote; half as many for `knn10_top1`. temperature: each votes with weight
    exp(cosine / temperature).
    """

    kind: ClassVar[str] = "knn"
    gives: ClassVar[tuple[Metric, ...]] = (KNN, KNN_10, *OVER_IMAGES[KNN.column])
    chooses: ClassVar[tuple[str, ...]] = ("knn_readout",)
    neighbours: int = 20
    temperature: float = 0.07

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.neighbours >= 1, "protocol.neighbours", "be at least 1", self.neighbours)
        require(self.temperature > 0, "protocol.temperature", "be positive", self.temperature)

    def classifier_flops(self, dataset: "Dataset", widths: Sequence[int]) -> float:
        """See `FeatureProtocol`: 2 × width for each pair of images that are compared."""
        train, validation = len(dataset.train), len(dataset.validation)
        choosing = min(train, QUERIES) * sum(widths) if len(widths) > 1 else 0
        return 2.0 * train * (choosing + validation * sum(widths) / len(widths))

    def judge(self, source: FeatureSource) -> Mapping[str, Value]:
        """See `FeatureProtocol.judge`."""
        y, test_y, classes = source.labels("train"), source.labels("validation"), source.classes
        features = self.features(source)
        counts = (self.neighbours, max(1, self.neighbours // 2))
        if len(features) == 1:
            readout = next(iter(features))
        else:
            queries = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:QUERIES].to(y.device)

            def score(x: Tensor) -> float:
                own = {"neighbours": counts[:1], "temperature": self.temperature, "own": queries}
                return knn(x, y, x[queries], y[queries], classes, **own)[0]

            readout = max(features, key=lambda each: score(features[each][0]))
        x, test_x = features[readout]
        found = classify(x, y, test_x, classes, neighbours=counts, temperature=self.temperature)
        usual, fewer = (accuracies(best, test_y, classes, "knn") for best in found)
        if (final_x := self.test_features(source, readout)) is not None:
            own = {"neighbours": counts[:1], "temperature": self.temperature}
            usual[KNN.test_column] = knn(x, y, final_x, source.labels("test"), classes, **own)[0]
        return {**usual, KNN_10.column: fewer[KNN.column], "knn_readout": str(readout)}


def knn(
    train_x: "Float[Tensor, 'images width']",
    train_y: "Int[Tensor, ' images']",
    test_x: "Float[Tensor, 'others width']",
    test_y: "Int[Tensor, ' others']",
    classes: int,
    *,
    neighbours: Sequence[int] = (20,),
    temperature: float = 0.07,
    own: "Int[Tensor, ' others'] | None" = None,
) -> list[float]:
    """Top-1 of the weighted nearest neighbours by cosine, in [0, 1], for each number of neighbours: see `classify`."""
    found = classify(train_x, train_y, test_x, classes, neighbours=neighbours, temperature=temperature, own=own)
    return [(best[:, 0] == test_y).double().mean().item() for best in found]


def classify(
    train_x: "Float[Tensor, 'images width']",
    train_y: "Int[Tensor, ' images']",
    test_x: "Float[Tensor, 'others width']",
    classes: int,
    *,
    neighbours: Sequence[int] = (20,),
    temperature: float = 0.07,
    own: "Int[Tensor, ' others'] | None" = None,
) -> "list[Int[Tensor, 'others best']]":
    """The classes with most votes of the nearest neighbours by cosine, for each number of neighbours.

    Wu et al. 2018, with DINO's weights. The columns are those of `best_classes`; -1 where no other class has a vote.
    Beside its arguments and this result it holds normalised copies of, and the similarities between, no more than 512
    test and 65,536 training images at a time.

    own: for test images that are training images, their index there: no image is its own neighbour.
    """
    found: list[list[Tensor]] = [[] for _ in neighbours]
    for start in range(0, len(test_x), BATCH):
        rows = slice(start, start + BATCH)
        x = F.normalize(test_x[rows], dim=1)
        similarity, index = _nearest(train_x, x, max(neighbours), None if own is None else own[rows])
        exponent = similarity / temperature
        # a common factor of an image's weights changes no vote: it keeps them finite, and is 1 wherever they are
        exponent = exponent - (exponent.amax(1, keepdim=True) - LARGEST_EXPONENT).clamp(min=0)
        votes = F.one_hot(train_y[index], classes) * exponent.exp().unsqueeze(-1)
        for each, count in zip(found, neighbours, strict=True):
            scores = votes[:, :count].sum(1)
            best = best_classes(scores)
            each.append(best.where(scores.gather(1, best) > 0, -1))
    return [torch.cat(each) for each in found]


def _nearest(
    train_x: Tensor, x: "Float[Tensor, 'rows width']", count: int, own: Tensor | None
) -> "tuple[Float[Tensor, 'rows count'], Int[Tensor, 'rows count']]":
    """The cosines of the nearest training images, largest first, and the images' indices. `x` is normalised."""
    best, index = x.new_empty(len(x), 0), torch.empty(len(x), 0, dtype=torch.long, device=x.device)
    for start in range(0, len(train_x), CHUNK):
        similarity = x @ F.normalize(train_x[start : start + CHUNK], dim=1).T
        if own is not None:
            row = ((own >= start) & (own < start + CHUNK)).nonzero().flatten()
            similarity[row, own[row] - start] = -torch.inf
        here, at = similarity.topk(min(count, similarity.shape[1]), dim=1)
        best, index = torch.cat([best, here], 1), torch.cat([index, at + start], 1)
        best, order = best.topk(min(count, best.shape[1]), dim=1)
        index = index.gather(1, order)
    return best, index
