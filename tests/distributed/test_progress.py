"""The display of a running sweep."""

import io
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from darl.distributed.progress import ProgressDisplay
from tests.report.example_trials import ORDERS, cell, lost


def board(*, terminal: bool, done: int = 0) -> tuple[ProgressDisplay, Any, io.StringIO]:
    """A display that follows a recorder in which one trial runs, and the stream that it writes to."""
    running = ORDERS.experiment({"order": "hilbert"}, 1)
    recorder: Any = SimpleNamespace(
        rows=[], job=SimpleNamespace(experiment=lambda config: running), at_epoch={"t1": 2.5},
        events={"t1": {1: {"metrics": {"probe_top1": 0.4, "knn_top1": 0.3}}}},
    )  # fmt: skip
    shown, text = ProgressDisplay(ORDERS, done, 9).follow(recorder), io.StringIO()
    shown.console = Console(file=text, width=120, force_terminal=terminal, color_system=None)
    return shown, recorder, text


def step(shown: ProgressDisplay) -> None:
    shown.on_step_end(0, [SimpleNamespace(status="RUNNING", trial_id="t1", config={})])


def test_a_terminal_shows_ended_trials_and_a_table_of_running_ones() -> None:
    shown, recorder, text = board(terminal=True, done=2)
    with shown:
        shown.setup()
        recorder.rows += cell("raster", 0.61)
        step(shown)
        assert shown.live is not None
        shown.live.refresh()
        said = text.getvalue()
        assert "2 of at most 9 trials were there already" in said
        assert "3/9  raster" in said
        assert "orders: 3/9, 0:0" in said
        row = next(line for line in said.splitlines() if "hilbert" in line)
        assert [part in row for part in (" 1 ", "2.5 of 5", "40.0 %", "30.0 %")] == [True] * 4
    assert shown.live is None


def test_trials_that_the_tables_held_are_counted_first() -> None:
    for done in (9, 0):
        shown, _, text = board(terminal=False, done=done)
        shown.print_known()
        assert text.getvalue() == ("9 of at most 9 trials were there already\n" if done else "")


def test_without_a_terminal_each_ended_trial_is_one_line() -> None:
    shown, recorder, text = board(terminal=False)
    with shown:
        shown.setup()
        recorder.rows += [*cell("raster", 0.61), *lost("spiral", 0, "OutOfMemoryError: [too] wide")]
        step(shown)
        step(shown)
    first, second = text.getvalue().splitlines()
    assert " ".join(first.split()) == "1/9 raster seed 0 finished after epoch 5 probe 61.0 %"
    assert second.endswith("failed   after epoch   5  OutOfMemoryError: [too] wide")
    assert "raster" not in second
