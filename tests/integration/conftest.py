"""One Ray for all tests of a session (several on one host confuse Ray Train), and real images to sweep on."""

import gc
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from PIL import Image
from sklearn.datasets import load_digits

from darl.cli import main
from darl.distributed import cluster

ROOT = Path(__file__).parents[2]
SWEEP = ("sweeps/noise_schedule.py", "--epochs", "3", "--batch-size", "32", "--seeds", "1")
"""Seconds a trial, on the images of `pictures`: two rungs after 1 epoch and 3 epochs in all."""


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """The address of a Ray with two CPUs; at the end no placement group may be left."""
    os.environ.update(cluster.QUIET)
    context = ray.init(num_cpus=2, logging_level="ERROR", log_to_driver=False)
    yield context.address_info["address"]
    left = [group for group in ray.util.placement_group_table().values() if group["state"] != "REMOVED"]
    with warnings.catch_warnings():  # Ray does not wait for its own processes, which may outlive it by a moment
        warnings.filterwarnings("ignore", "subprocess [0-9]+ is still running", ResourceWarning)
        ray.shutdown()
        gc.collect()
    assert not left


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 handwritten digits as PNG files in folders by class."""
    folder, digits = tmp_path_factory.mktemp("pictures"), load_digits()
    for index, (image, label) in enumerate(zip(digits.images[:300], digits.target[:300], strict=True)):
        place = folder / str(label)
        place.mkdir(exist_ok=True)
        Image.fromarray((image * 255 / 16).astype("uint8")).save(place / f"{index:04}.png")
    return folder


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def command(ray_address: str) -> Command:
    """Run a Python command of the repository on the session's Ray."""

    def run(*arguments: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(words(*arguments), cwd=ROOT, env=environ(ray_address, **environment), **PIPES)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


Here = Callable[..., "pytest.CaptureResult[str]"]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Run `darl` in this process, which spares its imports, for commands that need no Ray; returns what it printed."""

    def run(*arguments: object, code: int = 0) -> "pytest.CaptureResult[str]":
        monkeypatch.setattr(sys, "argv", ["darl", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        ended: object = 0
        try:
            main()
        except SystemExit as stop:
            ended = stop.code
        said = capsys.readouterr()
        assert ended == code, said
        return said

    return run


PIPES: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 500}


def words(*arguments: object) -> list[str]:
    return [sys.executable, *map(str, arguments)]


def environ(address: str, **more: str) -> dict[str, str]:
    return {**os.environ, "RAY_ADDRESS": address, "COLUMNS": "200", **more}
