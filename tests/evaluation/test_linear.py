"""The linear probe against scikit-learn's logistic regression."""

import re
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from darl.data import Dataset, Images
from darl.evaluation import linear as linear_module
from darl.evaluation.feature_protocol import held_out_tenth
from darl.evaluation.linear import PENALTIES, LinearProbe, LinearProtocol, best_penalty, enlarged_size
from darl.evaluation.subject import Readout, Subject
from darl.metrics import ENLARGED_PROBE, PROBE
from tests.evaluation.example_features import blobs
from tests.evaluation.example_subjects import CPU, experiment


@pytest.mark.parametrize("spread", [0.5, 1.5])
def test_the_linear_probe_is_logistic_regression(spread: float) -> None:
    (x, y), (test_x, test_y) = blobs(400, spread, 1), blobs(5000, spread, 2)
    mean, std = x.mean(0), x.std(0, correction=0)
    peer = LogisticRegression(C=1 / (2 * 1e-4 * len(x)), max_iter=1000).fit(((x - mean) / std).numpy(), y.numpy())
    expected = peer.score(((test_x - mean) / std).numpy(), test_y.numpy())
    score = LinearProbe.fit(x, y, 3).top1(test_x, test_y)
    assert score == pytest.approx(expected, abs=0.002)
    assert score == LinearProbe.fit(x, y, 3).top1(test_x, test_y)


def test_the_penalty_is_chosen_on_a_tenth_of_the_training_images() -> None:
    """Against scikit-learn's fits on the same nine tenths: no other penalty has a smaller cross-entropy."""
    x, y = blobs(200, 2.0, 1)
    rest, held = held_out_tenth(y)
    mean, std = x[rest].mean(0), x[rest].std(0, correction=0)

    def loss(penalty: float) -> float:
        peer = LogisticRegression(C=1 / (2 * penalty * len(rest)), max_iter=5000)
        peer.fit(((x[rest] - mean) / std).numpy(), y[rest].numpy())
        return log_loss(y[held].numpy(), peer.predict_proba(((x[held] - mean) / std).numpy()))

    chosen, _ = best_penalty(x, y, 3)
    assert chosen in PENALTIES[1:-1]
    assert loss(chosen) <= min(map(loss, PENALTIES)) + 1e-3


def test_the_penalty_of_many_images_is_chosen_on_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tenth of the images the penalty that is given for all is a tenth of the one that was best."""
    x, y = blobs(1000, 2.0, 1)
    monkeypatch.setattr(linear_module, "CHOSEN_ON", 90)
    penalty, probe = best_penalty(x, y, 3)
    assert min(abs(10 * penalty / each - 1) for each in PENALTIES) < 1e-6
    test_x, test_y = blobs(1000, 2.0, 2)
    whole = LinearProbe.fit(x, y, 3, penalty=penalty, start=probe)
    assert whole.top1(test_x, test_y) == pytest.approx(LinearProbe.fit(x, y, 3, penalty=penalty).top1(test_x, test_y))


def test_the_held_out_tenth_has_every_class_in_its_share() -> None:
    y = torch.tensor([0] * 500 + [1] * 100 + [2] * 40)
    rest, held = held_out_tenth(y)
    assert sorted([*rest.tolist(), *held.tolist()]) == list(range(640))
    assert torch.bincount(y[held]).tolist() == [50, 10, 4]
    assert torch.equal(held, held_out_tenth(y)[1])
    assert held[:50].tolist() != sorted(held[:50].tolist())  # the images of a class are mixed


def test_the_protocol_chooses_the_readout_on_training_images_alone(digits: Dataset) -> None:
    """Other validation labels: the same choice."""
    subject = Subject(experiment(depth=2).build(), digits, CPU)
    result = LinearProtocol().measure(subject)
    assert isinstance(digits.validation, Images)
    assert digits.validation.labels is not None
    other = replace(digits, validation=Images(digits.validation.pixels, digits.validation.labels[::-1].copy()))
    shuffled = LinearProtocol().measure(Subject(experiment(depth=2).build(), other, CPU))
    assert shuffled["probe_readout"] == result["probe_readout"]
    assert shuffled[PROBE.column] != result[PROBE.column]
    assert re.fullmatch(r"block [12], (mean|tokens), penalty .+", str(result["probe_readout"]))


def test_the_protocols_options_reach_the_probe(digits: Dataset) -> None:
    subject = Subject(experiment().build(), digits, CPU)
    readout = Readout(1, "mean")
    x, test_x = (subject.features(split, [readout])[readout] for split in ("train", "validation"))
    probe = LinearProbe.fit(x, subject.labels("train"), 10, penalty=0.5, iterations=3)
    expected = probe.top1(test_x, subject.labels("validation"))
    measured = LinearProtocol(penalty="0.5", iterations=3, readout="mean").measure(subject)
    own = {PROBE.column: expected, "probe_readout": "block 1, mean, penalty 0.5"}
    assert {column: measured[column] for column in own} == own
    assert LinearProtocol(readout="mean").measure(subject)[PROBE.column] != expected


def test_enlarged_images_are_tested_with_the_probe_fitted_at_the_training_size(digits: Dataset) -> None:
    subject = Subject(experiment().build(), digits, CPU)
    readout = Readout(1, "mean")
    probe = LinearProbe.fit(subject.features("train", [readout])[readout], subject.labels("train"), 10)
    larger = subject.features("validation", [readout], size=12)[readout]
    expected = probe.top1(larger, subject.labels("validation"))
    plain = LinearProtocol(penalty="1e-4", readout="mean").measure(subject)
    measured = LinearProtocol(penalty="1e-4", readout="mean", enlarged=True).measure(subject)
    assert measured == {**plain, ENLARGED_PROBE.column: expected}
    assert expected != plain[PROBE.column]


@pytest.mark.parametrize(
    ("size", "patch", "larger"), [(8, 2, 12), (32, 4, 48), (224, 16, 336), (8, 4, 12), (10, 5, 15)]
)
def test_enlarged_images_have_whole_patches(size: int, patch: int, larger: int) -> None:
    assert enlarged_size(size, patch) == larger
