"""The linear probe against scikit-learn's logistic regression."""

import pytest
from sklearn.linear_model import LogisticRegression

from darl.data import Dataset
from darl.evaluation.linear import LinearProbe, LinearProtocol, enlarged_size
from darl.evaluation.subject import Subject
from darl.metrics import ENLARGED_PROBE, PROBE
from tests.evaluation.example_features import blobs
from tests.evaluation.example_subjects import CPU, experiment


@pytest.mark.parametrize("spread", [0.5, 1.5])
def test_the_linear_probe_is_logistic_regression(spread: float) -> None:
    (x, y), (test_x, test_y) = blobs(400, spread, 1), blobs(1000, spread, 2)
    mean, std = x.mean(0), x.std(0, correction=0)
    peer = LogisticRegression(C=1 / (2 * 1e-4 * len(x)), max_iter=1000).fit(((x - mean) / std).numpy(), y.numpy())
    expected = peer.score(((test_x - mean) / std).numpy(), test_y.numpy())
    score = LinearProbe.fit(x, y, 3).top1(test_x, test_y)
    assert score == pytest.approx(expected, abs=0.004)
    assert score == LinearProbe.fit(x, y, 3).top1(test_x, test_y)


def test_the_protocols_options_reach_the_probe(digits: Dataset) -> None:
    subject = Subject(experiment().build(), digits, CPU)
    (x, y), (test_x, test_y) = subject.readouts("train"), subject.readouts("validation")
    expected = LinearProbe.fit(x, y, 10, penalty=0.5, iterations=3).top1(test_x, test_y)
    assert LinearProtocol(penalty=0.5, iterations=3).measure(subject) == {PROBE.column: expected}
    assert LinearProtocol().measure(subject)[PROBE.column] != expected


def test_enlarged_images_are_tested_with_the_probe_fitted_at_the_training_size(digits: Dataset) -> None:
    subject = Subject(experiment().build(), digits, CPU)
    probe = LinearProbe.fit(*subject.readouts("train"), 10)
    expected = probe.top1(*subject.readouts("validation", 12))
    usual = LinearProtocol().measure(subject)[PROBE.column]
    assert LinearProtocol(enlarged=True).measure(subject) == {PROBE.column: usual, ENLARGED_PROBE.column: expected}
    assert expected != usual


@pytest.mark.parametrize(
    ("size", "patch", "larger"), [(8, 2, 12), (32, 4, 48), (224, 16, 336), (8, 4, 12), (10, 5, 15)]
)
def test_enlarged_images_have_whole_patches(size: int, patch: int, larger: int) -> None:
    assert enlarged_size(size, patch) == larger
