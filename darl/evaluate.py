"""What a model has learned: linear probe and kNN on frozen features, and a loss that schedules cannot bend.

Losses under different noise schedules are not comparable: the noisier the schedule, the larger the loss of the same
model. Comparable are the accuracy of simple classifiers on the frozen readout, and the denoising error on one fixed
grid of signal fractions with fixed noise, whatever the model was trained with. All of it is deterministic.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.data import Dataset, Images, Stream, evaluation_batches
from darl.model import Darl
from darl.objective import GAMMA_GRID, Corruption, gamma_column
from darl.randomness import draw_rows

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = [
    "LinearProbe",
    "Measures",
    "denoising_losses",
    "enlarged_size",
    "evaluate",
    "evenly",
    "knn",
    "readouts",
]

BATCH = 512
"""Images at a time."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What `evaluate` measures: all but `enlarged`, or less where that is enough."""

    losses: bool = True
    knn: bool = True
    linear: bool = True
    enlarged: bool = False
    """The linear probe also on larger validation images; see `enlarged_size`."""

    @classmethod
    def only(cls, metric: str) -> "Measures":
        """What one metric needs: `val_loss`, `knn_top1` or `probe_top1`."""
        return cls(losses=metric == "val_loss", knn=metric == "knn_top1", linear=metric == "probe_top1")


def evenly(epochs: int, count: int, measures: Measures = Measures()) -> dict[int, Measures]:
    """At most `count` epochs to evaluate at, evenly spaced, the last one among them."""
    return {math.ceil(epochs * (index + 1) / count): measures for index in range(count)}


def enlarged_size(image_size: int, patch_size: int) -> int:
    """1.5 times the size in training, in whole patches: 8 to 12, 32 to 48, 224 to 336."""
    return -(-3 * image_size // (2 * patch_size)) * patch_size


def evaluate(
    model: Darl,
    dataset: Dataset,
    *,
    device: torch.device,
    measures: Measures = Measures(),
) -> dict[str, float | None]:
    """`probe_top1` and `knn_top1` in [0, 1], `val_loss` and one loss per gamma of the grid, `probe_top1_enlarged`.

    None where something is not measured, or cannot be for want of labels. Under autocast the model's passes follow it;
    the probes are float32 in any case.
    """
    result: dict[str, float | None] = dict.fromkeys(
        ("val_loss", *map(gamma_column, GAMMA_GRID), "probe_top1", "knn_top1", "probe_top1_enlarged")
    )
    with _evaluating(model):
        if measures.losses:
            losses = denoising_losses(model, dataset, device=device)
            result["val_loss"] = sum(losses.values()) / len(losses)
            result |= {gamma_column(gamma): loss for gamma, loss in losses.items()}
        labelled = dataset.train.labels is not None and dataset.validation.labels is not None
        if labelled and (measures.knn or measures.linear):
            result |= _probes(model, dataset, device, measures)
    return result


def _probes(model: Darl, dataset: Dataset, device: torch.device, measures: Measures) -> dict[str, float]:
    x, y = readouts(model, dataset, dataset.train, device=device)
    test_x, test_y = readouts(model, dataset, dataset.validation, device=device)
    classes = int(max(y.max(), test_y.max())) + 1
    result: dict[str, float] = {}
    with torch.autocast(device.type, enabled=False):
        if measures.knn:
            result["knn_top1"] = knn(x, y, test_x, test_y, classes)
        if measures.linear:
            probe = LinearProbe.fit(x, y, classes)
            result["probe_top1"] = probe.top1(test_x, test_y)
    if measures.linear and measures.enlarged:
        size = enlarged_size(model.image_size[0], model.patch_size)
        larger_x, _ = readouts(model, dataset, dataset.validation, device=device, size=size)
        with torch.autocast(device.type, enabled=False):
            result["probe_top1_enlarged"] = probe.top1(larger_x, test_y)
    return result


def readouts(
    model: Darl, dataset: Dataset, split: Images | Stream, *, device: torch.device, size: int | None = None
) -> "tuple[Float[Tensor, 'images width'], Int[Tensor, ' images']]":
    """The frozen readout of every image of a split, and its label, on the device; images resized to `size` if given."""
    features: list[Tensor] = []
    with torch.no_grad(), _evaluating(model):
        for images in evaluation_batches(dataset, split, batch_size=BATCH, device=device):
            if size is not None:
                images = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True)
            features.append(model.forward_head(model.forward_features(images), pre_logits=True).float())
    x = torch.cat(features)
    if not x.isfinite().all():
        raise ArithmeticError("the features are not finite: training has diverged; try a lower learning rate")
    assert split.labels is not None
    return x, torch.tensor(split.labels, device=device)


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
        iterations: int = 100,
    ) -> "LinearProbe":
        """Full-batch L-BFGS from zero with an L2 penalty: convex and deterministic, with no learning rate to tune."""
        std, mean = torch.std_mean(x, dim=0, correction=0)
        std = std.clamp(min=1e-6)
        x = (x - mean) / std
        weight = torch.zeros(x.shape[1], classes, device=x.device, requires_grad=True)
        bias = torch.zeros(classes, device=x.device, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe", tolerance_change=1e-7
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(torch.addmm(bias, x, weight), y) + penalty * weight.square().sum()
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(closure)  # pyright: ignore[reportArgumentType]
        return cls(mean, std, weight.detach(), bias.detach())

    def top1(self, x: "Float[Tensor, 'images width']", y: "Int[Tensor, ' images']") -> float:
        """The fraction of images whose class has the highest score, in [0, 1]."""
        scores = torch.addmm(self.bias, (x - self.mean) / self.std, self.weight)
        return (scores.argmax(1) == y).double().mean().item()


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
        weight = (similarity / temperature).exp().unsqueeze(-1)
        votes = (F.one_hot(train_y[index], classes) * weight).sum(1)
        right += int((votes.argmax(1) == y).sum())
    return right / len(test_y)


@torch.no_grad()
def denoising_losses(model: Darl, dataset: Dataset, *, device: torch.device) -> dict[float, float]:
    """For each gamma of the grid, the mean squared error of the estimated clean validation patches.

    The noise of an image is the same for every model, schedule and gamma. A model trained by MSE reads no noisy patch:
    its error is the same at every gamma.
    """
    totals, count, n = dict.fromkeys(GAMMA_GRID, 0.0), 0, len(model.order)
    with _evaluating(model):
        for images in evaluation_batches(dataset, dataset.validation, batch_size=BATCH, device=device):
            rows = range(count, count + len(images))
            patches, _ = model.encoder.patches(images)
            clean, prepared = model.targets(patches), model.decoder.prepare(model.context(patches))

            def normal(size: int, generator: torch.Generator) -> Tensor:
                shape = (size, n, model.patch_dim)
                return torch.randn(shape, generator=generator, device=generator.device)

            noise = draw_rows(normal, rows, "validation").to(device)  # the same on every device
            for gamma in GAMMA_GRID:
                corruption = Corruption(torch.full(clean.shape[:2], gamma, device=clean.device), noise)
                estimate = model.decoder.denoise(prepared, corruption.apply(clean), corruption.gamma)
                totals[gamma] += F.mse_loss(estimate, clean).item() * len(images)
            count += len(images)
    return {gamma: total / count for gamma, total in totals.items()}


@contextmanager
def _evaluating(model: Darl) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
