"""The interface of experiment trackers, and how commands log runs to them: parameters, evaluations, the end.

A tracker is one class in one file of this package (or anywhere, for a user's own): `Tracker.kinds()` finds it, and
`--log` offers it. Commands use a tracker through `Tracking`, which calls it in a thread of its own: a slow server does
not delay training, and an error is printed once and ends the tracking, never the training.
"""

import importlib
import queue
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from darl.errors import UserError
from darl.experiment import Experiment
from darl.records import flatten
from darl.storage.address import is_remote
from darl.training.events import Evaluated
from darl.variants import Variant

__all__ = [
    "TrackedPretraining",
    "TrackedRun",
    "Tracker",
    "Tracking",
    "check",
    "local_folder",
    "metrics_of",
    "parameters_of",
    "track",
]

UPLOAD_SECONDS = 1800.0
"""Seconds to wait, at the end of a run, for what has not been sent; as in Ray's loggers."""


class TrackedRun(ABC):
    """A run in a tracker."""

    @abstractmethod
    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log metrics at a step."""

    @abstractmethod
    def finish(self, *, failed: bool) -> None:
        """End the run, and send what has not been sent."""


@dataclass(frozen=True, kw_only=True)
class Tracker(Variant):
    """An experiment tracker: a program or service that shows runs."""

    family: ClassVar[str] = "tracker"
    package: ClassVar[str] = "darl.training.trackers"
    library: ClassVar[str]
    """The package that must be installed."""
    needs_folder: ClassVar[bool] = False
    """Whether it writes files into the folder of results, which must then be on a disk."""

    def connect(self, group: str) -> None:
        """Check, before any run starts, that runs can be logged; raises what the library raises."""

    @abstractmethod
    def start(self, name: str, parameters: Mapping[str, Any], *, group: str, folder: Path | None) -> TrackedRun:
        """Start a run in the tracker.

        Args:
            name: the run's name; valid as a file name.
            parameters: numbers, texts, booleans and None by name.
            group: the name of the sweep or of the pretraining that the run belongs to.
            folder: the folder of results, for a tracker's own files; None where the results are not on a disk.

        """


def local_folder(path: str) -> Path | None:
    """The folder at a path of results; None where they are in an object store."""
    return None if is_remote(path) else Path(path)


def check(kinds: Iterable[str], path: str) -> None:
    """Raise UserError where a tracker is not installed, or needs results on a disk. path: that of the results."""
    for kind in kinds:
        tracker = Tracker.of(kind)
        if tracker.needs_folder and is_remote(path):
            remedy = f"be on a disk for the tracker {kind}"
            raise UserError(f"must {remedy}, got {path!r}; choose a local folder or another tracker", field="results")
        try:
            importlib.import_module(tracker.library)
        except ImportError:
            remedy = f"pip install {tracker.library}"
            raise UserError(f"must be an installed tracker, got {kind!r}; {remedy}", field="log") from None


def parameters_of(experiment: Experiment) -> dict[str, Any]:
    """The parameters of a run: every column of its configuration in the tables."""
    return flatten(experiment.to_record())


def metrics_of(event: Evaluated) -> dict[str, float]:
    """The numbers of an evaluation to log, by column of the tables, without those that were not measured.

    `training_iteration` and `timesteps_total` repeat the epoch: charts of earlier versions, which logged through Ray,
    have them as axes.
    """
    own = {name: value for name, value in asdict(event).items() if name not in ("metrics", "images_per_second")}
    axes = {"training_iteration": event.epoch, "timesteps_total": event.epoch}
    numbers = own | {name: value for name, value in event.metrics.items() if not isinstance(value, str | list)} | axes
    return {name: value for name, value in numbers.items() if value is not None}


class Tracking:
    """A tracker in use by one command.

    Raises UserError where the tracker cannot be reached.

    Args:
        tracker: the tracker that shows the runs.
        group: the name of the sweep or of the pretraining.
        folder: the folder of results; None where they are not on a disk.

    """

    def __init__(self, tracker: Tracker, group: str, folder: Path | None):
        try:
            tracker.connect(group)
        except Exception as error:  # whatever the library raises
            raise UserError(f"{tracker.kind} could not start: {_first_line(error)}", field="log") from error
        self.tracker, self.group, self.folder = tracker, group, folder
        self._runs: dict[str, TrackedRun] = {}
        """Runs that have not ended, by the caller's key. Used by the tracker's thread only."""
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._silent = False

    def start(self, key: str, name: str, parameters: Mapping[str, Any]) -> None:
        """Start a run under the caller's name for it, `key`; does nothing if it has started."""

        def call() -> None:
            if key not in self._runs:
                self._runs[key] = self.tracker.start(name, parameters, group=self.group, folder=self.folder)

        self._do(call)

    def log(self, key: str, step: int, metrics: Mapping[str, float]) -> None:
        """Log metrics of a run."""
        self._do(lambda: self._runs[key].log(step, metrics))

    def finish(self, key: str, *, failed: bool) -> None:
        """End a run."""
        self._do(lambda: self._runs.pop(key).finish(failed=failed))

    def close(self) -> None:
        """Wait until all has been sent; runs that have not ended end as failed. More runs may follow."""

        def call() -> None:
            while self._runs:
                self._runs.popitem()[1].finish(failed=True)

        self._do(call)
        self._calls.put(None)
        if self._thread is not None:
            self._thread.join(UPLOAD_SECONDS)
            self._thread = None

    def _do(self, call: Callable[[], None]) -> None:
        """Queue a call for the tracker's thread."""
        if self._silent:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"darl-{self.tracker.kind}", daemon=True)
            self._thread.start()
        self._calls.put(call)

    def _work(self) -> None:
        """The thread: makes the calls in order; after the first error it makes no more."""
        while (call := self._calls.get()) is not None:
            if self._silent:
                continue
            try:
                call()
            except Exception as error:  # whatever the library raises
                self._silent = True
                print(f"logging to {self.tracker.kind} ends here: {_first_line(error)}", file=sys.stderr)


def track(kinds: Iterable[str], group: str, path: str) -> list[Tracking]:
    """A Tracking for each of these kinds; raises UserError where one cannot be used. group, path: of the results."""
    kinds = list(dict.fromkeys(kinds))
    check(kinds, path)
    return [Tracking(Tracker.of(kind)(), group, local_folder(path)) for kind in kinds]


class TrackedPretraining:
    """Logs the evaluations of one run to several trackers, under the run's trial id."""

    def __init__(self, trackings: Iterable[Tracking], experiment: Experiment):
        self._trackings, self._experiment = list(trackings), experiment
        self._started = False

    def log(self, event: Evaluated) -> None:
        """Log an evaluation; the first one starts the run, so that a refused command logs nothing."""
        key, self._started = self._experiment.trial_id, True
        for tracking in self._trackings:
            tracking.start(key, key, parameters_of(self._experiment))
            tracking.log(key, event.epoch, metrics_of(event))

    def finish(self, *, failed: bool) -> None:
        """End the run, and wait until all has been sent."""
        for tracking in self._trackings if self._started else ():
            tracking.finish(self._experiment.trial_id, failed=failed)
            tracking.close()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
