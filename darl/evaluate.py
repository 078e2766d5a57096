"""What a model has learned: linear probe and kNN on frozen features, and a loss that schedules cannot bend.

Losses under different noise schedules are not comparable: the noisier the schedule, the larger the loss of the same
model. Comparable are the accuracy of simple classifiers on the frozen readout, and the denoising error on one fixed
grid of signal fractions with fixed noise, whatever the model was trained with. All of it is deterministic.
"""

from collections.abc import Iterator
from contextlib import contextmanager
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

__all__ = ["denoising_losses", "evaluate", "knn", "linear_probe", "readouts"]

BATCH = 512
"""Images at a time."""


def evaluate(model: Darl, dataset: Dataset, *, device: torch.device) -> dict[str, float | None]:
    """`probe_top1` and `knn_top1` in [0, 1] (None without labels), `val_loss` and one loss per gamma of the grid.

    Under autocast the model's passes follow it; the probes are float32 in any case.
    """
    with _evaluating(model):
        losses = denoising_losses(model, dataset, device=device)
        result: dict[str, float | None] = {"val_loss": sum(losses.values()) / len(losses)}
        result |= {gamma_column(gamma): loss for gamma, loss in losses.items()}
        result |= {"probe_top1": None, "knn_top1": None}
        if dataset.train.labels is not None and dataset.validation.labels is not None:
            x, y = readouts(model, dataset, dataset.train, device=device)
            test_x, test_y = readouts(model, dataset, dataset.validation, device=device)
            classes = int(max(y.max(), test_y.max())) + 1
            with torch.autocast(device.type, enabled=False):
                result["probe_top1"] = linear_probe(x, y, test_x, test_y, classes)
                result["knn_top1"] = knn(x, y, test_x, test_y, classes)
    return result


def readouts(
    model: Darl, dataset: Dataset, split: Images | Stream, *, device: torch.device
) -> "tuple[Float[Tensor, 'images width'], Int[Tensor, ' images']]":
    """The frozen readout of every image of a split, and its label, on the device."""
    with torch.no_grad(), _evaluating(model):
        batches = evaluation_batches(dataset, split, batch_size=BATCH, device=device)
        features = [model.forward_head(model.forward_features(images), pre_logits=True).float() for images in batches]
    x = torch.cat(features)
    if not x.isfinite().all():
        raise ArithmeticError("the features are not finite: training has diverged; try a lower learning rate")
    assert split.labels is not None
    return x, torch.as_tensor(split.labels, device=device)


def linear_probe(
    train_x: "Float[Tensor, 'images width']",
    train_y: "Int[Tensor, ' images']",
    test_x: "Float[Tensor, 'others width']",
    test_y: "Int[Tensor, ' others']",
    classes: int,
    *,
    penalty: float = 1e-4,
    iterations: int = 100,
) -> float:
    """Top-1 of multinomial logistic regression on standardised features, in [0, 1].

    Full-batch L-BFGS from zero with an L2 penalty: convex and deterministic, without a learning rate to tune.
    """
    std, mean = torch.std_mean(train_x, dim=0, correction=0)
    std = std.clamp(min=1e-6)
    x, test_x = (train_x - mean) / std, (test_x - mean) / std
    weight = torch.zeros(x.shape[1], classes, device=x.device, requires_grad=True)
    bias = torch.zeros(classes, device=x.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe", tolerance_change=1e-7
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(torch.addmm(bias, x, weight), train_y) + penalty * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    scores = torch.addmm(bias.detach(), test_x, weight.detach())
    return (scores.argmax(1) == test_y).double().mean().item()


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
