"""Equal measurements are made once, and different ones are told apart."""

from dataclasses import replace
from typing import Any

import pytest
import torch

import darl
from darl.data import Dataset
from darl.evaluation.knn import KnnProtocol
from darl.evaluation.once import data_key, once
from darl.evaluation.protocol import Protocols, Value
from darl.evaluation.subject import FeatureSource
from darl.model.darl import Darl
from darl.model.encoder_config import size_of

pytestmark = pytest.mark.usefixtures("nothing_measured")

CPU = torch.device("cpu")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What kNN is asked to judge, in order."""
    judged: list[str] = []

    def judge(self: KnnProtocol, source: FeatureSource) -> dict[str, Value]:
        judged.append(type(source).__name__)
        return {}

    monkeypatch.setattr(KnnProtocol, "judge", judge)
    return judged


def model(**changes: Any) -> Darl:
    settings: dict[str, Any] = {
        "image_size": 8,
        "channels": 1,
        "objective": "diffusion",
        "noise": (1.0, 1.0),
        "seed": 5,
    }
    size = size_of("nano", patch_size=4, depth=1)
    return darl.create_model(size, **settings | changes)


def test_models_that_share_the_encoder_are_measured_once(digits: Dataset, calls: list[str]) -> None:
    few = replace(digits, train=replace(digits.train, pixels=digits.train.pixels[:64], labels=digits.train.labels[:64]))
    protocols = Protocols((KnnProtocol(),))
    for same in (model(), model(noise=(0.03, 1.0)), model(objective="mse", noise=None)):
        protocols(same, few, CPU)
    assert calls == ["Subject", "Pixels"]


@pytest.mark.parametrize(
    "other",
    [{"seed": 6}, {"order": "snake"}, {"causal": False}, {"position": "absent"}],
    ids=["seed", "order", "mask", "position"],
)
def test_models_that_read_otherwise_are_measured_again(
    digits: Dataset, calls: list[str], other: dict[str, Any]
) -> None:
    labels = digits.train.labels[:50]
    few = replace(digits, train=replace(digits.train, pixels=digits.train.pixels[:50], labels=labels))
    Protocols((KnnProtocol(block="1"),))(model(), few, CPU)
    Protocols((KnnProtocol(block="1"),))(model(**other), few, CPU)
    assert calls.count("Subject") == 2


def test_weights_that_have_changed_are_measured_again(digits: Dataset, calls: list[str]) -> None:
    trained = model()
    protocols = Protocols((KnnProtocol(mask="removed"),))
    protocols(trained, digits, CPU)
    with torch.no_grad():
        trained.encoder.start_token += 1e-3
    protocols(trained, digits, CPU)
    assert calls == ["Subject", "Pixels", "Subject"]


def test_the_key_follows_pixels_labels_and_precision(digits: Dataset) -> None:
    labels = digits.train.labels.copy()
    labels[0] += 1
    pixels = digits.train.pixels.copy()
    pixels[0, 0, 0, 0] += 1
    others = [replace(digits, train=replace(digits.train, **part)) for part in ({"labels": labels}, {"pixels": pixels})]
    keys = [data_key(each, CPU) for each in (digits, *others)]
    with torch.autocast("cpu", torch.bfloat16):
        keys.append(data_key(digits, CPU))
    assert len(set(keys)) == 4
    assert data_key(replace(digits), CPU) == keys[0]


def test_without_a_key_everything_is_measured() -> None:
    values = iter([{"a": 1.0}, {"a": 2.0}])
    assert [once(None, lambda: next(values))["a"] for _ in range(2)] == [1.0, 2.0]
