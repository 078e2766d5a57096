"""Linear probe: multinomial logistic regression on the frozen features."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.evaluation.accuracy import accuracies, best_classes
from darl.evaluation.feature_protocol import FeatureProtocol, held_out_tenth, one_hot, ridge, ridge_flops, standardize
from darl.evaluation.protocol import Pass, Value
from darl.evaluation.subject import FeatureSource, Readout, Subject
from darl.metrics import ENLARGED_PROBE, OVER_IMAGES, PROBE, Metric
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from darl.data import Dataset

__all__ = ["PENALTIES", "LinearProbe", "LinearProtocol", "best_penalty", "enlarged_size", "held_out_ridge"]

ENLARGEMENT = 1.5

PENALTIES = tuple(10.0 ** (power / 2) for power in range(0, -15, -1))
"""From 1 to 1e-7: 15 values, two a decade. In scikit-learn's terms C = 1 / (2 · penalty · images)."""

PATH_ITERATIONS = 50
"""Most iterations for each penalty that is tried; its start is the solution of the one before."""

USUAL_ITERATIONS = 50
"""L-BFGS iterations that a fit is taken to need, in estimates of cost."""

RIDGE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

CHOSEN_ON = 10_000
"""Most training images on which block, readout and penalty are chosen, and most held-out images."""


def enlarged_size(image_size: int, patch_size: int) -> int:
    """1.5 times the image size, rounded up to whole patches: 12 for 8, 48 for 32, 336 for 224 pixels."""
    return math.ceil(ENLARGEMENT * image_size / patch_size) * patch_size


@dataclass(frozen=True, kw_only=True)
class LinearProtocol(FeatureProtocol):
    """Top-1 of a linear classifier on the frozen features, in [0, 1].

    With its 95 % interval over images, its mean over classes and, with more than 10 classes, top-5.

    Block, readout and penalty are chosen on a held-out tenth of the training images: block and readout by a ridge
    regression's error, since it is solved in closed form, then the penalty by the probe's own cross-entropy. The
    probe with that penalty is then fitted to all training images.

    penalty: L2 penalty on the weights, or `best` of 15. iterations: the most iterations of L-BFGS. enlarged: whether
    the probe is also tested on validation images enlarged 1.5 times (`probe_top1_enlarged`).
    """

    kind: ClassVar[str] = "linear"
    gives: ClassVar[tuple[Metric, ...]] = (PROBE, *OVER_IMAGES[PROBE.column], ENLARGED_PROBE)
    chooses: ClassVar[tuple[str, ...]] = ("probe_readout",)
    penalty: str = "best"
    iterations: int = 200
    enlarged: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        valid = self.penalty == "best" or _number(self.penalty) >= 0
        require(valid, "protocol.penalty", "be 0 or more, or best", self.penalty)
        require(self.iterations >= 1, "protocol.iterations", "be at least 1", self.iterations)

    def passes(self) -> frozenset[Pass]:
        """An enlarged image costs as much more as its area is larger."""
        enlarged = {Pass("validation", f"enlarged features, mask {self.mask}", ENLARGEMENT**2)}
        return super().passes() | enlarged if self.enlarged else super().passes()

    def classifier_flops(self, dataset: "Dataset", widths: Sequence[int]) -> float:
        """See `FeatureProtocol`. L-BFGS passes its images forward and back in each iteration, 6 × width × classes.

        It is taken to make `USUAL_ITERATIONS` for the penalty and as many for the final probe.
        """
        images, classes = len(dataset.train), dataset.class_count
        choosing = min(images, CHOSEN_ON)
        ridges = sum(ridge_flops(choosing, width, classes, len(RIDGE_PENALTIES)) for width in widths)
        width = sum(widths) / len(widths)
        path = min(PATH_ITERATIONS, USUAL_ITERATIONS) * len(PENALTIES) * choosing if self.penalty == "best" else 0
        probe = 6 * width * classes * (path + min(self.iterations, USUAL_ITERATIONS) * images)
        return (ridges if len(widths) > 1 else 0.0) + probe

    def measure(self, subject: Subject) -> Mapping[str, Value]:
        """The model's passes follow autocast; the probe is float32 in any case."""
        larger = None
        if self.enlarged:
            size = enlarged_size(subject.model.image_size[0], subject.model.patch_size)
            readouts = subject.candidates(self.block, self.readout)
            larger = subject.features("validation", readouts, masked=self.mask == "kept", size=size)
        self.read(subject)
        with torch.autocast(subject.device.type, enabled=False):
            readout, probe, result = self.fit(subject)
            if larger is not None:
                result[ENLARGED_PROBE.column] = probe.top1(larger[readout], subject.labels("validation"))
        return result

    def judge(self, source: FeatureSource) -> Mapping[str, Value]:
        """See `FeatureProtocol.judge`."""
        return self.fit(source)[2]

    def fit(self, source: FeatureSource) -> tuple[Readout, "LinearProbe", dict[str, Value]]:
        """The chosen readout, the probe on it, and the columns that they give."""
        y, classes, features = source.labels("train"), source.classes, self.features(source)
        errors = {
            readout: held_out_ridge(x, y, classes).error if len(features) > 1 else 0.0
            for readout, (x, _) in features.items()
        }
        readout = min(features, key=lambda each: errors[each])
        x, test_x = features[readout]
        penalty, start = best_penalty(x, y, classes) if self.penalty == "best" else (float(self.penalty), None)
        probe = LinearProbe.fit(x, y, classes, penalty=penalty, iterations=self.iterations, start=start)
        measured = accuracies(best_classes(probe.scores(test_x)), source.labels("validation"), classes, "probe")
        if (final_x := self.test_features(source, readout)) is not None:
            measured[PROBE.test_column] = probe.top1(final_x, source.labels("test"))
        return readout, probe, {**measured, "probe_readout": f"{readout}, penalty {penalty:.3g}"}


def best_penalty(
    x: "Float[Tensor, 'images width']", y: "Int[Tensor, ' images']", classes: int
) -> "tuple[float, LinearProbe]":
    """The one of `PENALTIES` whose probe has the least cross-entropy on a held-out tenth, and that probe.

    Of more than 10,000 images in the other nine tenths, as many fit these probes; the penalty for all images is smaller
    in proportion, so that scikit-learn's C stays the same.

    From the strongest on, each fit starts from the one before. Once three in a row have been worse than the best, the
    weaker ones are left out: they overfit more.
    """
    every, held = held_out_tenth(y)
    rest, held = _thinned(every), _thinned(held)
    losses, probes = list[float](), list[LinearProbe]()
    for probe in LinearProbe.fits(x[rest], y[rest], classes, PENALTIES, iterations=PATH_ITERATIONS):
        losses.append(F.cross_entropy(probe.scores(x[held]), y[held]).item())
        probes.append(probe)
        if min(losses) < min(losses[-3:]):
            break
    best = losses.index(min(losses))
    return PENALTIES[best] * len(rest) / len(every), probes[best]


class HeldOut(NamedTuple):
    """What a ridge regression makes of the held-out images."""

    error: float
    """Its mean squared error on one-hot targets: what block and readout are chosen by."""
    top1: float


def held_out_ridge(x: "Float[Tensor, 'images width']", y: "Int[Tensor, ' images']", classes: int) -> HeldOut:
    """The ridge regression with the least squared error on a held-out tenth, over `RIDGE_PENALTIES`."""
    rest, held = map(_thinned, held_out_tenth(y))
    fit_x, held_x = standardize(x[rest], x[held])
    targets, held_targets = one_hot(y[rest], classes), one_hot(y[held], classes)
    scores = [held_x @ weights for weights in ridge(fit_x, targets, RIDGE_PENALTIES)]
    errors = [(each - held_targets).square().mean().item() for each in scores]
    best = min(range(len(errors)), key=errors.__getitem__)
    return HeldOut(errors[best], (scores[best].argmax(1) == y[held]).double().mean().item())


def _thinned(indices: Tensor) -> Tensor:
    """At most `CHOSEN_ON` of the indices, evenly spaced: they are sorted by class."""
    return indices[:: math.ceil(len(indices) / CHOSEN_ON)]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Multinomial logistic regression on standardised features."""

    mean: "Float[Tensor, ' width']"
    std: "Float[Tensor, ' width']"
    weight: "Float[Tensor, 'width classes']"
    bias: "Float[Tensor, ' classes']"

    @classmethod
    def fit(
        cls,
        x: "Float[Tensor, 'images width']",
        y: "Int[Tensor, ' images']",
        classes: int,
        *,
        penalty: float = 1e-4,
        iterations: int = 200,
        start: "LinearProbe | None" = None,
    ) -> "LinearProbe":
        """The probe with one penalty: see `fits`."""
        return next(cls.fits(x, y, classes, [penalty], iterations=iterations, start=start))

    @classmethod
    def fits(
        cls,
        x: "Float[Tensor, 'images width']",
        y: "Int[Tensor, ' images']",
        classes: int,
        penalties: Iterable[float],
        *,
        iterations: int = 200,
        start: "LinearProbe | None" = None,
    ) -> "Iterator[LinearProbe]":
        """A probe for each L2 penalty on the weights, each started from the one before, the first one from `start`.

        Full-batch L-BFGS: convex and deterministic, with no learning rate to tune. `start` is a probe of similar
        features; zero by default.
        """
        std, mean = torch.std_mean(x, dim=0, correction=0)
        std = std.clamp(min=1e-6)
        columns = ((x - mean) / std).T.contiguous()  # a few classes times many images multiply fastest this way round
        weight, bias = x.new_zeros(classes, x.shape[1]), x.new_zeros(classes, 1)
        if start is not None:
            weight, bias = start.weight.T.contiguous(), start.bias.unsqueeze(1)
        for penalty in penalties:
            weight, bias = _minimized(columns, y, weight, bias, penalty, iterations)
            yield cls(mean, std, weight.T, bias.flatten())

    def scores(self, x: "Float[Tensor, 'images width']") -> "Float[Tensor, 'images classes']":
        """Logits."""
        return torch.addmm(self.bias, (x - self.mean) / self.std, self.weight)

    def top1(self, x: "Float[Tensor, 'images width']", y: "Int[Tensor, ' images']") -> float:
        """The fraction of images whose class has the highest score, in [0, 1]."""
        return (self.scores(x).argmax(1) == y).double().mean().item()


def _minimized(
    x: "Float[Tensor, 'width images']",
    y: "Int[Tensor, ' images']",
    weight: "Float[Tensor, 'classes width']",
    bias: "Float[Tensor, 'classes 1']",
    penalty: float,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    """Weights and biases of the least penalised cross-entropy, from the given ones on."""
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe", tolerance_change=1e-7
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(torch.addmm(bias, weight, x).T, y) + penalty * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    return weight.detach(), bias.detach()
