"""Checkpoints: self-contained safetensors weights, and the state that an exact resumption needs.

    FOLDER/step-00000440/model.safetensors    weights; the experiment and the pixel statistics in the metadata
                         ema.safetensors      the weights' moving average, where there is one
                         trainer.pt           optimiser and progress (read with `weights_only`: no code is run)

A checkpoint appears complete or not at all: it is written under a name with a leading dot, flushed and renamed.
"""

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from darl.errors import UserError, reason
from darl.experiment import Experiment
from darl.model.darl import Darl
from darl.storage.folder import ResultsFolder

__all__ = ["TRAINER_FILE", "Pretrained", "Progress", "latest", "load_pretrained", "local_weights", "restore", "save"]

TRAINER_FILE = "trainer.pt"
"""The file with the state that a run needs, besides the weights, to be resumed."""


@dataclass
class Progress:
    """The progress of a run."""

    step: int = 0
    """Optimiser steps taken."""
    seconds: float = 0.0
    """Seconds spent in all attempts so far, evaluation included."""
    train_seconds: float = 0.0
    """Seconds spent on training steps."""
    loss_sum: float = 0.0
    loss_count: int = 0
    """Sum and number of the losses of the steps since the last evaluation."""
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The fields of the `Evaluated` events so far, oldest first."""


@dataclass(frozen=True)
class Pretrained:
    """A model read from a checkpoint, its experiment, and the mean and deviation of the pixels per channel."""

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
    # One key only: safetensors writes several keys in no fixed order, so equal weights would give unequal files.
    metadata = {"darl": json.dumps({"experiment": experiment.to_record(), "mean": mean, "std": std})}
    save_file(model.state_dict(), draft / "model.safetensors", metadata)
    if ema is not None:
        save_file(ema.state_dict(), draft / "ema.safetensors", metadata)
    torch.save({"optimizer": optimizer.state_dict(), "progress": asdict(progress)}, draft / TRAINER_FILE)
    for path in [*draft.iterdir(), draft]:
        _flush(path)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
    _flush(folder)
    for old in _steps(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def latest(folder: Path) -> Path | None:
    """The newest checkpoint in a folder that a run can go on from, None where there is none.

    Ray Train copies a checkpoint into its folder file by file, and a kill may leave it incomplete: it is passed over.
    """
    return next((step for step in reversed(_steps(folder)) if _is_whole(step)), None)


def restore(
    path: Path, *, model: nn.Module, ema: nn.Module | None, optimizer: torch.optim.Optimizer, device: torch.device
) -> Progress:
    """Load a checkpoint into the model, the moving average and the optimiser of a run; returns its progress."""
    model.load_state_dict(load_file(path / "model.safetensors", device=str(device)))
    if ema is not None:
        ema.load_state_dict(load_file(path / "ema.safetensors", device=str(device)))
    state = torch.load(path / TRAINER_FILE, map_location=device, weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])


def load_pretrained(path: str | Path) -> Pretrained:
    """The model of a checkpoint, of a run's folder (its newest checkpoint), or of a weights file.

    path: also at s3:// or gs://. The moving average is taken where there is one. Raises UserError where there is no
    checkpoint or it cannot be read.
    """
    with local_weights(str(path)) as file:
        try:
            with safe_open(file, framework="pt") as opened:
                metadata = opened.metadata() or {}
            weights = load_file(file)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"must be a whole safetensors file, got {str(path)!r} ({reason(error)})", field="checkpoint"
            ) from None
    if "darl" not in metadata:
        raise UserError(f"must hold darl's metadata, got {str(path)!r} without it", field="checkpoint")
    described = json.loads(metadata["darl"])
    experiment = Experiment.from_record(described["experiment"])
    model = experiment.build()
    model.load_state_dict(weights)
    return Pretrained(model, experiment, tuple(described["mean"]), tuple(described["std"]))


@contextmanager
def local_weights(path: str, field: str = "checkpoint") -> Generator[Path]:
    """The file of weights that a path or address leads to, on this machine.

    path: of a file, a checkpoint or a run's folder (its newest checkpoint), also at s3:// or gs://. field: the
    argument's name in the UserError that is raised where there is no such file or it cannot be read.
    """
    folder = ResultsFolder(path, field)
    with tempfile.TemporaryDirectory() as copies:
        try:
            name = _weights(folder)
            file = None if name is None else Path(folder.path(name))
            if file is not None and not folder.local:
                file = Path(copies, file.name)
                folder.fetch(name or "", file)
        except OSError as error:
            raise UserError(f"must be a place that can be read, got {path!r} ({reason(error)})", field=field) from None
        if file is None:
            raise UserError(f"must be a folder or a .safetensors file that darl wrote, got {path!r}", field=field)
        yield file


def _weights(folder: ResultsFolder) -> str | None:
    """The name of the file of a checkpoint's weights, or of a run's newest one's; None where there is none.

    A checkpoint's `trainer.pt` is uploaded last, and is deleted when the run has ended.
    """
    if folder.is_file():
        return ""
    steps = sorted((name for name in folder.folders_in() if name.startswith("step-")), reverse=True)
    whole = [step for step in steps if folder.is_file(f"{step}/{TRAINER_FILE}")] or steps
    files = [f"{step}{name}.safetensors" for step in (*(f"{step}/" for step in whole), "") for name in _WEIGHTS]
    return next((name for name in files if folder.is_file(name)), None)


_WEIGHTS = ("ema", "model")
"""Weights files in the order of preference: evaluations were made with the moving average."""


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*/")) if folder.is_dir() else []


def _is_whole(step: Path) -> bool:
    """Whether all files of a checkpoint are complete, as the headers of safetensors and zip files tell."""
    try:
        with safe_open(step / "model.safetensors", framework="pt") as opened:
            described = json.loads((opened.metadata() or {})["darl"])
        if described["experiment"]["optim"]["ema"]:
            with safe_open(step / "ema.safetensors", framework="pt"):
                pass
    except (OSError, SafetensorError, KeyError):
        return False
    return zipfile.is_zipfile(step / TRAINER_FILE)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
