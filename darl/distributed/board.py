"""What a sweep shows while it runs: a live table on a terminal, one line per ended trial elsewhere."""

import time
from typing import Any

from ray.tune import Callback
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from darl.distributed.recorder import Recorder
from darl.sweep import Sweep

__all__ = ["Board"]

SHORT = {"probe_top1": "probe", "knn_top1": "kNN", "val_loss": "val loss"}


class Board(Callback):
    """Follows a recorder. `done` trials were there before."""

    def __init__(self, sweep: Sweep, done: int):
        self.sweep, self.done = sweep, done
        self.console = Console()
        self.recorder: Recorder | None = None
        self.shown = 0
        self.began = time.monotonic()
        self.live: Live | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # see Recorder

    def follow(self, recorder: Recorder) -> "Board":
        """The same board, for the next recorder."""
        self.recorder, self.shown = recorder, 0
        return self

    def setup(self, **info: Any) -> None:
        """Begin to show."""
        if self.console.is_terminal:
            self.live = Live(console=self.console, refresh_per_second=4)
            self.live.start()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Show what is new."""
        assert self.recorder is not None
        for row in self.recorder.rows[self.shown :]:
            self.done += row["seed"] == self.sweep.base.seed and row["attempt"] == 1
            self.console.print(self._line(row), highlight=False, soft_wrap=True)
        self.shown = len(self.recorder.rows)
        if self.live is not None:
            self.live.update(self._table([trial for trial in trials if trial.status == "RUNNING"]))

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *_: object) -> None:
        """Leave only the lines, also where the sweep is interrupted."""
        if self.live is not None:
            self.live.update("")
            self.live.stop()
            self.live = None

    def _line(self, row: dict[str, Any]) -> str:
        value = row.get(self.sweep.metric)
        said = escape(row["error"]) if row["status"] == "failed" else f"{SHORT[self.sweep.metric]} {self._value(value)}"
        place = "  ".join(f"{path} {row[path.replace('.', '_')]:<8.4g}" for path in self.sweep.space)
        color = {"finished": "green", "stopped": "yellow", "failed": "red"}[row["status"]]
        count = f"{self.done:>3}/{self.sweep.trials}" if row["seed"] == self.sweep.base.seed else f"seed {row['seed']}"
        return f"{count}  {place}  [{color}]{row['status']:<8}[/] after {row['epochs']:>3} epochs  {said}"

    def _table(self, running: list[Any]) -> Table:
        assert self.recorder is not None
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        table = Table(title=f"{self.sweep.name}: {self.done} of {self.sweep.trials} trials, {minutes}:{seconds:02}")
        for name in ("running", *self.sweep.space, "epoch", SHORT[self.sweep.metric]):
            table.add_column(name, justify="right")
        for trial in running:
            experiment = self.recorder.job.experiment(trial.config)
            events = self.recorder.events.get(trial.trial_id) or {}
            last = events[max(events)] if events else None
            point = self.sweep.point_of(experiment) or {}
            table.add_row(
                experiment.trial_id,
                *(f"{point.get(path, float('nan')):.4g}" for path in self.sweep.space),
                f"{self.recorder.at_epoch.get(trial.trial_id, 0):.1f} of {experiment.epochs}",
                self._value(last["metrics"][self.sweep.metric] if last else None),
            )
        return table

    def _value(self, value: float | None) -> str:
        if value is None:
            return "-"
        return f"{value:.4f}" if self.sweep.metric == "val_loss" else f"{100 * value:.1f} %"
