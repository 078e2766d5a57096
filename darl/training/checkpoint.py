"""Checkpoints: safetensors weights that stand alone, and beside them what it takes to go on exactly.

    FOLDER/step-00000440/model.safetensors    weights; the experiment and the pixel statistics in the metadata
                         ema.safetensors      the weights' moving average, where there is one
                         trainer.pt           optimiser and progress (read with `weights_only`: no code is run)

A checkpoint appears whole or not at all: it is written under a dot-name, flushed to the disk and renamed.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pyarrow import fs
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from darl.errors import UserError, reason
from darl.experiment import Experiment
from darl.model.darl import Darl
from darl.storage.folder import ResultsFolder

__all__ = ["Pretrained", "Progress", "begun", "latest", "load_pretrained", "read_progress", "restore", "save"]


@dataclass
class Progress:
    """How far a run is."""

    step: int = 0
    """Optimiser steps taken."""
    seconds: float = 0.0
    """Spent in all attempts so far, evaluation included."""
    train_seconds: float = 0.0
    """Spent on training steps."""
    loss_sum: float = 0.0
    loss_count: int = 0
    """Of the steps since the last evaluation."""
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The evaluations so far, as plain values."""


@dataclass(frozen=True)
class Pretrained:
    """A model read from a checkpoint."""

    model: Darl
    experiment: Experiment
    mean: tuple[float, ...]
    std: tuple[float, ...]


def save(
    folder: Path,
    *,
    experiment: Experiment,
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
    model: nn.Module,
    ema: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    keep: int = 2,
) -> Path:
    """Write `FOLDER/step-…` and delete all but the newest `keep`; returns its path."""
    target = folder / f"step-{progress.step:08d}"
    draft = folder / f".{target.name}-{os.getpid()}"
    for leftover in folder.glob(".step-*"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    draft.mkdir(parents=True)
    mean, std = statistics
    # One key: safetensors writes several in no fixed order, and equal weights would be unequal files.
    metadata = {"darl": json.dumps({"experiment": experiment.to_record(), "mean": mean, "std": std})}
    save_file(model.state_dict(), draft / "model.safetensors", metadata)
    if ema is not None:
        save_file(ema.state_dict(), draft / "ema.safetensors", metadata)
    torch.save({"optimizer": optimizer.state_dict(), "progress": asdict(progress)}, draft / "trainer.pt")
    for path in [*draft.iterdir(), draft]:
        _flush(path)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
    _flush(folder)
    for old in _steps(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def latest(folder: Path) -> Path | None:
    """The newest checkpoint in a folder that a run can go on from, None where there is none."""
    return next((step for step in reversed(_steps(folder)) if (step / "trainer.pt").exists()), None)


def restore(
    path: Path, *, model: nn.Module, ema: nn.Module | None, optimizer: torch.optim.Optimizer, device: torch.device
) -> Progress:
    """Put a checkpoint's state into the objects of a run of the same experiment."""
    model.load_state_dict(load_file(path / "model.safetensors", device=str(device)))
    if ema is not None:
        ema.load_state_dict(load_file(path / "ema.safetensors", device=str(device)))
    state = torch.load(path / "trainer.pt", map_location=device, weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def read_progress(path: Path) -> Progress:
    """Of a checkpoint."""
    state = torch.load(path / "trainer.pt", map_location="cpu", weights_only=True)
    return Progress(**state["progress"])


def begun(path: str) -> bool:
    """Whether a run has left checkpoints in a folder, also at s3:// or gs://."""
    return any(name.startswith("step-") for name in _inside(ResultsFolder(path, "--results")))


def load_pretrained(path: str | Path) -> Pretrained:
    """The model of a checkpoint, of a run's folder (its newest checkpoint), or of a weights file.

    path: also at s3:// or gs://. The moving average is taken where there is one. Raises UserError where there is no
    checkpoint or it cannot be read.
    """
    with _local_weights(str(path)) as file:
        try:
            with safe_open(file, framework="pt") as opened:
                metadata = opened.metadata() or {}
            weights = load_file(file)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"checkpoint must be a whole safetensors file, got {str(path)!r} ({reason(error)})"
            ) from None
    if "darl" not in metadata:
        raise UserError(f"checkpoint must hold darl's metadata, got {str(path)!r} without it")
    described = json.loads(metadata["darl"])
    experiment = Experiment.from_record(described["experiment"])
    model = experiment.build()
    model.load_state_dict(weights)
    return Pretrained(model, experiment, tuple(described["mean"]), tuple(described["std"]))


@contextmanager
def _local_weights(path: str) -> Generator[str]:
    """The file of weights that a path or address leads to, on this machine."""
    place = ResultsFolder(path, "checkpoint")
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = _weights(place)
            if file is not None and not place.local:
                found, file = file, f"{folder}/weights.safetensors"
                fs.copy_files(found, file, source_filesystem=place.files, destination_filesystem=fs.LocalFileSystem())
        except OSError as error:
            raise UserError(f"checkpoint must be a place that can be read, got {path!r} ({reason(error)})") from None
        if file is None:
            raise UserError(f"checkpoint must be a folder or a .safetensors file that darl wrote, got {path!r}")
        yield file


def _weights(place: ResultsFolder) -> str | None:
    """The file of a checkpoint's weights, or of a run's newest one's; None where there is none.

    In a bucket a checkpoint comes file by file, and a marker (`step-….whole`) last, if the writer sets such.
    """
    if place.files.get_file_info(place.folder).is_file:
        return place.folder
    inside = _inside(place)
    whole = {name for name in inside if f"{name}.whole" in inside} or inside
    steps = sorted((f"/{name}" for name in whole if name.startswith("step-")), reverse=True)
    files = [f"{place.folder}{step}/{name}.safetensors" for step in [*steps, ""] for name in ("ema", "model")]
    return next((info.path for info in place.files.get_file_info(files) if info.is_file), None)


def _inside(place: ResultsFolder) -> set[str]:
    return {info.base_name for info in place.files.get_file_info(fs.FileSelector(place.folder, allow_not_found=True))}


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
