"""A validation loss that does not depend on the noise schedule of the training."""

from dataclasses import replace

import pytest
import torch

from darl.data import Dataset
from darl.evaluation.denoising import DenoisingProtocol, denoising_errors
from darl.evaluation.protocol import Need, Protocols
from darl.evaluation.standard import standard_evaluation
from darl.evaluation.subject import Subject
from darl.metrics import GAMMA_GRID, GAMMA_LOSSES, VALIDATION_LOSS
from darl.model.darl import Darl
from darl.model.noise import Beta
from darl.model.objectives.base import Objective
from darl.model.objectives.mse import Mse
from darl.model.orders import Spiral
from darl.model.patches import patchify
from darl.model.random_orders import RandomOrder
from darl.randomness import draw_rows
from tests.evaluation.example_subjects import CPU, experiment


def test_the_validation_loss_does_not_depend_on_the_schedule(digits: Dataset) -> None:
    """Equal weights under different schedules: equal losses."""
    noisy, clean = (experiment(noise=Beta(a=a, b=1.0)).build() for a in (0.03, 3.0))
    assert denoising_errors(noisy, digits, device=CPU).by_gamma == denoising_errors(clean, digits, device=CPU).by_gamma


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
    assert denoising_errors(model, digits, device=CPU).by_gamma == pytest.approx(slow_losses(model, digits), rel=1e-5)


def test_an_mse_model_has_the_same_loss_at_every_gamma(digits: Dataset) -> None:
    losses = denoising_errors(experiment(objective=Mse(), noise=None).build(), digits, device=CPU).by_gamma
    assert len(set(losses.values())) == 1


def test_the_validation_loss_is_the_mean_over_the_grid(digits: Dataset) -> None:
    values = DenoisingProtocol().measure(Subject(experiment().build(), digits, CPU))
    grid = [values[GAMMA_LOSSES[gamma].column] for gamma in GAMMA_GRID]
    assert values[VALIDATION_LOSS.column] == pytest.approx(sum(grid) / len(grid))


@torch.no_grad()
def slow_parts(model: Darl, digits: Dataset, order: torch.Tensor) -> tuple[list[float], list[float]]:
    """By step and by raster index: each image's errors put where they belong, one after another."""
    images = (torch.tensor(digits.validation.pixels).float() / 255 - digits.mean[0]) / digits.std[0]
    noise = draw_rows(lambda n, g: torch.randn(n, 16, 4, generator=g), range(len(images)), "validation")
    clean, estimate = model.denoiser(images, {"order": order} if model.config.random_order else {})
    by_step, by_patch = [0.0] * 16, [0.0] * 16
    for gamma in GAMMA_GRID:
        noisy = gamma**0.5 * clean + (1 - gamma) ** 0.5 * noise
        errors = ((estimate(noisy, torch.full(clean.shape[:2], gamma)) - clean) ** 2).mean(2)
        for image in range(len(images)):
            for step, patch in enumerate(order[image].tolist()):
                value = errors[image, patch].item() / len(images) / len(GAMMA_GRID)
                by_step[step] += value
                by_patch[int(model.order[patch])] += value
    return by_step, by_patch


@pytest.mark.parametrize("drawn", [None, "two_stream"])
def test_the_loss_along_the_sequence_and_of_each_patch(digits: Dataset, drawn: str | None) -> None:
    few = replace(digits, validation=replace(digits.validation, pixels=digits.validation.pixels[:40]))
    random_order = RandomOrder.parse(drawn) if drawn else None
    model = experiment(order=Spiral(), random_order=random_order, causal=drawn is None).build()
    orders = model.draw_orders(range(40), "validation").get("order", torch.arange(16).expand(40, -1))
    assert (drawn is None) == torch.equal(orders[0], orders[1])
    values = DenoisingProtocol().measure(Subject(model, few, CPU))
    expected = slow_parts(model, few, orders)
    for column, by_hand in zip(("val_loss_by_step", "val_loss_by_patch"), expected, strict=True):
        assert values[column] == pytest.approx(by_hand, rel=1e-4)
        assert sum(values[column]) / 16 == pytest.approx(values["val_loss"], rel=1e-5)
    in_order = [values["val_loss_by_patch"][raster] for raster in model.order.tolist()]
    assert (in_order == values["val_loss_by_step"]) == (drawn is None)


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
