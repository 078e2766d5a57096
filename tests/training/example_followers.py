"""Runs whose model has a state that follows the losses (a noise schedule, orders): their traces, alone and over two."""

import json
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from darl.data import Dataset
from darl.experiment import Experiment
from darl.training.events import Evaluated, Event, Stepped
from darl.training.pretrain import fit

CPU = torch.device("cpu")


def nothing(model: Any, dataset: Dataset, device: torch.device) -> dict[str, float | str | None]:
    """An evaluation that measures nothing: what is left is the state's own columns."""
    return {}


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Stepped)]


def columns(events: list[Event]) -> list[dict[str, Any]]:
    """The columns of each evaluation."""
    return [dict(event.metrics) for event in events if isinstance(event, Evaluated)]


def over_two_workers(run: Experiment, data: Dataset, folder: Path) -> tuple[list[float], list[dict[str, Any]]]:
    """The losses and the columns of the run over two processes, which must agree."""
    mp.spawn(_worker, (run.to_record(), data, str(folder)), nprocs=2)
    first, second = (json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    return first[0], first[1]


def _worker(rank: int, record: dict[str, Any], data: Dataset, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    events = list(fit(Experiment.from_record(record), data, device=CPU, full=nothing))
    (Path(folder) / f"{rank}.json").write_text(json.dumps([losses(events), columns(events)]))
    dist.destroy_process_group()
