"""Accuracy on corrupted images: one classifier, fitted to clean images."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from darl.data import Dataset, load
from darl.evaluation import robustness
from darl.evaluation.corruptions.base import Corruption
from darl.evaluation.corruptions.blur import GaussianBlur
from darl.evaluation.corruptions.digital import Contrast
from darl.evaluation.corruptions.noise import GaussianNoise
from darl.evaluation.linear import LinearProtocol
from darl.evaluation.pixels import PIXELS, Pixels
from darl.evaluation.robustness import Robustness, accuracy_of, corruptions_for, measure_robustness, summary, unchanged
from darl.evaluation.subject import Subject
from tests.evaluation.example_subjects import CPU, experiment


@dataclass(frozen=True, kw_only=True)
class Inverted(Corruption):
    """A new corruption is one class."""

    kind: ClassVar[str] = "inverted"
    small: ClassVar[Any] = (0.02, 0.05, 0.1, 0.15, 0.2)
    large: ClassVar[Any] = small

    def apply(self, x: Tensor, strength: Any, scale: float, indices: Any) -> Tensor:
        return (1 - strength) * x + strength * (1 - x)


CHEAP = LinearProtocol(block="last", readout="mean", penalty="1e-3", iterations=50)


@pytest.fixture(scope="module")
def few() -> Dataset:
    return load("digits:0-3", image_size=8, channels=1)


def pixels_of(data: Dataset) -> Pixels:
    return Pixels(data, CPU)


def test_a_new_corruption_is_found() -> None:
    assert Inverted() in corruptions_for(3)
    assert [kind.kind for kind in corruptions_for(3) if kind not in corruptions_for(1)] == ["saturate"]


def test_one_classifier_of_clean_images_judges_all(few: Dataset) -> None:
    """The clean accuracy is the linear probe's; the corrupted ones are that classifier's, as computed apart."""
    model = experiment().build()
    sources = {"model": lambda data: Subject(model, data, CPU), "pixels": pixels_of}
    rows = list(measure_robustness(sources, few, [GaussianNoise(), Contrast()], CHEAP))
    assert [(row.corruption, row.severity) for row in rows if row.source == "model"] == [
        ("clean", 0), *(("gaussian_noise", n) for n in range(1, 6)), *(("contrast", n) for n in range(1, 6)),
    ]  # fmt: skip
    for name, source in sources.items():
        clean = CHEAP.judge(source(few))
        assert next(row.top1 for row in rows if row.source == name) == clean["probe_top1"]
    source = pixels_of(few)
    _, probe = robustness._fit(source, CHEAP)
    images = torch.tensor(few.validation.pixels)  # type: ignore[union-attr]
    for severity in (1, 5):
        changed = Contrast()(images, severity, range(len(images)))
        x = (changed.float().flatten(1) / 255 - few.mean[0]) / few.std[0]
        expected = probe.top1(x, source.labels("validation"))
        (row,) = [row for row in rows if (row.source, row.corruption, row.severity) == ("pixels", "contrast", severity)]
        assert row.top1 == pytest.approx(expected)
        assert row.change == pytest.approx((changed.float() - images.float()).abs().mean().item(), rel=1e-5)


def test_scikit_learns_classifier_of_clean_images_falls_as_much(few: Dataset) -> None:
    """With the probe's penalty, on standardised pixels; constant ones have the scale 1, as its StandardScaler has."""
    protocol = LinearProtocol(penalty="1e-3")
    rows = list(measure_robustness({"pixels": pixels_of}, few, [Inverted()], protocol))
    source = pixels_of(few)
    x, y = source.features("train", [PIXELS])[PIXELS].double().numpy(), few.train.labels
    scaler = StandardScaler().fit(x)
    reference = LogisticRegression(C=1 / (2 * 1e-3 * len(x)), max_iter=500).fit(scaler.transform(x), y)
    validation = few.validation.pixels.astype(float)  # type: ignore[union-attr]
    for severity in (0, 2, 3, 5):
        share = (0.0, *Inverted.small)[severity]
        changed = np.rint((1 - share) * validation + share * (255 - validation)).reshape(len(validation), -1)
        test_x = scaler.transform((changed / 255 - few.mean[0]) / few.std[0])
        score = reference.score(test_x, few.validation.labels)
        assert next(row.top1 for row in rows if row.severity == severity) == pytest.approx(
            score, abs=0.035
        )  # of 144 images


def test_of_many_images_some_are_corrupted_always_the_same(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robustness, "IMAGES", 50)
    first, again = (list(measure_robustness({"pixels": pixels_of}, few, [GaussianNoise()], CHEAP)) for _ in range(2))
    assert first == again
    assert all(row.top1 * 50 == pytest.approx(round(row.top1 * 50)) for row in first)


def test_what_changes_nothing_is_known(few: Dataset) -> None:
    rows = list(measure_robustness({"pixels": pixels_of}, few, [GaussianBlur(), Contrast()], CHEAP))
    assert unchanged(rows) == ["gaussian_blur"]  # a quarter of CIFAR's blur is below a pixel


def rows_of(values: dict[tuple[str, int], float]) -> list[Robustness]:
    return [Robustness(source="model", corruption=corruption, severity=severity, top1=value, half_width=0, change=1)
            for (corruption, severity), value in values.items()]  # fmt: skip


def test_the_mean_is_over_corruptions_and_severities_without_the_clean_images() -> None:
    rows = rows_of({("clean", 0): 0.8, ("a", 1): 0.6, ("a", 2): 0.4, ("b", 1): 0.2, ("b", 2): 0.4})
    assert accuracy_of(rows, "model") == pytest.approx(0.4)
    assert accuracy_of(rows, "model", "a") == pytest.approx(0.5)
    assert summary(rows, "model") == "clean 80.0 %, corrupted 40.0 %, which is 50.0 % of it"
