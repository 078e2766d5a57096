"""Protocols that judge frozen features by a simple classifier, and how they choose what to read.

Generative models often have their best features in the middle (iGPT, Chen et al. 2020; MIM-Refiner, Alkin et al. 2024),
and a mean over patches forgets where things are. So by default a protocol tries every block, with the model's own
pooling and with all tokens side by side, and chooses on training images alone: the validation images only give the
final figure. Raw pixels are read whole, so they keep their places as well.
"""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from darl.evaluation.pca import components_of
from darl.evaluation.pixels import measure_pixels
from darl.evaluation.protocol import Need, Pass, Protocol, Value
from darl.evaluation.subject import LARGEST, TOKENS, FeatureSource, Readout, Split, Subject, coarse_grid, spans
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from darl.data import Dataset
    from darl.model.config import ModelConfig

__all__ = ["FeatureProtocol", "feature_widths", "held_out_tenth", "one_hot", "ridge", "ridge_flops", "standardize"]


@dataclass(frozen=True, kw_only=True)
class FeatureProtocol(Protocol):
    """A protocol that reads features of labelled images.

    block: after how many blocks the tokens are read: a number, `last`, `lastK` (the last K side by side, as DINO's
    linear probe has them), or `best` of all numbers. readout: `mean` or `last` (of the patch tokens), `tokens` (side by
    side), `pca` or `pcaN` (at most 256 or N principal components of these, fitted on training images), or `best`, which
    is the model's own pooling or `tokens`. Of raw pixels, `pca` takes the components, too. mask: `kept`, or `removed`
    to read without the causal mask.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.LABELS})
    encoder_alone: ClassVar[bool] = True
    block: str = "best"
    readout: str = "best"
    mask: str = "kept"

    def __post_init__(self) -> None:
        known = re.fullmatch(r"best|last\d*|\d+", self.block) is not None
        require(known, "protocol.block", "be the number of a block, last, lastK (as last4) or best", self.block)
        poolings = ("mean", "last", TOKENS, "best")
        is_known = self.readout in poolings or components_of(self.readout) is not None
        names = ", ".join((*poolings, "pca", "pcaN (as pca64)"))
        require(is_known, "protocol.readout", f"be one of {names}", self.readout)
        require(self.mask in ("kept", "removed"), "protocol.mask", "be kept or removed", self.mask)

    def passes(self) -> frozenset[Pass]:
        """One pass over each split gives the features of all blocks; the last evaluation reads the test images once."""
        output = f"features, mask {self.mask}"
        final = [Pass("test", f"{output}, as {self.kind} chose") for metric in self.gives if metric.tested]
        return frozenset({Pass("train", output), Pass("validation", output), *final})

    def check(self, config: "ModelConfig") -> None:
        """See `Protocol.check`."""
        spans(self.block, config.size.depth)

    def flops(self, dataset: "Dataset", config: "ModelConfig") -> float:
        """Of the classifiers on the model's features, and of those on raw pixels, fitted once for a data set."""
        pixels = min(LARGEST, config.channels * config.image_size[0] * config.image_size[1])
        pixels = min(pixels, components_of(self.readout) or pixels)
        return self.classifier_flops(dataset, feature_widths(config, self.block, self.readout)) + (
            self.classifier_flops(dataset, [pixels])
        )

    @abstractmethod
    def classifier_flops(self, dataset: "Dataset", widths: Sequence[int]) -> float:
        """Floating-point operations of the classifiers, among features of these widths to choose from."""

    def measure(self, subject: Subject) -> Mapping[str, Value]:
        """The model's passes follow autocast; classifiers are float32 in any case."""
        self.read(subject)  # the model's only passes
        with torch.autocast(subject.device.type, enabled=False):
            return self.judge(subject)

    def yardsticks(self, dataset: "Dataset", device: torch.device) -> Mapping[str, Value]:
        """See `Protocol.yardsticks`."""
        return measure_pixels(self, dataset, device)

    def read(self, subject: Subject) -> None:
        """Have the subject keep the features of all splits that `judge` reads."""
        readouts, masked = subject.candidates(self.block, self.readout), self.mask == "kept"
        splits: tuple[Split, ...] = ("train", "validation", "test") if subject.is_tested else ("train", "validation")
        for split in splits:
            subject.features(split, readouts, masked=masked)

    @abstractmethod
    def judge(self, source: FeatureSource) -> Mapping[str, Value]:
        """The metrics of a model's features, or of raw pixels, and what was chosen."""

    def features(self, source: FeatureSource) -> "dict[Readout, tuple[Tensor, Tensor]]":
        """For each readout to choose from, the features of the training and of the validation images."""
        readouts, masked = source.candidates(self.block, self.readout), self.mask == "kept"
        train = source.features("train", readouts, masked=masked)
        validation = source.features("validation", readouts, masked=masked)
        return {readout: (train[readout], validation[readout]) for readout in readouts}

    def test_features(self, source: FeatureSource, readout: Readout) -> "Float[Tensor, 'images width'] | None":
        """The features of the test images by the readout that was chosen; None where no final figures are due."""
        if not source.is_tested:
            return None
        return source.features("test", [readout], masked=self.mask == "kept")[readout]


def feature_widths(config: "ModelConfig", block: str, readout: str) -> list[int]:
    """The numbers of features of each readout that the options leave to choose from, of a model of this size."""
    rows, columns = coarse_grid(config.grid, config.size.width)
    blocks = int(block.removeprefix("last") or 1) if block.startswith("last") else 1
    pooled = blocks * config.size.width
    side_by_side = rows * columns * pooled
    each = {TOKENS: [side_by_side], "best": [pooled, side_by_side]}.get(readout, [pooled])
    if most := components_of(readout):
        each = [min(most, side_by_side)]
    return each * (config.size.depth if block == "best" else 1)


def held_out_tenth(y: "Int[Tensor, ' images']") -> "tuple[Int[Tensor, ' rest'], Int[Tensor, ' held']]":
    """Indices of nine tenths of the training images and of the other tenth, on which choices are made.

    The classes have the same shares in both. The split depends on the labels alone.
    """
    mixed = torch.randperm(len(y), generator=torch.Generator().manual_seed(0)).to(y.device)
    by_class = mixed[y[mixed].argsort(stable=True)]
    held = torch.arange(len(y), device=y.device) % 10 == 5
    return by_class[~held], by_class[held]


def standardize(x: "Float[Tensor, 'images width']", *others: Tensor) -> tuple[Tensor, ...]:
    """Features with mean 0 and deviation 1 over the images of `x`; `others` on the same scale."""
    std, mean = torch.std_mean(x, dim=0, correction=0)
    std = std.clamp(min=1e-6)
    return tuple((each - mean) / std for each in (x, *others))


def one_hot(y: "Int[Tensor, ' images']", classes: int) -> "Float[Tensor, 'images classes']":
    """1 for an image's class, 0 for the others, less the share of a class: targets of a ridge regression."""
    return torch.nn.functional.one_hot(y, classes).float() - 1 / classes


def ridge_flops(images: float, width: int, classes: int, penalties: int) -> float:
    """Floating-point operations of `ridge`: the products of all pairs, and a solution for each penalty."""
    small = min(images, width)
    return 2 * images * width * small + penalties * (2 / 3 * small**3 + 2 * images * width * classes)


def ridge(
    x: "Float[Tensor, '*draws images width']",
    targets: "Float[Tensor, '*draws images classes']",
    penalties: Sequence[float],
) -> "list[Float[Tensor, '*draws width classes']]":
    """Weights of ridge regressions in closed form, one for each penalty, relative to the features' mean squared length.

    It solves the smaller of the two equal systems, of images or of features.
    """
    images, width = x.shape[-2:]
    length = x.square().sum(-1).mean(-1)[..., None, None].clamp(min=1e-6)  # of constant features it is 0
    system, identity = (x @ x.mT if images <= width else x.mT @ x), torch.eye(min(images, width), device=x.device)
    if images <= width:
        return [x.mT @ torch.linalg.solve(system + penalty * length * identity, targets) for penalty in penalties]
    products = x.mT @ targets
    return [torch.linalg.solve(system + penalty * length * identity, products) for penalty in penalties]
