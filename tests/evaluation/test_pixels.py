"""The yardstick: the same protocols on raw pixels."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from darl.data import Dataset
from darl.evaluation import pixels as pixels_module
from darl.evaluation.knn import KnnProtocol
from darl.evaluation.linear import PENALTIES, LinearProtocol
from darl.evaluation.pixels import PIXELS, Pixels
from darl.evaluation.protocol import Protocols
from darl.evaluation.standard import standard_evaluation
from darl.metrics import KNN, PROBE
from tests.evaluation.example_subjects import CPU, experiment, unlabelled


def flat(digits: Dataset, split: str) -> torch.Tensor:
    pixels = torch.tensor(getattr(digits, split).pixels).float().flatten(1) / 255
    return (pixels - digits.mean[0]) / digits.std[0]


def test_pixels_are_normalised_and_whole(digits: Dataset) -> None:
    features = Pixels(digits, CPU).features("validation", [PIXELS])[PIXELS]
    torch.testing.assert_close(features, flat(digits, "validation"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("limit", "value"), [("LARGEST", 16), ("MEMORY", 4 * 16 * 1797)])
def test_large_or_many_images_are_averaged_to_fewer_pixels(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(pixels_module, limit, value)
    features = Pixels(digits, CPU).features("validation", [PIXELS])[PIXELS]
    whole = flat(digits, "validation").view(-1, 4, 2, 4, 2).mean((2, 4))
    torch.testing.assert_close(features, whole.flatten(1), rtol=1e-4, atol=1e-5)


def test_pixels_are_judged_by_the_same_classifiers(digits: Dataset) -> None:
    """Against scikit-learn: the linear probe with the best of its penalties, and kNN."""
    values = Protocols((LinearProtocol(), KnnProtocol(temperature=1e6)))(experiment().build(), digits, CPU)
    x, test_x = flat(digits, "train"), flat(digits, "validation")
    y, test_y = digits.train.labels, digits.validation.labels
    mean, std = x.mean(0), x.std(0, correction=0).clamp(min=1e-6)
    scores = []
    for penalty in PENALTIES[4:9]:
        peer = LogisticRegression(C=1 / (2 * penalty * len(x)), max_iter=2000).fit(((x - mean) / std).numpy(), y)
        scores.append(peer.score(((test_x - mean) / std).numpy(), test_y))
    assert min(scores) - 0.003 <= values[PROBE.pixels_column] <= max(scores) + 0.003  # type: ignore[operator]
    neighbours = KNeighborsClassifier(20, metric="cosine").fit(x.numpy(), y)
    assert values[KNN.pixels_column] == pytest.approx(neighbours.score(test_x.numpy(), test_y), abs=0.006)


def test_pixels_are_measured_once_for_a_data_set(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []
    plain = KnnProtocol.judge
    monkeypatch.setattr(KnnProtocol, "judge", lambda self, source: judged.append(str(source)) or plain(self, source))
    evaluation = Protocols((KnnProtocol(neighbours=3),))
    first, second = (evaluation(experiment(seed=seed).build(), digits, CPU) for seed in (0, 1))
    assert len(judged) == 3  # two models, and the pixels
    assert first[KNN.pixels_column] == second[KNN.pixels_column]


def test_the_standard_evaluation_has_a_yardstick_for_each_accuracy(digits: Dataset) -> None:
    values = standard_evaluation()(experiment().build(), digits, CPU)
    expected = {metric.pixels_column for metric in standard_evaluation().gives if metric.has_pixels}
    assert {column for column in values if column.startswith("pixels_")} == expected
    without = standard_evaluation()(experiment().build(), unlabelled(digits), CPU)
    assert not any(column.startswith("pixels_") for column in without)
