"""Equal measurements are made once, and different ones are told apart."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import darl
from darl.data import Dataset, Stream, load
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


def test_streamed_images_are_known_by_their_content(calls: list[str], tmp_path: Path) -> None:
    """Their pixels are not read to compare them; other labels of the same images are other data."""
    for name in ("a/0", "a/1", "a/2", "b/3", "b/4", "b/5"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 40 * int(path.stem), np.uint8)).save(path)
    trained, protocols = model(), Protocols((KnnProtocol(),))
    loaded = [load(str(tmp_path), image_size=8, channels=1, memory_limit=0) for _ in range(2)]
    assert all(isinstance(each.train, Stream) for each in loaded)
    for same in loaded:
        protocols(trained, same, CPU)
    assert calls == ["Subject", "Pixels"]
    loaded[0].train.labels = 1 - loaded[0].train.labels  # type: ignore[operator,misc]
    protocols(trained, replace(loaded[0]), CPU)
    assert calls == 2 * ["Subject", "Pixels"]
    assert data_key(replace(loaded[1], content=None), CPU) is None


def test_weights_that_have_changed_are_measured_again(few_digits: Dataset, calls: list[str]) -> None:
    trained = model()
    protocols = Protocols((KnnProtocol(mask="removed"),))
    protocols(trained, few_digits, CPU)
    with torch.no_grad():
        trained.encoder.start_token += 1e-3
    protocols(trained, few_digits, CPU)
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
