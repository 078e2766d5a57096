"""The display of a running sweep: a line for each trial that ends and, on a terminal, a live table below them."""

import time
from typing import Any

from ray.tune import Callback
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from darl.distributed.recorder import RecorderCallback
from darl.distributed.unpickled import Unpickled
from darl.metrics import KNN, METRICS, Metric
from darl.sweep.base import Sweep

__all__ = ["ProgressDisplay"]


class ProgressDisplay(Unpickled, Callback):
    """Shows the rows that a recorder writes.

    done: number of trials that the tables held already. total: number of trials in all; a race may end with fewer.
    """

    def __init__(self, sweep: Sweep, done: int, total: int, *, race: bool = False):
        self.sweep, self.done, self.total, self.race = sweep, done, total, race
        self.console = Console()
        self.recorder: RecorderCallback | None = None
        self.shown = 0
        self.ended: set[str] = set()
        self.began = time.monotonic()
        self.live: Live | None = None

    def follow(self, recorder: RecorderCallback) -> "ProgressDisplay":
        """Show the rows of this recorder from now on; returns the display itself."""
        self.recorder = recorder
        return self

    def setup(self, **info: Any) -> None:
        """Start the display: Tune calls this before the first trial."""
        self.print_known()
        if self.console.is_terminal:
            self.live = Live(console=self.console, refresh_per_second=4)
            self.live.start()

    def print_known(self) -> None:
        """Print how many trials the tables held already."""
        if self.done:
            kind = "trials of the race" if self.race else "trials"
            self.console.print(f"{self.done} of at most {self.total} {kind} were there already", highlight=False)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Print a line for each new row, and update the live table."""
        assert self.recorder is not None
        for row in self.recorder.rows[self.shown :]:
            self.ended.add(row["trial_id"])
            self.console.print(self._line(row), highlight=False, soft_wrap=True)
        self.shown = len(self.recorder.rows)
        if self.live is not None:
            self.live.update(self._table([trial for trial in trials if trial.status == "RUNNING"]))

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the live table and keep the lines, also when the sweep is interrupted."""
        if self.live is not None:
            self.live.update("")
            self.live.stop()
            self.live = None

    def _line(self, row: dict[str, Any]) -> str:
        judge = METRICS[self.sweep.metric]
        if row["status"] == "stopped" and row.get(judge.column) is None and judge.proxy:  # stopped at such a rung
            judge = METRICS[judge.proxy]
        deciding = f"{judge.short} {_written(judge, row.get(judge.column))}"
        outcome = escape(row["error"]) if row["status"] == "failed" else deciding
        color = {"finished": "green", "stopped": "yellow", "failed": "red"}[row["status"]]
        cell, width = self._cell(row["config"]), 26
        shown = escape(cell.ljust(width))
        return (
            f"{self._count()}  {shown}  seed {row['seed']}  [{color}]{row['status']:<8}[/] "
            f"after epoch {row['epochs']:>3}  {outcome}"
        )

    def _count(self) -> str:
        done = self.done + len(self.ended)
        return f"{'race ' if self.race else ''}{done:>3}/{self.total}"

    def _cell(self, config: str) -> str:
        return self.sweep.labels([config])[0] or "?"

    def _table(self, running: list[Any]) -> Table:
        assert self.recorder is not None
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        table = Table(title=f"{self.sweep.name}: {self._count().strip()}, {minutes}:{seconds:02}")
        judge = METRICS[self.sweep.metric]
        for name in ("running", "cell", "seed", "epoch", judge.short, KNN.short):
            table.add_column(name, justify="right")
        for trial in running:
            experiment = self.recorder.job.experiment(trial.config)
            events = self.recorder.events.get(trial.trial_id) or {}
            last: dict[str, Any] = events[max(events)]["metrics"] if events else {}
            table.add_row(
                experiment.trial_id,
                escape(self.sweep.label(experiment) or "?"),
                str(experiment.seed),
                f"{self.recorder.at_epoch.get(trial.trial_id, 0):.1f} of {experiment.epochs}",
                *(_written(metric, last.get(metric.column)) for metric in (judge, KNN)),
            )
        return table


def _written(metric: Metric, value: float | None) -> str:
    return metric.format_aligned(value) or "-"
