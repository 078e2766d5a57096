"""What other loggers are told of trials."""

import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.logger import LoggerCallback
from tensorboardX.proto.event_pb2 import Event

from darl.cli.flags import LOGGERS
from darl.distributed import tracking
from darl.distributed.tracking import Logger, TrackerCallback
from darl.distributed.trainer import report_of
from darl.distributed.trial import Job
from darl.errors import UserError
from darl.results.tables import Results
from darl.training.events import Evaluated
from darl.training.parallel import Workers
from tests.report.example_trials import ORDERS

METRICS = dict.fromkeys(("val_loss", "probe_top1_enlarged")) | {"probe_top1": 0.5, "knn_top1": 0.25}
TRIAL = SimpleNamespace(trial_id="x", config={"trial": ({"order": "hilbert"}, 2)})
"""As Tune has it: the cell of the third seed."""


class Notebook(LoggerCallback):
    """Notes what it is told."""

    def __init__(self, breaks: bool = False):
        self.breaks, self.told = breaks, []

    def log_trial_start(self, trial: Any) -> None:
        self.told.append((str(trial), trial.config["order"], trial.config["seed"]))

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        if self.breaks:
            raise ConnectionError("no route to the server\nin many lines")
        self.told.append(result)

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        self.told.append((str(trial), failed))


def evaluated(epoch: int) -> dict[str, Any]:
    """A report, with what Tune adds."""
    event = Evaluated(epoch, 10 * epoch, 320 * epoch, METRICS, 0.9 if epoch else None, 1e-3, 2.0 * epoch, None)
    return report_of(event) | {"training_iteration": 17, "pid": 3}


def told(logger: Logger, *results: dict[str, Any], path: Path) -> TrackerCallback:
    """Of a trial that starts, reports these and ends."""
    found = TrackerCallback(Job(sweep=ORDERS, workers=Workers(), root=str(path)), logger)
    found.on_trial_start(0, [], TRIAL)
    for result in results:
        found.on_trial_result(0, [], TRIAL, result)
    found.on_trial_complete(0, [], TRIAL)
    found.on_trial_complete(0, [], TRIAL)
    return found


def test_a_trial_has_its_cells_name_its_columns_and_its_epochs(tmp_path: Path) -> None:
    book = Notebook()
    again = [evaluated(0), evaluated(3)]  # as a trial tells that starts again
    logger = Logger(name="book", callback=book, folder=Path)
    told(logger, evaluated(0), {"at_epoch": 0.5, "loss": 1.0}, *again, evaluated(5), path=tmp_path)
    start, *results, end = book.told
    assert start == ("hilbert, seed 2", "hilbert", 2)
    assert [(one["epoch"], one["training_iteration"], one["timesteps_total"]) for one in results] == [
        (0, 0, 0), (3, 3, 3), (5, 5, 5),
    ]  # fmt: skip
    assert results[1]["probe_top1"] == 0.5
    assert not {"val_loss", "pid", "event", "images_per_second"} & set(results[1])
    assert end == ("hilbert, seed 2", False)


def test_a_failure_that_is_reported_is_one(tmp_path: Path) -> None:
    book = Notebook()
    told(Logger(name="book", callback=book, folder=Path), evaluated(0), {"error": "diverged"}, path=tmp_path)
    assert book.told[-1] == ("hilbert, seed 2", True)


def test_a_logger_that_breaks_is_silenced_and_the_trial_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = Notebook(breaks=True)
    told(Logger(name="book", callback=book, folder=Path), evaluated(0), evaluated(5), path=tmp_path)
    assert len(book.told) == 1
    assert capsys.readouterr().err == "--log book ends here: no route to the server\n"


def test_tensorboard_has_a_folder_a_trial(tmp_path: Path) -> None:
    results = Results(str(tmp_path), "orders")
    (logger,) = tracking.start(["tensorboard"], results)
    told(logger, evaluated(0), evaluated(5), path=tmp_path)
    (file,) = (tmp_path / "orders" / "tensorboard" / "hilbert, seed 2").iterdir()
    scalars = [(value.tag, event.step, value.simple_value) for event in events(file) for value in event.summary.value]
    assert ("ray/tune/probe_top1", 0, 0.5) in scalars
    assert ("ray/tune/probe_top1", 5, 0.5) in scalars


def events(file: Path) -> list[Event]:
    """Of TensorFlow's record format: length, checksum, data, checksum."""
    data, found = file.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    return found


def test_the_flag_offers_what_there_is() -> None:
    assert set(LOGGERS) == set(tracking._LOGGERS)


def test_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--log tensorboard must come with results on a disk, got --results 's3://x"):
        tracking.start(["tensorboard"], SimpleNamespace(path="s3://x/orders"))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="--log must be of what is installed, got 'wandb'; pip install wandb"):
        tracking.start(["wandb"], Results("x", "orders"))
