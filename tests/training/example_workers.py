"""Runs over several workers of this machine, by gloo, for tests that compare how they are executed."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from darl.data import Dataset, load
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.model.noise import Beta
from darl.training.events import Evaluated, Saved, Stepped
from darl.training.parallel import PLAIN, Execution
from darl.training.pretrain import fit

CPU = torch.device("cpu")
SHARDED = Execution(sharded=True)
DEEP = EncoderConfig(width=16, depth=2, heads=2, patch_size=2)


def experiment(**changes: Any) -> Experiment:
    """Six steps."""
    return Experiment(
        **{"model": DEEP, "epochs": 2, "batch_size": 24, "noise": Beta(a=0.5, b=1.0), **changes}
    )  # fmt: skip


def some_digits(images: int = 72) -> Dataset:
    """Three steps of 24 an epoch."""
    digits = load("digits", image_size=8, channels=1)
    train = digits.train
    return replace(digits, train=replace(train, pixels=train.pixels[:images], labels=train.labels[:images]))


def weight_norm(model: nn.Module, dataset: Dataset, device: torch.device) -> dict[str, float]:
    """An evaluation that depends on every weight, each by its place."""
    weights = torch.cat([weight.detach().double().flatten() for weight in model.parameters()])
    return {"probe_top1": float((weights * torch.linspace(1, 2, len(weights), device=device)).norm())}


@dataclass
class Ran:
    """What a run gave."""

    losses: list[float]
    norms: list[float]
    """`weight_norm` before, and at the end: of the moving average where there is one."""
    peaks: list[int | None]
    """Most bytes that a worker held, as each evaluation tells it."""
    saved: Path | None
    """The last checkpoint, with the files of all workers."""


def losses_and_peak(
    trained: Experiment, dataset: Dataset, device: torch.device, execution: Execution = PLAIN
) -> tuple[list[float], list[int | None]]:
    """The losses of a run in this process, and the peak memory that each of its evaluations tells."""
    events = list(fit(trained, dataset, device=device, full=weight_norm, execution=execution))
    losses = [event.loss for event in events if isinstance(event, Stepped)]
    return losses, [event.peak_memory for event in events if isinstance(event, Evaluated)]


class Worker:
    """One of several workers that run the same function. gpus: whether each has a GPU of its own."""

    def __init__(self, folder: str, rank: int, size: int, gpus: bool):
        self.folder, self.rank, self.size, self.dataset = Path(folder), rank, size, some_digits()
        self.device = torch.device("cuda", rank) if gpus else CPU

    def fit(
        self,
        name: str,
        trained: Experiment,
        execution: Execution = SHARDED,
        *,
        resume: Path | None = None,
        stop: int | None = None,
        save_every: int = 2,
    ) -> Ran:
        """Train; with `stop` until the checkpoint of that step, and then as if killed.

        Checkpoints are put together as Ray Train does: each worker's files are copied into one folder.
        """
        ran = Ran([], [], [], None)
        own, shared = self.folder / f"{name}-{self.rank}", self.folder / name
        for event in fit(
            trained, self.dataset, device=self.device, folder=own, resume=resume, full=weight_norm, execution=execution,
            save_every=save_every,
        ):  # fmt: skip
            match event:
                case Stepped():
                    ran.losses.append(event.loss)
                case Evaluated():
                    ran.norms.append(event.metrics["probe_top1"])  # pyright: ignore[reportArgumentType]
                    ran.peaks.append(event.peak_memory)
                case Saved():
                    ran.saved = shared / event.path.name
                    if event.path.is_dir():
                        shutil.copytree(event.path, ran.saved, dirs_exist_ok=True)
                    if self.size > 1:
                        dist.barrier()
                    if event.step == stop:
                        break
        return ran


def over_workers(
    folder: Path, size: int, function: Callable[[Worker], dict[str, Any]], *, gpus: bool = False
) -> dict[str, Any]:
    """Run a module's function on `size` workers; returns what the first of them gave."""
    mp.spawn(_work, (str(folder), size, function, gpus), nprocs=size)
    return torch.load(folder / "gave.pt", weights_only=False)


def _work(rank: int, folder: str, size: int, function: Callable[[Worker], dict[str, Any]], gpus: bool) -> None:
    torch.set_num_threads(1)
    if gpus:
        torch.cuda.set_device(rank)
    backend = "nccl" if gpus else "gloo"
    dist.init_process_group(backend, init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    gave = function(Worker(folder, rank, size, gpus))
    if rank == 0:
        torch.save(gave, Path(folder) / "gave.pt")
    if dist.is_initialized():
        dist.destroy_process_group()
