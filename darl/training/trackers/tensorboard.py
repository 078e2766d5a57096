"""TensorBoard: a folder of event files for each run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from darl.training.trackers.base import TrackedRun, Tracker

__all__ = ["TensorBoard"]

_PREFIX = "ray/tune"
"""Prefix of every tag, so that runs of the first version, which logged through Ray, share the charts."""


@dataclass(frozen=True, kw_only=True)
class TensorBoard(Tracker):
    """Event files in RESULTS/NAME/tensorboard/RUN, written by tensorboardX: `tensorboard --logdir` shows them."""

    kind: ClassVar[str] = "tensorboard"
    library: ClassVar[str] = "tensorboardX"
    needs_folder: ClassVar[bool] = True

    def start(self, name: str, parameters: Mapping[str, Any], *, group: str, folder: Path | None) -> TrackedRun:
        """Open an event file in a folder named after the run; a resumed run adds a further file there."""
        assert folder is not None, "checked before anything runs"
        return _TensorBoardRun(folder / "tensorboard" / name, parameters)


class _TensorBoardRun(TrackedRun):
    def __init__(self, folder: Path, parameters: Mapping[str, Any]):
        from tensorboardX import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.writer = SummaryWriter(str(folder), flush_secs=30)
        self.parameters = dict(parameters)
        self.last: dict[str, float] = {}

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.last = {f"{_PREFIX}/{name}": value for name, value in metrics.items() if not math.isnan(value)}
        for tag, value in self.last.items():
            self.writer.add_scalar(tag, value, global_step=step)
        self.writer.flush()

    def finish(self, *, failed: bool) -> None:
        """Write the parameters and the last metrics into the run's own file, where the HPARAMS page reads them."""
        from tensorboardX.summary import hparams

        if self.last and self.writer.file_writer is not None:
            for summary in hparams(hparam_dict=self.parameters, metric_dict=self.last):
                self.writer.file_writer.add_summary(summary)
        self.writer.close()
