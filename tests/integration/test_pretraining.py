"""A pretraining that SIGTERM interrupts, and that continues with Ray and without, sharded and not, in turn."""

import itertools
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from darl.training.checkpoint import latest
from tests.integration.conftest import ROOT, environ, words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run_until(epoch: int, address: str, results: Path, *more: object) -> tuple[list[str], Path]:
    """Run until an epoch is printed, then send SIGTERM; returns the output and the newest checkpoint."""
    data = ("--data", "digits:0-1", "--batch-size", 32)  # nine steps an epoch
    flags = words("-m", "darl.cli", "pretrain", *data, "--epochs", 200, "--evaluations", 20, *more)
    running = subprocess.Popen(
        [*flags, "--results", str(results)], cwd=ROOT, env=environ(address), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    said: list[str] = []
    for line in running.stdout:
        said.append(line)
        if line.startswith(f"epoch {epoch:>4} "):
            break
    running.send_signal(signal.SIGTERM)
    _, error = running.communicate(timeout=200)
    assert running.returncode == 143, error
    (folder,) = (results / "pretrain" / "checkpoints").iterdir()
    newest = latest(folder)
    assert newest is not None
    assert error == f"stopped by SIGTERM at {newest.name}; run the same command to resume: {folder}\n"
    assert not list((results / "pretrain" / "trials").glob("*.parquet"))
    return said, newest


def progress_of(step: Path) -> dict[str, Any]:
    (file,) = step.glob("*.pt")
    return torch.load(file, weights_only=True)["progress"]


def test_a_run_continues_with_and_without_ray_and_repeats_no_epoch(ray_address: str, tmp_path: Path) -> None:
    progress: list[dict[str, Any]] = []
    stages = {10: ["--workers", 2], 20: ["--workers", 2, "--shard"], 30: ["--no-ray"], 40: ["--workers", 1]}
    for epoch, more in stages.items():
        said, newest = run_until(epoch, ray_address, tmp_path, *more)
        assert said[1].startswith("resuming from the last checkpoint") == (epoch > 10)
        progress.append(progress_of(newest))
        assert len(list(newest.glob("optimizer-2/*.safetensors"))) == (2 if "--shard" in more else 0)
    steps = [part["step"] for part in progress]
    assert steps == sorted(set(steps))
    assert steps[0] >= 10 * 9
    for earlier, later in itertools.pairwise(progress):
        earlier_events = len(earlier["history"])
        assert later["history"][:earlier_events] == earlier["history"]  # times and all: none was made again
        epochs = [row["epoch"] for row in later["history"]]
        assert epochs == list(range(0, 10 * len(epochs), 10))
