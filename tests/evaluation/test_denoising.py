"""A validation loss that does not depend on the noise schedule of the training."""

import pytest
import torch

from darl.data import Dataset
from darl.evaluation.denoising import DenoisingProtocol, denoising_losses
from darl.evaluation.protocol import Need, Protocols
from darl.evaluation.standard import standard_evaluation
from darl.evaluation.subject import Subject
from darl.metrics import GAMMA_GRID, GAMMA_LOSSES, VALIDATION_LOSS
from darl.model.darl import Darl
from darl.model.noise import Beta
from darl.model.objectives.base import Objective
from darl.model.objectives.mse import Mse
from darl.model.patches import patchify
from darl.randomness import draw_rows
from tests.evaluation.example_subjects import CPU, experiment


def test_the_validation_loss_does_not_depend_on_the_schedule(digits: Dataset) -> None:
    """Equal weights under different schedules: equal losses."""
    noisy, clean = (experiment(noise=Beta(a=a, b=1.0)).build() for a in (0.03, 3.0))
    assert denoising_losses(noisy, digits, device=CPU) == denoising_losses(clean, digits, device=CPU)


@torch.no_grad()
def slow_losses(model: Darl, digits: Dataset) -> dict[float, float]:
    """The error of denoised patches, all validation images at once, with the model put together by hand."""
    images = (torch.tensor(digits.validation.pixels).float() / 255 - digits.mean[0]) / digits.std[0]
    patches = patchify(images, model.patch_size)[:, model.order]
    noise = draw_rows(lambda n, g: torch.randn(n, *patches.shape[1:], generator=g), range(len(images)), "validation")
    context = model.encoder.trunk(model.encoder.embed(patches[:, :-1], model.encoder.grid), model.encoder.grid)
    losses = {}
    for gamma in GAMMA_GRID:
        noisy = gamma**0.5 * patches + (1 - gamma) ** 0.5 * noise
        estimated = model.decoder.denoise(model.decoder.prepare(context), noisy, torch.full(patches.shape[:2], gamma))
        losses[gamma] = ((estimated - patches) ** 2).mean().item()
    return losses


@pytest.mark.parametrize("objective", ["diffusion", "diffusion:gamma_conditioning=true,prediction=eps"])
def test_the_validation_loss_is_the_error_of_denoised_patches(digits: Dataset, objective: str) -> None:
    model = experiment(objective=Objective.parse(objective)).build()
    assert denoising_losses(model, digits, device=CPU) == pytest.approx(slow_losses(model, digits), rel=1e-5)


def test_an_mse_model_has_the_same_loss_at_every_gamma(digits: Dataset) -> None:
    losses = denoising_losses(experiment(objective=Mse(), noise=None).build(), digits, device=CPU)
    assert len(set(losses.values())) == 1


def test_the_validation_loss_is_the_mean_over_the_grid(digits: Dataset) -> None:
    values = DenoisingProtocol().measure(Subject(experiment().build(), digits, CPU))
    grid = [values[GAMMA_LOSSES[gamma].column] for gamma in GAMMA_GRID]
    assert values[VALIDATION_LOSS.column] == pytest.approx(sum(grid) / len(grid))


def test_an_objective_that_cannot_denoise_has_no_validation_loss(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = experiment().build()
    monkeypatch.setattr(type(model.objective), "can_denoise", False)
    values = Protocols((DenoisingProtocol(),))(model, digits, CPU)
    assert {values[metric.column] for metric in DenoisingProtocol.gives} == {None}


@pytest.mark.parametrize("kind", ["mae", "masked"])
def test_a_masked_objective_has_accuracies_and_no_validation_loss(digits: Dataset, kind: str) -> None:
    model = experiment(objective=Objective.parse(kind), noise=None, causal=False).build()
    evaluation = standard_evaluation()
    values = evaluation(model, digits, CPU)
    assert {values[metric.column] for metric in DenoisingProtocol.gives} == {None}
    assert 0 < values["knn_top1"] < 1
    assert 0 < values["probe_top1"] < 1
    assert evaluation.unmet(model, digits, CPU) == {"denoising": [Need.DENOISING]}
