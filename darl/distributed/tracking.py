"""Ray's own loggers (TensorBoard, Weights & Biases, MLflow), told of trials as the tables know them.

Of Tune they would hear of random names, of a config that is a point and a repeat, and of a step for every sign of life.
Here a trial has the name of its cell and its seed, all columns of its configuration as parameters, and one step for
each evaluation: its epoch. An error of a logger is said once and silences it; Tune would take it for the trial's.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.logger import LoggerCallback, TBXLoggerCallback

from darl.distributed.trial import Job
from darl.errors import UserError
from darl.experiment import flatten
from darl.results.rows import curve_row
from darl.results.tables import Results
from darl.storage.address import is_remote

__all__ = ["Logger", "TrackerCallback", "start"]


@dataclass(frozen=True, kw_only=True)
class Logger:
    """One of Ray's loggers."""

    name: str
    callback: LoggerCallback
    folder: Callable[[str], Path]
    """Where it keeps its files of a trial, by the trial's name."""


def start(names: list[str], results: Results) -> list[Logger]:
    """The loggers of these names, set up. Raises UserError where one is not installed or does not start."""
    return [_LOGGERS[name](results) for name in names]


class TrackerCallback(Callback):
    """Tells a logger of the trials of a run of a sweep."""

    def __init__(self, job: Job, logger: Logger):
        self.job, self.logger = job, logger
        self.silent = False
        self.trials: dict[str, _Shown] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # see Recorder

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial starts, perhaps again."""
        if trial.trial_id not in self.trials:
            experiment = self.job.experiment(trial.config)
            name = f"{self.job.sweep.label(experiment)}, seed {experiment.seed}".replace("/", "-")
            config = flatten(experiment.to_record())
            self.trials[trial.trial_id] = _Shown(trial.trial_id, name, config, self.logger.folder(name))
        self._tell(self.logger.callback.log_trial_start, self.trials[trial.trial_id])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """An evaluation; a trial that has started again tells its past again, which is known."""
        shown = self.trials[trial.trial_id]
        shown.failed |= bool(result.get("error"))
        if "event" in result and result["epoch"] > shown.epoch:
            shown.epoch = result["epoch"]
            measured = {name: value for name, value in curve_row(result["event"]).items() if value is not None}
            step = {"training_iteration": shown.epoch, "timesteps_total": shown.epoch}
            self._tell(self.logger.callback.log_trial_result, iteration, shown, measured | step)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The end of a trial that returned or was stopped."""
        self._end(trial, failed=False)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The end of a trial that failed and is not started again."""
        self._end(trial, failed=True)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Send what has not been sent."""
        self._tell(self.logger.callback.on_experiment_end, trials)

    def _end(self, trial: Any, *, failed: bool) -> None:
        if (shown := self.trials.pop(trial.trial_id, None)) is not None:  # Tune may call twice
            self._tell(self.logger.callback.log_trial_end, shown, failed or shown.failed)

    def _tell(self, call: Callable[..., None], *arguments: Any) -> None:
        if self.silent:
            return
        try:
            call(*arguments)
        except Exception as error:
            self.silent = True
            print(f"--log {self.logger.name} ends here: {_first_line(error)}", file=sys.stderr)


@dataclass(eq=False)
class _Shown:
    """What Ray's loggers read of a trial."""

    trial_id: str
    name: str
    config: dict[str, Any]
    folder: Path
    epoch: int = -1
    failed: bool = False

    @property
    def local_path(self) -> str:
        """Of the logger's files."""
        return str(self.folder)

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """The config, to TensorBoard."""
        return self.config

    def init_local_path(self) -> None:
        """Make it."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self.name


def _tensorboard(results: Results) -> Logger:
    if is_remote(results.path):
        raise UserError(f"--log tensorboard must come with results on a disk, got --results {results.path!r}")
    return _started("tensorboard", TBXLoggerCallback(), lambda name: Path(results.path, "tensorboard", name))


def _wandb(results: Results) -> Logger:
    _require_package("wandb")
    from ray.air.integrations.wandb import WandbLoggerCallback

    class Wandb(WandbLoggerCallback):
        def __del__(self) -> None:
            """Not Ray's, which fails when the interpreter ends; `on_experiment_end` has done its work."""

    place = Path() if is_remote(results.path) else Path(results.path)
    return _started("wandb", Wandb(project="darl", group=results.sweep), lambda _: place.resolve())


def _mlflow(results: Results) -> Logger:
    _require_package("mlflow")
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return _started("mlflow", MLflowLoggerCallback(experiment_name=results.sweep), Path)


_LOGGERS = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}


def _started(name: str, callback: LoggerCallback, folder: Callable[[str], Path]) -> Logger:
    try:
        callback.setup()
    except Exception as error:
        raise UserError(f"--log {name} could not start: {_first_line(error)}") from error
    return Logger(name=name, callback=callback, folder=folder)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _require_package(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError:
        raise UserError(f"--log must be of what is installed, got {name!r}; pip install {name}") from None
