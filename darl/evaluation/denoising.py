"""The denoising error on a fixed grid of signal fractions, independent of the noise schedule."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.evaluation.protocol import Need, Pass, Protocol
from darl.evaluation.subject import BATCH, Subject, evaluating
from darl.metrics import GAMMA_GRID, GAMMA_LOSSES, VALIDATION_LOSS, Metric
from darl.model.noise import Corruption
from darl.randomness import draw_rows

if TYPE_CHECKING:
    from darl.data import Dataset
    from darl.model.darl import Darl

__all__ = ["DenoisingProtocol", "denoising_losses"]


@dataclass(frozen=True, kw_only=True)
class DenoisingProtocol(Protocol):
    """The mean squared error of denoised validation patches: `val_loss`, the mean over a grid of signal fractions.

    Needs no labels. A masked objective has none: it estimates no patch from a noisy one (`Objective.can_denoise`).
    """

    kind: ClassVar[str] = "denoising"
    gives: ClassVar[tuple[Metric, ...]] = (VALIDATION_LOSS, *GAMMA_LOSSES.values())
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DENOISING})

    def passes(self) -> frozenset[Pass]:
        """One pass over the validation images: the trunk's output is used for all signal fractions."""
        return frozenset({Pass("validation", "denoised patches")})

    def measure(self, subject: Subject) -> Mapping[str, float]:
        """The mean over the grid, and the loss at each gamma."""
        losses = denoising_losses(subject.model, subject.dataset, device=subject.device)
        each = {GAMMA_LOSSES[gamma].column: loss for gamma, loss in losses.items()}
        return {VALIDATION_LOSS.column: sum(losses.values()) / len(losses), **each}


@torch.no_grad()
def denoising_losses(model: "Darl", dataset: "Dataset", *, device: torch.device) -> dict[float, float]:
    """For each gamma of the grid, the mean squared error of the estimated clean validation patches.

    The noise of an image is the same for every model, schedule and gamma. A model trained by MSE reads no noisy patch:
    its error is the same at every gamma. Raises UserError where the objective does not predict every patch
    (`Objective.can_denoise`).
    """
    from darl.data import evaluation_batches

    totals, count, n = dict.fromkeys(GAMMA_GRID, 0.0), 0, len(model.order)
    with evaluating(model):
        for images in evaluation_batches(dataset, dataset.validation, batch_size=BATCH, device=device):
            rows = range(count, count + len(images))
            clean, estimate = model.denoiser(images)

            def normal(size: int, generator: torch.Generator) -> Tensor:
                shape = (size, n, model.patch_dim)
                return torch.randn(shape, generator=generator, device=generator.device)

            noise = draw_rows(normal, rows, "validation").to(device)  # the same on every device
            for gamma in GAMMA_GRID:
                corruption = Corruption(torch.full(clean.shape[:2], gamma, device=clean.device), noise)
                estimated = estimate(corruption.apply(clean), corruption.gamma)
                totals[gamma] += F.mse_loss(estimated, clean).item() * len(images)
            count += len(images)
    return {gamma: total / count for gamma, total in totals.items()}
