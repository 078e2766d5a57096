"""The denoising error on a fixed grid of signal fractions, independent of the noise schedule."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from darl.evaluation.protocol import Need, Pass, Protocol, Value
from darl.evaluation.subject import BATCH, Subject, evaluating
from darl.metrics import GAMMA_GRID, GAMMA_LOSSES, LOSS_BY_PATCH, LOSS_BY_STEP, VALIDATION_LOSS, Metric
from darl.model.noise import Corruption
from darl.model.orders import inverse
from darl.model.random_orders import DRAWN
from darl.randomness import draw_rows

if TYPE_CHECKING:
    from darl.data import Dataset
    from darl.model.darl import Darl

__all__ = ["DenoisingErrors", "DenoisingProtocol", "denoising_errors"]


@dataclass(frozen=True, kw_only=True)
class DenoisingProtocol(Protocol):
    """The mean squared error of denoised validation patches: `val_loss`, the mean over a grid of signal fractions.

    Also its parts, of which it is the mean: `val_loss_by_step`, for each step along the sequence (the t-th number is
    the error of patches that are predicted from t patches), and `val_loss_by_patch`, for each patch in raster order.

    Needs no labels. A masked objective has none: it estimates no patch from a noisy one (`Objective.can_denoise`).
    """

    kind: ClassVar[str] = "denoising"
    gives: ClassVar[tuple[Metric, ...]] = (VALIDATION_LOSS, *GAMMA_LOSSES.values())
    profiles: ClassVar[tuple[str, ...]] = (LOSS_BY_STEP, LOSS_BY_PATCH)
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DENOISING})

    def passes(self) -> frozenset[Pass]:
        """One pass over the validation images: the trunk's output is used for all signal fractions."""
        return frozenset({Pass("validation", "denoised patches")})

    def measure(self, subject: Subject) -> Mapping[str, Value]:
        """The mean over the grid, the loss at each gamma, and the loss at each step and of each patch."""
        errors = denoising_errors(subject.model, subject.dataset, device=subject.device)
        each = {GAMMA_LOSSES[gamma].column: loss for gamma, loss in errors.by_gamma.items()}
        parts = {LOSS_BY_STEP: errors.by_step, LOSS_BY_PATCH: errors.by_patch}
        return {VALIDATION_LOSS.column: sum(each.values()) / len(each), **each, **parts}


@dataclass(frozen=True)
class DenoisingErrors:
    """Mean squared errors of estimated clean validation patches. The means of all three are the same."""

    by_gamma: dict[float, float]
    """For each gamma of the grid."""
    by_step: list[float]
    """For each step along the order in which an image is read; means over the grid, as are those by patch."""
    by_patch: list[float]
    """For each patch in raster order."""


@torch.no_grad()
def denoising_errors(model: "Darl", dataset: "Dataset", *, device: torch.device) -> DenoisingErrors:
    """The errors on the validation images.

    The noise of an image is the same for every model, schedule and gamma; with random orders so is its order, among
    models whose training ends alike. A model trained by MSE reads no noisy patch: its error is the same at every gamma.
    Raises UserError where the objective does not predict every patch (`Objective.can_denoise`).
    """
    from darl.data import evaluation_batches

    totals, count, n = dict.fromkeys(GAMMA_GRID, 0.0), 0, len(model.order)
    by_step, by_patch = (torch.zeros(n, dtype=torch.float64, device=device) for _ in range(2))
    fixed = torch.arange(n, device=device)
    with evaluating(model):
        for images in evaluation_batches(dataset, dataset.validation, batch_size=BATCH, device=device):
            rows = range(count, count + len(images))
            orders = {name: order.to(device) for name, order in model.draw_orders(rows, "validation").items()}
            clean, estimate = model.denoiser(images, orders)

            def normal(size: int, generator: torch.Generator) -> Tensor:
                shape = (size, n, model.patch_dim)
                return torch.randn(shape, generator=generator, device=generator.device)

            noise = draw_rows(normal, rows, "validation").to(device)  # the same on every device
            at = orders.get(DRAWN, fixed.expand(len(images), -1))
            for gamma in GAMMA_GRID:
                corruption = Corruption(torch.full(clean.shape[:2], gamma, device=clean.device), noise)
                error = (estimate(corruption.apply(clean), corruption.gamma) - clean).square().mean(2)
                totals[gamma] += error.mean().item() * len(images)
                by_patch += error.sum(0, dtype=torch.float64)
                by_step += error.gather(1, at).sum(0, dtype=torch.float64)
            count += len(images)
    by_gamma = {gamma: total / count for gamma, total in totals.items()}
    whole = count * len(GAMMA_GRID)
    return DenoisingErrors(by_gamma, (by_step / whole).tolist(), (by_patch[inverse(model.order)] / whole).tolist())
