"""A scaling study as plain data: equal operations, its own trials, its record; and the script that builds it."""

import runpy
from argparse import Namespace
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from darl.cli.flags import Options, Parser, add_experiment_flags
from darl.errors import UserError
from darl.sweep.record import from_json, to_json
from darl.sweep.scaling import Scaling, epochs_at
from darl.sweep.scaling_plan import Forecast
from tests.cli.sweep_script import SWEEPS
from tests.report.example_scaling import STUDY, rows_of
from tests.report.figures.example_figures import table

FORECAST = Forecast(value=0.4, low=0.3, high=0.5)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darl.sweep.scaling_law.RESAMPLES", 4)


def script(*arguments: str) -> tuple[dict[str, Any], Options]:
    """The script's functions, and what its flags give."""
    functions = runpy.run_path(str(SWEEPS / "scaling.py"))
    parser = Parser()
    add_experiment_flags(parser, on_digits={"epochs": 16})
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int)
    functions["add_flags"](parser)
    flags: Namespace = parser.parse_args(list(arguments))
    return functions, Options(flags)


def test_all_sizes_of_a_budget_spend_the_same_operations_and_budgets_double() -> None:
    functions, options = script()
    built = functions["scaling"](options)
    assert isinstance(built, Scaling)
    for group in set(built.groups.values()):
        spent: dict[int, list[float]] = {}
        for label in (label for label in built.cells if built.groups[label] == group):
            own = built.experiment(built.cells[label])
            spent.setdefault(built.budgets[label], []).append(own.epochs * own.model_config.flops())
            assert own.model.width // own.model.heads == 16
        assert sorted(spent) == [0, 1, 2]
        for number, each in spent.items():
            assert max(each) / min(each) < 1.15
            assert sum(each) / sum(spent[0]) == pytest.approx(2**number, rel=0.1)


def test_the_next_size_is_larger_and_runs_at_the_largest_budget_and_at_twice_that() -> None:
    functions, options = script("--objective", "mse", "--sizes", "32,48,64,96", "--budgets", "2")
    first = functions["scaling"](options)
    second = functions["next_size"](options, [first], pd.DataFrame())
    assert list(second.cells)[: len(first.cells)] == list(first.cells)
    assert [second.budgets[label] for label in second.next_size] == [1, 2]
    assert {second.cells[label]["model.width"] for label in second.next_size} == {96}
    assert second.stands_for(first)
    assert not first.stands_for(second)
    assert second.forecasts == {}


def test_what_is_foretold_comes_from_the_other_sizes_alone() -> None:
    functions, options = script("--objective", "mse")
    first = functions["scaling"](options)
    trials = table(rows_of(first))
    second = functions["next_size"](options, [first], trials)
    assert list(second.forecasts) == list(second.next_size)
    worse = table([*rows_of(first), *rows_of(second, only=second.next_size, factor=3.0)])
    assert functions["next_size"](options, [first], worse).forecasts == second.forecasts
    for label, forecast in second.forecasts.items():
        (row,) = rows_of(second, only=[label], seeds=1)
        assert forecast.value == pytest.approx(row["val_loss"], rel=0.02)


def test_a_failed_trial_does_not_change_what_is_foretold() -> None:
    functions, options = script("--objective", "mse")
    first = functions["scaling"](options)
    rows = rows_of(first)
    failed = {**rows[0], "status": "failed", "epochs": 0, "images_seen": 0, "flops": None, "val_loss": None}
    expected = functions["next_size"](options, [first], table(rows)).forecasts
    assert functions["next_size"](options, [first], table([failed, *rows])).forecasts == expected
    assert functions["next_size"](options, [first], table([failed])).forecasts == {}


@pytest.mark.parametrize("sizes", ["32,48", "32,48,48", "32,48,large-ish", "32,48,50"])
def test_sizes_that_cannot_be_used_are_refused(sizes: str) -> None:
    functions, options = script("--sizes", sizes)
    with pytest.raises(UserError, match="--sizes must be"):
        functions["scaling"](options)
    with pytest.raises(UserError, match="--sizes must be"):
        functions["next_size"](options, [], pd.DataFrame())


def test_too_few_epochs_for_the_budgets_are_refused() -> None:
    functions, options = script("--epochs", "2")
    with pytest.raises(UserError, match="epochs must be so large that a larger budget is more epochs, got 2"):
        functions["scaling"](options)


def test_named_sizes_set_width_depth_and_heads() -> None:
    functions, options = script("--sizes", "nano,tiny,small", "--noise", "beta")
    built = functions["scaling"](options)
    assert {(point["model.width"], point["model.depth"]) for point in built.cells.values()} == {(64, 4), (192, 12)}
    assert set(built.groups.values()) == {""}


def test_only_the_next_size_is_its_own_to_run() -> None:
    assert len(STUDY.possible_trials()) == 3 * len(STUDY.cells)
    ahead = replace(STUDY, next_size=list(STUDY.cells)[-2:], forecasts={})
    assert len(ahead.possible_trials()) == 6
    assert ahead.trials_in_words == "6 trials (2 cells, 3 seeds)"
    assert [line for line in ahead.plan_lines(12) if "cell:" in line] == [f"  cell: {cell}" for cell in ahead.next_size]


def test_it_is_read_back_from_its_record() -> None:
    last = list(STUDY.cells)[-1]
    study = replace(STUDY, next_size=[last], forecasts={last: FORECAST})
    (again,) = from_json(to_json([study]))
    assert again == study
    assert dict(study.settings_rows())[last].endswith("; foretold: 0.4 (0.3 to 0.5)")


def test_only_the_validation_loss_scales() -> None:
    with pytest.raises(UserError, match="metric must be val_loss"):
        replace(STUDY, metric="probe_top1")


def test_epochs_are_rounded_and_at_least_one() -> None:
    assert [epochs_at(flops, 10.0) for flops in (1.0, 24.0, 26.0)] == [1, 2, 3]
