"""Stand-ins for libraries that are not installed, a tracker that notes what it is given, and an evaluation."""

import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from tensorboardX.proto.event_pb2 import Event

from darl.training.events import Evaluated
from darl.training.trackers.base import TrackedRun, Tracker

METRICS = dict.fromkeys(("val_loss", "probe_top1_enlarged")) | {"probe_top1": 0.5, "knn_top1": 0.25}


def evaluated(epoch: int) -> Evaluated:
    return Evaluated(epoch, 10 * epoch, 320 * epoch, METRICS, 0.9 if epoch else None, 1e-3, 2.0 * epoch, None)


class Journal(list[tuple[Any, ...]]):
    """Everything that a stand-in was asked to do, in order."""

    def note(self, name: str) -> Any:
        """A function that notes its name and arguments."""
        return lambda *values, **named: self.append((name, *values, named) if named else (name, *values))


def install_wandb(monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A module `wandb` whose runs note what they are given, with the calls of wandb 0.19.10."""
    journal, module = Journal(), ModuleType("wandb")

    def init(**settings: Any) -> SimpleNamespace:
        journal.append(("init", settings))
        name = settings["name"]
        return SimpleNamespace(
            log=lambda data, step: journal.append(("log", name, step, data)),
            finish=lambda exit_code=None: journal.append(("finish", name, exit_code)),
        )

    vars(module).update(init=init, login=journal.note("login"))
    monkeypatch.setitem(sys.modules, "wandb", module)
    return journal


def install_mlflow(monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A module `mlflow` whose client notes what it is given."""
    journal, module, experiments = Journal(), ModuleType("mlflow"), dict[str, str]()

    class MlflowClient:
        log_param, log_metric, set_terminated = (
            staticmethod(journal.note(name)) for name in ("log_param", "log_metric", "set_terminated")
        )

        def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
            return SimpleNamespace(experiment_id=experiments[name]) if name in experiments else None

        def create_experiment(self, name: str) -> str:
            journal.append(("create_experiment", name))
            return experiments.setdefault(name, str(len(experiments) + 7))

        def create_run(self, experiment_id: str, run_name: str, tags: dict[str, str]) -> SimpleNamespace:
            journal.append(("create_run", experiment_id, run_name, tags))
            return SimpleNamespace(info=SimpleNamespace(run_id=f"id of {run_name}"))

    vars(module).update(MlflowClient=MlflowClient)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return journal


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """Tag, step and value of all scalars in a run's event files, and the tags of its parameters with a value of 0."""
    events = [event for file in sorted(folder.iterdir()) for event in _events(file)]
    return [(value.tag, event.step, value.simple_value) for event in events for value in event.summary.value]


def _events(file: Path) -> list[Event]:
    """The events of a file in TensorFlow's record format: length, checksum, data, checksum."""
    data, events = file.read_bytes(), list[Event]()
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    return events


class Unlisted:
    """Base of a test's own trackers: a class without a `kind` of its own is not listed in the family."""

    kind: ClassVar[str] = "book"
    library: ClassVar[str] = "json"


def notebook(breaks: bool = False) -> tuple[Tracker, list[tuple[Any, ...]]]:
    """A tracker that notes what it is given, or breaks at the first metrics, and its notes."""
    notes: list[tuple[Any, ...]] = []

    class Run(TrackedRun):
        def __init__(self, name: str):
            self.name = name

        def log(self, step: int, metrics: Mapping[str, float]) -> None:
            if breaks:
                raise ConnectionError("no route to the server\nin many lines")
            notes.append((self.name, step, dict(metrics)))

        def finish(self, *, failed: bool) -> None:
            notes.append((self.name, failed))

    class Notebook(Unlisted, Tracker):
        def start(self, name: str, parameters: Mapping[str, Any], *, group: str, folder: Path | None) -> TrackedRun:
            notes.append((name, parameters["order"], parameters["seed"], group, folder))
            return Run(name)

    return Notebook(), notes
