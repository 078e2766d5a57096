"""Rows of the result tables, made from a run's evaluations; and commit, versions and host of a process."""

import socket
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from darl.evaluation.protocol import SPLIT, measured
from darl.experiment import Experiment
from darl.model.tokenizers.base import LearnedTokenizer
from darl.records import flatten

__all__ = ["curve_row", "image_flops", "now", "provenance", "trial_row"]


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def provenance() -> dict[str, Any]:
    """Git commit, versions of darl and torch, and host of this process, by column of `trials`."""
    return {
        "git_commit": _git_commit(),
        "darl_version": _darl_version(),
        "torch_version": str(torch.__version__),
        "host": socket.gethostname(),
    }


def image_flops(experiment: Experiment) -> float:
    """Floating-point operations of one image's forward pass in training, computed without building the model."""
    config, tokenizer = experiment.model_config, experiment.tokenizer
    if experiment.trains_tokenizer and isinstance(tokenizer, LearnedTokenizer):
        return config.patches * tokenizer.training_flops(config.patch_dim)
    return config.flops() if experiment.finetuning is None else config.trunk_flops(config.patches)


def curve_row(evaluated: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `curves` from the fields of `darl.training.events.Evaluated`."""
    not_here = ("metrics", "images_per_second", "peak_memory")
    row = {name: value for name, value in evaluated.items() if name not in not_here}
    once = {SPLIT}  # the columns that only the row of `trials` has
    for metric in measured():
        once |= {metric.pixels_column, metric.test_column}
    return row | {column: value for column, value in evaluated["metrics"].items() if column not in once}


def trial_row(
    experiment: Experiment,
    evaluations: Sequence[Mapping[str, Any]],
    *,
    status: str,
    attempt: int,
    started_at: datetime,
    workers: int,
    device: str | None,
    flops: float | None,
    error: str | None = None,
) -> dict[str, Any]:
    """A row of `trials` from a run's evaluations, oldest first (the first one before training).

    flops: floating-point operations of one image's forward pass. Training costs three times as many: a backward pass
    counts as two forward passes.
    """
    row = flatten(experiment.to_record()) | {
        "trial_id": experiment.trial_id,
        "attempt": attempt,
        "status": status,
        "config": experiment.to_json(),
        "epochs": 0,
        "images_seen": 0,
        "workers": workers,
        "device": device,
        "started_at": started_at,
        "error": error,
    }
    return row | _measured(evaluations, flops)


def _measured(evaluations: Sequence[Mapping[str, Any]], flops: float | None) -> dict[str, Any]:
    """The columns that a run's evaluations give; none of a run that ended before the first."""
    if not evaluations:
        return {}
    first, last = evaluations[0]["metrics"], evaluations[-1]
    row = {name: last[name] for name in ("images_seen", "train_loss", "seconds", "images_per_second")}
    return row | {
        **{column: value for column, value in last["metrics"].items() if not isinstance(value, list)},
        "peak_memory": last.get("peak_memory"),  # runs that an older version has begun do not say
        "epochs": last["epoch"],
        **{metric.initial_column: first.get(metric.column) for metric in measured() if metric.yardsticks},
        "flops": 3 * flops * last["images_seen"] if flops else None,
    }


def _darl_version() -> str | None:
    try:
        return version("darl")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return None


def _git_commit() -> str | None:
    """Commit of the source tree that the code was imported from, `+` appended if it has changes; None without git."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty=+",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
