"""Checkpoints: self-contained safetensors weights, and the state that an exact resumption needs.

    FOLDER/step-00000440/model.safetensors    weights; the experiment and the pixel statistics in the metadata
                         ema.safetensors      the weights' moving average, where there is one
                         trainer.pt           optimiser and progress (read with `weights_only`: no code is run)

A run whose model is sharded over n workers has, in the place of `trainer.pt`:

                         sharded.pt           progress, the optimiser's settings, and the names and sizes of the shards
                         optimizer-n/…        the optimiser's tensors, a file a worker: `darl.training.sharded_state`

A checkpoint that a run writes appears complete or not at all: it is written under a name with a leading dot, flushed
and renamed. A copy (by Ray Train, or into an object store) comes file by file, and a kill may leave it incomplete.
Whoever looks for a checkpoint therefore asks `newest`, which passes over incomplete ones.
"""

import io
import json
import os
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from darl.errors import UserError, reason
from darl.experiment import Experiment
from darl.model.darl import Darl
from darl.storage.folder import ResultsFolder
from darl.training.description import Description, is_averaged, read_weights
from darl.training.progress import TrainingProgress
from darl.training.sharded_state import own_parts, read_shards, write_shards
from darl.training.sharding import is_sharded, load_whole, whole_weights
from darl.variants import require

__all__ = [
    "AVERAGE_FILE",
    "MODEL_FILE",
    "SHARDED_FILE",
    "TRAINER_FILE",
    "Pretrained",
    "TrainingState",
    "latest",
    "load_pretrained",
    "local_weights",
    "newest",
    "path_of",
    "read_checkpoint",
    "restore",
    "save",
]

TRAINER_FILE, MODEL_FILE, AVERAGE_FILE = "trainer.pt", "model.safetensors", "ema.safetensors"
"""The state that a run needs, besides the weights, to be resumed; the weights; their moving average."""

SHARDED_FILE = "sharded.pt"
"""In the place of `TRAINER_FILE` where the model was sharded."""


@dataclass(kw_only=True)
class TrainingState:
    """What a checkpoint holds of a run."""

    model: nn.Module
    average: nn.Module | None
    """The moving average of the weights; None where there is none."""
    optimizer: torch.optim.Optimizer
    progress: TrainingProgress


@dataclass(frozen=True)
class Pretrained:
    """A model read from a checkpoint, its experiment, and the mean and deviation of the pixels per channel."""

    model: Darl
    experiment: Experiment
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def untrained(self) -> Darl:
        """A model of the same configuration with its initial weights; its tokenizer is the trained model's."""
        model = self.experiment.build()
        own = {name: value for name, value in self.model.state_dict().items() if ".tokenizer." in name}
        model.load_state_dict(own, strict=False)
        return model


def path_of(folder: Path, step: int) -> Path:
    """The path of a run's checkpoint after a number of steps."""
    return folder / f"step-{step:08d}"


def save(folder: Path, state: TrainingState, description: Description, *, rank: int = 0, keep: int = 2) -> Path:
    """Write `FOLDER/step-…` and delete all but the newest `keep`; returns its path.

    Worker 0 writes it. Where the model is sharded all workers must call this, each with a folder of its own: the
    checkpoint is what they have written, all together in one folder (so does Ray Train put it into its storage).
    """
    leads, metadata, sharded = rank == 0, description.to_metadata(), is_sharded(state.model)
    with _draft(folder, path_of(folder, state.progress.step), keep) as draft:
        for file, module in ((MODEL_FILE, state.model), (AVERAGE_FILE, state.average)):
            weights = None if module is None else whole_weights(module, kept=leads)
            if weights and leads:
                save_file(weights, draft / file, metadata)
        kept: dict[str, Any] = {"progress": asdict(state.progress)}
        if sharded:
            kept["optimizer"], kept["shards"] = write_shards(draft, state.model, state.optimizer)
        else:
            kept["optimizer"] = state.optimizer.state_dict()
        if leads:
            torch.save(kept, draft / (SHARDED_FILE if sharded else TRAINER_FILE))
    return path_of(folder, state.progress.step)


@contextmanager
def _draft(folder: Path, target: Path, keep: int) -> Generator[Path]:
    """A folder to write a checkpoint to; at the end it is flushed and renamed, and old checkpoints are deleted."""
    draft = folder / f".{target.name}-{os.getpid()}"
    for leftover in folder.glob(".step-*"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    draft.mkdir(parents=True)
    yield draft
    for path in [*draft.rglob("*"), draft]:
        _flush(path)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
    _flush(folder)
    for old in sorted(folder.glob("step-*/"))[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def restore(path: Path, state: TrainingState) -> None:
    """Load a checkpoint into the state of a run, on the device of its model: of a sharded one this worker's parts."""
    load_whole(state.model, path / MODEL_FILE)
    if state.average is not None:
        load_whole(state.average, path / AVERAGE_FILE)
    device, sharded = next(state.model.parameters()).device, is_sharded(state.model)
    if (path / SHARDED_FILE).is_file():
        saved = torch.load(path / SHARDED_FILE, map_location=device, weights_only=True)
        optimizer = read_shards(path, saved["optimizer"], saved["shards"], state.model, state.optimizer)
    else:
        where = torch.device("cpu") if sharded else device
        saved = torch.load(path / TRAINER_FILE, map_location=where, weights_only=True, mmap=sharded)
        optimizer = own_parts(saved["optimizer"], state.model, state.optimizer) if sharded else saved["optimizer"]
    state.optimizer.load_state_dict(optimizer)
    state.progress = TrainingProgress(**saved["progress"])


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint in a folder of this machine that a run can be resumed from; None without one."""
    step = newest(ResultsFolder(str(folder), "checkpoint"))
    return None if step is None else folder / step


def newest(folder: ResultsFolder, name: str = "", *, resumable: bool = True) -> str | None:
    """The name of the newest complete checkpoint, `step-…`, in the folder `name` of `folder`; None without one.

    resumable: whether only checkpoints count that a run can be resumed from; a finished run keeps its weights only.
    Raises OSError.
    """
    steps = sorted((step for step in folder.folders_in(name) if step.startswith("step-")), reverse=True)
    paths = {step: f"{name}/{step}" if name else step for step in steps}
    return next((step for step, path in paths.items() if _is_complete(folder, path, resumable)), None)


def load_pretrained(path: str | Path) -> Pretrained:
    """The model of a checkpoint, of a run's folder (its newest checkpoint), or of a weights file.

    path: also at s3:// or gs://. The moving average is taken where there is one. Raises UserError where there is no
    checkpoint, it cannot be read, it is of a fine-tuning, or it holds an encoder alone.
    """
    weights, description = read_checkpoint(path)
    tuned = description.experiment.finetuning is not None
    require(not tuned, "checkpoint", "be of a pretraining (darl.load takes a fine-tuned one)", str(path))
    remedy = "hold the decoder too (darl.load takes an encoder alone)"
    require(any(name.startswith("encoder.") for name in weights), "checkpoint", remedy, str(path))
    model = description.experiment.build()
    model.load_state_dict(weights)
    return Pretrained(model, description.experiment, description.mean, description.std)


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], Description]:
    """The weights of a checkpoint, a run's folder or a weights file (also of an encoder alone), and their run.

    Raises UserError where there are none or they cannot be read. Nothing is unpickled.
    """
    with local_weights(str(path)) as file:
        try:
            weights, description = read_weights(file)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"must be a whole safetensors file, got {str(path)!r} ({reason(error)})", field="checkpoint"
            ) from None
    if description is None:
        raise UserError(f"must hold darl's metadata, got {str(path)!r} without it", field="checkpoint")
    is_model = not description.experiment.trains_tokenizer
    require(is_model, "checkpoint", "be of a model, and this is a tokenizer (see darl pretrain)", str(path))
    return weights, description


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
            raise UserError(f"must be readable, got {path!r} ({reason(error)})", field=field) from None
        if file is None:
            remedy = "be a weights file, a checkpoint or a run's folder of checkpoints"
            raise UserError(f"must {remedy}, got {path!r}", field=field)
        yield file


def _weights(folder: ResultsFolder) -> str | None:
    """The name of the weights file of a run's newest checkpoint, or of the checkpoint `folder`; None without one.

    Evaluations were made with the moving average, so that is the file where a run has one.
    """
    if folder.is_file():
        return ""
    step = newest(folder, resumable=False)
    below = "" if step is None else f"{step}/"
    header = _header(folder, f"{below}{MODEL_FILE}")
    averaged = header is not None and is_averaged(header.get("__metadata__", {}))
    files = [f"{below}{file}" for file in ((AVERAGE_FILE,) if averaged else (AVERAGE_FILE, MODEL_FILE))]
    return next((file for file in files if folder.is_file(file)), None)


def _is_complete(folder: ResultsFolder, step: str, resumable: bool) -> bool:
    """Whether all files of a checkpoint are complete, as the headers of safetensors and zip files tell."""
    model = _header(folder, f"{step}/{MODEL_FILE}")
    averaged = None if model is None else is_averaged(model.get("__metadata__", {}))
    if averaged is None or (averaged and _header(folder, f"{step}/{AVERAGE_FILE}") is None):
        return False
    if not resumable:
        return True
    try:
        with folder.open(f"{step}/{TRAINER_FILE}") as stream:
            return zipfile.is_zipfile(stream)
    except FileNotFoundError:
        return _has_shards(folder, step)


def _has_shards(folder: ResultsFolder, step: str) -> bool:
    """Whether a sharded checkpoint has all of its shards, each of its full size."""
    try:
        data = folder.get(f"{step}/{SHARDED_FILE}")
        if data is None or not zipfile.is_zipfile(io.BytesIO(data)):
            return False
        for name, size in torch.load(io.BytesIO(data), weights_only=True)["shards"].items():
            with folder.open(f"{step}/{name}") as stream:
                if stream.size() != size:
                    return False
    except FileNotFoundError:
        return False
    return True


def _header(folder: ResultsFolder, name: str) -> dict[str, Any] | None:
    """The header of a safetensors file; None where there is no such file or it is incomplete."""
    try:
        with folder.open(name) as stream:
            size = stream.size()
            length = struct.unpack("<Q", stream.read(8))[0] if size >= 8 else size
            header = json.loads(stream.read(length)) if 8 + length <= size else {}
    except (FileNotFoundError, ValueError):
        return None
    ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
    return header if ends and 8 + length + max(ends) == size else None


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
