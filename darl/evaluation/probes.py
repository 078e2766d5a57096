"""Linear probe and kNN on frozen features."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.data import Dataset, Images, Stream, evaluation_batches
from darl.model.darl import Darl

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["LinearProbe", "enlarged_size", "knn", "readouts"]

BATCH = 512
"""Images at a time."""


def enlarged_size(image_size: int, patch_size: int) -> int:
    """1.5 times the size in training, in whole patches: 8 to 12, 32 to 48, 224 to 336."""
    return -(-3 * image_size // (2 * patch_size)) * patch_size


def readouts(
    model: Darl, dataset: Dataset, split: Images | Stream, *, device: torch.device, size: int | None = None
) -> "tuple[Float[Tensor, 'images width'], Int[Tensor, ' images']]":
    """The frozen readout of every image of a split, and its label, on the device; images resized to `size` if given."""
    features: list[Tensor] = []
    with torch.no_grad(), evaluating(model):
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


@contextmanager
def evaluating(model: Darl) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
