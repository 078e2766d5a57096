"""The denoising error on a fixed grid of signal fractions, independent of the noise schedule."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from darl.data import Dataset, evaluation_batches
from darl.evaluation.probes import BATCH, evaluating
from darl.metrics import GAMMA_GRID
from darl.model.darl import Darl
from darl.model.noise import Corruption
from darl.randomness import draw_rows

if TYPE_CHECKING:
    pass

__all__ = ["denoising_losses"]


@torch.no_grad()
def denoising_losses(model: Darl, dataset: Dataset, *, device: torch.device) -> dict[float, float]:
    """For each gamma of the grid, the mean squared error of the estimated clean validation patches.

    The noise of an image is the same for every model, schedule and gamma. A model trained by MSE reads no noisy patch:
    its error is the same at every gamma. Raises UserError where the objective does not predict every patch
    (`Objective.can_denoise`).
    """
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
