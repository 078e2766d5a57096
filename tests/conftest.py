"""Shared by all tests: shapes checked at run time, where the real data lies, and small things to train."""

import builtins
import dataclasses
import os
from collections import OrderedDict
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import settings

import tests.shape_checks  # noqa: F401  (the import hook looks it up by attribute)

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
settings.register_profile("darl", max_examples=30, deadline=None)  # --hypothesis-profile=default: 100 examples
settings.load_profile("darl")

# The library names shapes in quoted annotations and does not need jaxtyping to run. Here they are read and checked.
for name in ("Bool", "Float", "Int", "Int64", "UInt8"):
    setattr(builtins, name, getattr(jaxtyping, name))
CHECKED = [
    "data.augment", "evaluation.accuracy", "evaluation.attentive", "evaluation.corruptions",
    "evaluation.dense.segmenting", "evaluation.few_shot", "evaluation.knn", "evaluation.linear", "evaluation.pixels",
    "evaluation.rankme", "evaluation.sample_quality", "evaluation.token_source", "model.attentive_pooling",
    "model.darl", "model.encoder", "model.noise", "model.objectives", "model.orders", "model.patches",
    "model.positions", "model.random_orders", "model.sampling", "training.augmentation",
]  # fmt: skip
jaxtyping.install_import_hook([f"darl.{name}" for name in CHECKED], "tests.shape_checks.checked")

from darl.data import Dataset, Images, load  # noqa: E402  (the hook comes first)

DATA = Path(os.environ.get("DARL_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture
def real_data() -> Path:
    """The folder of real image sets."""
    if not DATA.is_dir():
        pytest.skip(f"no real data in {DATA}; set DARL_TEST_DATA to its folder")
    return DATA


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load("digits", image_size=8, channels=1)


@pytest.fixture(scope="session")
def few_digits(digits: Dataset) -> Dataset:
    """240 digits to train on and 120 held out, for what holds for any number of images."""
    splits = ((digits.train, 240), (digits.validation, 120))
    train, validation = (Images(split.pixels[:count], split.labels[:count]) for split, count in splits)  # type: ignore[union-attr,index]
    return dataclasses.replace(digits, train=train, validation=validation)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tests run side by side; and a sum's last bit depends on the number of threads, in a module's fixtures, too."""
    torch.set_num_threads(1)


@pytest.fixture
def nothing_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test is not given what others have measured."""
    monkeypatch.setattr("darl.evaluation.once._results", OrderedDict())
