"""Shared by all tests: where the real data lies, and small things to train."""

import os
from pathlib import Path

import pytest
import torch

from darl.data import Dataset, load

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

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


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests run side by side."""
    torch.set_num_threads(1)
