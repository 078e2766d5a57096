"""Numbers of the quality of drawn images, against numpy and scipy, and the protocol that measures them."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from darl.data import Dataset
from darl.errors import UserError
from darl.evaluation import generation
from darl.evaluation.generation import GenerationProtocol
from darl.evaluation.protocol import Need, Protocol, Protocols
from darl.evaluation.sample_quality import frechet_distance, kernel_distance, precision_recall
from darl.evaluation.subject import Subject
from darl.metrics import GENERATION
from darl.model.objectives.next_patch import NextPatch
from tests.evaluation.example_subjects import CPU, experiment


def features(count: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, 6, generator=generator) @ torch.diag(torch.linspace(0.2, 2, 6)) + shift


X, Y = features(90, 0), features(70, 1, shift=0.3, scale=0.7)


def test_frechet_distance_is_scipys() -> None:
    """Heusel et al. 2017, by the matrix root that published code takes."""
    x, y = X.double().numpy(), Y.double().numpy()
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.real(linalg.sqrtm(first @ second))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(X, X) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(X, X + 0.5) == pytest.approx(6 * 0.25, rel=1e-6)  # equal covariances
    wide = torch.cat([X, X.sum(1, keepdim=True)], dim=1)  # a covariance that is singular
    assert frechet_distance(wide, wide) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_the_sum_over_pairs() -> None:
    """Bińkowski et al. 2018, equation 4, written out."""

    def k(a: Tensor, b: Tensor) -> float:
        return (float(a.double() @ b.double()) / 6 + 1) ** 3

    x, y = X[:12], Y[:9]
    within = [sum(k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j) / (len(z) * (len(z) - 1))
              for z in (x, y)]  # fmt: skip
    between = sum(k(a, b) for a in x for b in y) / (len(x) * len(y))
    assert kernel_distance(x, y) == pytest.approx(sum(within) - 2 * between, rel=1e-9)
    values = [kernel_distance(features(60, 2 * seed), features(60, 2 * seed + 1)) for seed in range(40)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 40**0.5  # unbiased: 0 in the mean


def test_precision_and_recall_are_scikit_learns_neighbours() -> None:
    """Kynkäänniemi et al. 2019, equation 2."""

    def among(points: Tensor, members: Tensor) -> float:
        radius = NearestNeighbors(n_neighbors=4).fit(members).kneighbors(members)[0][:, 3]
        return float(np.mean([(np.linalg.norm(members.numpy() - p, axis=1) <= radius).any() for p in points.numpy()]))

    coverage = precision_recall(Y, X, neighbours=3)
    assert coverage == pytest.approx((among(Y, X), among(X, Y)))
    assert 0 < coverage.recall < coverage.precision < 1  # the narrower one lies within the wider one
    assert precision_recall(X + 100, X) == (0, 0)
    assert precision_recall(X[:4].repeat(20, 1) + 1e-6 * Y[:1], X).recall < 0.2  # four images, drawn again and again


@dataclass(frozen=True)
class Drawing:
    """A stand-in for a model's `generate`, which gives known images."""

    images: Tensor

    def __call__(self, n: int, **_: object) -> Tensor:
        return self.images[:n]


def measured(digits: Dataset, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    model = experiment().build()
    monkeypatch.setattr(model, "generate", Drawing(images))
    values = GenerationProtocol(epochs=3).measure(Subject(model, digits, CPU))
    return {name: float(values[metric.column] or 0) for name, metric in GENERATION.items()}


def test_real_images_are_nearest_noise_and_copies_are_told(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training images pass for real ones; pure noise has no precision, one image again and again no recall."""
    generation._classifiers.clear()
    train = torch.from_numpy(digits.train.pixels[:400]).float() / 255  # type: ignore[union-attr]
    real = (train - digits.mean[0]) / digits.std[0]
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    training, noisy, copies = (measured(digits, each, monkeypatch) for each in (real, noise, real[:1].expand_as(real)))
    assert len(generation._classifiers) == 1
    assert {each["frechet_real"] for each in (training, noisy, copies)} == {training["frechet_real"]}
    assert training["frechet"] < 2 * training["frechet_real"]
    assert abs(training["kernel"] - training["kernel_real"]) < 0.1 * copies["kernel"]
    assert min(training["precision"], training["recall"]) > 0.8
    assert noisy["frechet"] > 5 * training["frechet_real"]
    assert copies["frechet"] > 5 * training["frechet_real"]
    assert copies["recall"] < 0.05
    assert noisy["precision"] < training["precision"] - 0.2


def test_only_models_that_can_draw_are_measured(digits: Dataset) -> None:
    evaluation = Protocols.parse("generation:epochs=1")
    for objective, causal in (("mse", False), ("mae", False), ("mse:normalize_target=true", True)):
        run = experiment().changed({"objective": objective, "noise": None, "causal": causal})
        assert Need.DRAWING in evaluation.unmet(run.build(), digits, CPU)["generation"]
        assert not isinstance(run.objective, NextPatch) or not run.build().can_draw
        assert evaluation(run.build(), digits, CPU)["generation_frechet"] is None
    assert experiment().build().can_draw


def test_the_classifier_depends_on_the_data_alone() -> None:
    protocol = GenerationProtocol(epochs=2)
    narrow, wide = (experiment().changed({"model.width": width, "order": order}).model_config
                    for width, order in ((16, "raster"), (32, "spiral")))  # fmt: skip
    assert protocol.experiment(narrow, 1000) == protocol.experiment(wide, 1000)
    tokens = {"tokenizer": "dvae:vocabulary=4,width=8,depth=1", "token_input": True}
    random = {"random_order": "target_aware", "causal": False}
    for others in (tokens, random, {"attention": "prefix", "causal": False}):
        assert protocol.experiment(experiment().changed(others).model_config, 1000) == protocol.experiment(wide, 1000)
    large = replace(narrow, image_size=(32, 32))
    assert protocol.experiment(large, 1000).model.patch_size == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("generation:images=2", "protocol.images must be at least 8, got 2"),
        ("generation:images=8,neighbours=8", "protocol.neighbours must be below images 8, got 8"),
        ("generation:sampler=euler", "patch_sampler must be one of ancestral, ddim, got 'euler'"),
        ("generation:temperature=-1", "temperature must be a finite number, 0 or more, got -1.0"),
    ],
)
def test_options_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        Protocol.parse(text)
