"""A validation loss that does not depend on the noise schedule of the training."""

import pytest
import torch
import torch.nn.functional as F

from darl.data import Dataset
from darl.evaluation.denoising import Denoising, denoising_losses
from darl.evaluation.protocol import Protocols
from darl.evaluation.subject import Subject
from darl.metrics import GAMMA_GRID, GAMMA_LOSSES, VALIDATION_LOSS
from darl.model.noise import Beta
from darl.model.objectives.mse import Mse
from tests.evaluation.example_subjects import CPU, experiment


def test_the_validation_loss_does_not_depend_on_the_schedule(digits: Dataset) -> None:
    """Equal weights under different schedules: equal losses."""
    noisy, clean = (experiment(noise=Beta(a=a, b=1.0)).build() for a in (0.03, 3.0))
    assert denoising_losses(noisy, digits, device=CPU) == denoising_losses(clean, digits, device=CPU)


def test_the_validation_loss_is_the_error_of_denoised_patches(digits: Dataset) -> None:
    model = experiment().build()
    images = (torch.tensor(digits.validation.pixels).float() / 255 - digits.mean[0]) / digits.std[0]
    patches, _ = model.encoder.patches(images)
    with torch.no_grad():
        _, estimate = model.denoiser(images)
        blind = estimate(torch.zeros_like(patches), torch.zeros(patches.shape[:2]))
        clean = estimate(patches, torch.ones(patches.shape[:2]))
    losses = denoising_losses(model, digits, device=CPU)
    assert list(losses) == list(GAMMA_GRID)
    assert losses[0.0] != F.mse_loss(blind, patches).item()  # at gamma = 0 the noisy patch is noise, not zero
    assert abs(losses[0.0] - F.mse_loss(blind, patches).item()) < 0.2
    assert F.mse_loss(clean, patches).item() > 0


def test_an_mse_model_has_the_same_loss_at_every_gamma(digits: Dataset) -> None:
    losses = denoising_losses(experiment(objective=Mse(), noise=None).build(), digits, device=CPU)
    assert len(set(losses.values())) == 1


def test_the_validation_loss_is_the_mean_over_the_grid(digits: Dataset) -> None:
    values = Denoising().measure(Subject(experiment().build(), digits, CPU))
    grid = [values[GAMMA_LOSSES[gamma].column] for gamma in GAMMA_GRID]
    assert values[VALIDATION_LOSS.column] == pytest.approx(sum(grid) / len(grid))


def test_an_objective_that_cannot_denoise_has_no_validation_loss(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = experiment().build()
    monkeypatch.setattr(type(model.objective), "can_denoise", False)
    values = Protocols((Denoising(),))(model, digits, CPU)
    assert {values[metric.column] for metric in Denoising.gives} == {None}
