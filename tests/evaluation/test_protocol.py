"""Probes against scikit-learn, and a validation loss that schedules cannot bend."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from darl.data import Dataset
from darl.evaluation.denoising import denoising_losses
from darl.evaluation.probes import LinearProbe, knn, readouts
from darl.evaluation.protocol import evaluate, evenly
from darl.experiment import Experiment
from darl.metrics import GAMMA_GRID, gamma_column
from darl.model.encoder_config import EncoderConfig
from darl.model.noise import Beta
from darl.model.objectives.mse import Mse

CPU = torch.device("cpu")


def blobs(count: int, spread: float, seed: int) -> tuple[Tensor, Tensor]:
    """Three classes around three centres, in 8 dimensions of unequal scale."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    y = torch.randint(3, (count,), generator=generator)
    return (centres[y] + spread * torch.randn(count, 8, generator=generator)) * torch.logspace(-2, 2, 8), y


@pytest.mark.parametrize("spread", [0.5, 1.5])
def test_the_linear_probe_is_logistic_regression(spread: float) -> None:
    (x, y), (test_x, test_y) = blobs(400, spread, 1), blobs(1000, spread, 2)
    mean, std = x.mean(0), x.std(0, correction=0)
    peer = LogisticRegression(C=1 / (2 * 1e-4 * len(x)), max_iter=1000).fit(((x - mean) / std).numpy(), y.numpy())
    expected = peer.score(((test_x - mean) / std).numpy(), test_y.numpy())
    found = LinearProbe.fit(x, y, 3).top1(test_x, test_y)
    assert found == pytest.approx(expected, abs=0.004)
    assert found == LinearProbe.fit(x, y, 3).top1(test_x, test_y)


def test_knn_is_the_weighted_vote_of_the_nearest() -> None:
    (x, y), (test_x, test_y) = blobs(300, 1.0, 1), blobs(900, 1.0, 2)
    peer = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    expected = peer.fit(x.numpy(), y.numpy()).score(test_x.numpy(), test_y.numpy())
    assert knn(x, y, test_x, test_y, 3) == pytest.approx(expected, abs=0.003)


def test_knn_with_fewer_images_than_neighbours() -> None:
    x, y = torch.eye(5), torch.arange(5)
    assert knn(x, y, x, y, 5) == 1.0


def experiment(**changes: object) -> Experiment:
    return Experiment(model=EncoderConfig(width=16, depth=1, heads=2, patch_size=2), **changes)  # type: ignore[arg-type]


def test_the_validation_loss_does_not_depend_on_the_schedule(digits: Dataset) -> None:
    """Equal weights under different schedules: equal losses."""
    one, other = (experiment(noise=Beta(a=a, b=1.0)).build() for a in (0.03, 3.0))
    assert denoising_losses(one, digits, device=CPU) == denoising_losses(other, digits, device=CPU)


def test_the_validation_loss_is_what_it_says(digits: Dataset) -> None:
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


def test_a_model_of_mse_has_one_loss_at_every_gamma(digits: Dataset) -> None:
    losses = denoising_losses(experiment(objective=Mse(), noise=None).build(), digits, device=CPU)
    assert len(set(losses.values())) == 1


def test_evaluation_gives_every_metric_and_leaves_the_model_as_it_was(digits: Dataset) -> None:
    model = experiment().build().train()
    metrics = evaluate(model, digits, device=CPU)
    assert metrics == evaluate(model, digits, device=CPU)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert metrics.keys() == {
        "val_loss",
        "probe_top1",
        "knn_top1",
        "probe_top1_enlarged",
        *map(gamma_column, GAMMA_GRID),
    }
    assert 0 <= metrics["knn_top1"] <= metrics["probe_top1"] <= 1
    grid = [metrics[gamma_column(gamma)] for gamma in GAMMA_GRID]
    assert metrics["val_loss"] == pytest.approx(sum(grid) / len(grid))


def test_readouts_keep_the_order_of_the_images(digits: Dataset) -> None:
    model = experiment().build()
    x, y = readouts(model, digits, digits.validation, device=CPU)
    assert y.tolist() == digits.validation.labels.tolist()
    images = (torch.tensor(digits.validation.pixels[-3:]).float() / 255 - digits.mean[0]) / digits.std[0]
    expected = model.forward_features(images).mean(1)
    torch.testing.assert_close(x[-3:], expected.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("epochs", "count"), list(itertools.product([1, 2, 7, 100], [1, 3, 10])))
def test_evaluations_are_evenly_spaced(epochs: int, count: int) -> None:
    chosen = list(evenly(epochs, count))
    assert chosen[-1] == epochs
    assert len(chosen) == min(epochs, count)
