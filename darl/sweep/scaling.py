"""A scaling study: models of several sizes at equal computation, and the next size, foretold before it runs.

Every *budget* is a number of floating-point operations of training. Each size trains for as many epochs as the budget
pays for, so that at one budget a larger model sees fewer images (Hoffmann et al. 2022, section 3.2). A law of the
validation loss (`darl.sweep.scaling_law`) is fitted to these runs, and its forecasts for the next size stand in
`sweep.json` before that size runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Self

from darl.experiment import Experiment
from darl.metrics import PROBE, RANKING_METRICS, VALIDATION_LOSS
from darl.sweep.base import Comparison, Sweep, arguments_of
from darl.sweep.design import Design
from darl.sweep.scaling_plan import Forecast, ScalingPlan
from darl.sweep.wording import several
from darl.variants import Record, require

__all__ = ["Scaling", "epochs_at"]


@dataclass(frozen=True, kw_only=True)
class Scaling(Design):
    """A design of sizes × budgets, each on the same seeds, and with `next_size` the cells of the size after them."""

    kind: ClassVar[str] = "scaling"

    metric: str = VALIDATION_LOSS.column
    accuracy: str = PROBE.column
    """The accuracy that the validation loss should foretell."""
    budgets: Mapping[str, int] = field(default_factory=dict[str, int])
    """The number of each cell's budget, by label, from 0, the smallest."""
    next_size: Sequence[str] = ()
    """The cells that no law is fitted to. The others have run before them, in a stage that this one stands for."""
    forecasts: Mapping[str, Forecast] = field(default_factory=dict[str, Forecast])
    """What was foretold for cells of `next_size` before they ran."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.metric == VALIDATION_LOSS.column, "metric", f"be {VALIDATION_LOSS.column}", self.metric)
        require(self.accuracy in RANKING_METRICS, "accuracy", f"be one of {', '.join(RANKING_METRICS)}", self.accuracy)

    def comparisons(self, rows: Sequence[Record]) -> list[Comparison]:
        """One comparison for each group, with what its law is fitted to and judged by."""
        plan = ScalingPlan(
            accuracy=self.accuracy, budgets=self.budgets, next_size=self.next_size, forecasts=self.forecasts
        )
        return [replace(comparison, scaling=plan) for comparison in super().comparisons(rows)]

    def stands_for(self, earlier: Sweep) -> bool:
        """Whether every cell of the earlier sweep is one of these."""
        return bool(self.next_size) and set(earlier.fixed_cells) <= set(self.cells)

    def possible_trials(self) -> list[Experiment]:
        """The planned trials, or those of the next size alone."""
        planned = [(point, repeat) for label, point, repeat in self.planned() if self._is_own(label)]
        return [self.experiment(point, repeat) for point, repeat in planned]

    def plan_lines(self, most: int) -> list[str]:
        """The own cells, and the number of their trials."""
        own = [label for label in self.cells if self._is_own(label)]
        more = [f"  and {several(len(own) - most, 'cells')} more"] if len(own) > most else []
        return [*(f"  cell: {label}" for label in own[:most]), *more, f"trials: {self.trials_in_words}"]

    @property
    def trials_in_words(self) -> str:
        """`27 trials (9 cells, 3 seeds)`."""
        own = sum(map(self._is_own, self.cells))
        cells, seeds = several(own, "cells"), several(self.seeds, "seeds")
        return f"{several(len(self.possible_trials()), 'trials')} ({cells}, {seeds})"

    def _is_own(self, label: str) -> bool:
        return not self.next_size or label in self.next_size

    def settings_rows(self) -> list[tuple[str, str]]:
        """The settings of each cell, and what was foretold for it."""
        rows = super().settings_rows()
        return [(cell, text + _foretold(self.forecasts.get(cell))) for cell, text in rows]

    def to_record(self) -> Record:
        """Plain JSON values."""
        forecasts = {label: asdict(forecast) for label, forecast in self.forecasts.items()}
        own: dict[str, Any] = {"accuracy": self.accuracy, "budgets": {**self.budgets}}
        return super().to_record() | own | {"next_size": list(self.next_size), "forecasts": forecasts}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`."""
        arguments = arguments_of(record)
        arguments["forecasts"] = {label: Forecast(**values) for label, values in record["forecasts"].items()}
        return cls(**arguments)


def epochs_at(flops: float, flops_per_epoch: float) -> int:
    """The epochs that a budget pays for, rounded, at least one."""
    return max(1, round(flops / flops_per_epoch))


def _foretold(forecast: Forecast | None) -> str:
    if forecast is None:
        return ""
    write = VALIDATION_LOSS.format_value
    return f"; foretold: {write(forecast.value)} ({write(forecast.low)} to {write(forecast.high)})"
