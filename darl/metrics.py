"""The metrics, each said once: column, name, direction, how it is written, and what it can be compared across.

Whoever shows, ranks or stores a metric asks `METRICS`. A new metric is one entry here; the evaluation protocol that
measures it names it in `gives` (`darl.evaluation.protocol`), and so the tables get its column.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from darl.aspects import Aspect

__all__ = [
    "ENLARGED_PROBE",
    "GAMMA_GRID",
    "GAMMA_LOSSES",
    "JUDGES",
    "KNN",
    "METRICS",
    "PROBE",
    "TRAINING_LOSS",
    "VALIDATION_LOSS",
    "Metric",
    "Unit",
]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """How values of a metric, and differences between them, are written."""

    label: str
    """What follows the metric's name on an axis."""
    factor: int
    """From the tables' values to the written ones."""
    value: str
    """Format of a written value."""
    aligned: str
    """The same with a fixed number of decimals, for lines that stand below each other."""
    difference: str
    """Format of a written difference."""
    differences: str
    """The unit of differences."""
    counted: bool
    """Whether that unit follows a difference in a sentence: `0.3 points`."""
    highest: float
    """The highest value, and the largest difference, that there can be."""


TOP1 = Unit(
    label=", top-1 (%)", factor=100, value="{:.1f} %", aligned="{:.1f} %", difference="{:.1f}", differences="points",
    counted=True, highest=1.0,
)  # fmt: skip
"""Accuracies: fractions in the tables, percent in texts, and their differences in points."""

MSE = Unit(
    label=" (MSE)", factor=1, value="{:.4g}", aligned="{:.4f}", difference="{:.3g}", differences="MSE",
    counted=False, highest=math.inf,
)  # fmt: skip
"""Losses: mean squared errors of normalised pixels."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that says how good a model is."""

    column: str
    """In the tables, and wherever a user names it."""
    name: str
    """What people call it."""
    short: str = ""
    """Its name in a line of progress; empty where it is not shown there."""
    direction: Literal["max", "min"]
    """Which way is better."""
    unit: Unit
    not_across: frozenset[Aspect] = frozenset()
    """Experiments that differ in a field of these aspects cannot be compared by it."""
    because: str = ""
    """Why not."""
    judges: bool = False
    """Whether a sweep may be judged by it."""
    initial: bool = False
    """Whether the tables keep its value before training, too."""
    gain_by: str = ""
    """The column by which its gain over random initialisation is told, if not its own."""
    cheaper: str = ""
    """The column of a cheaper metric that stands for it at a search's first rung, if there is one."""

    @property
    def higher_is_better(self) -> bool:
        """Whether `direction` is `max`."""
        return self.direction == "max"

    @property
    def initial_column(self) -> str:
        """The column of its value before training."""
        return f"init_{self.column}"

    @property
    def axis(self) -> str:
        """An axis's label, with the unit: `kNN, top-1 (%)`."""
        return f"{self.name}{self.unit.label}"

    def text(self, value: float | None) -> str:
        """`62.1 %` or `0.1235` (four significant digits); nothing for None and NaN."""
        return self._write(self.unit.value, value)

    def aligned(self, value: float | None) -> str:
        """`62.1 %` or `0.1235` (four decimals); nothing for None and NaN."""
        return self._write(self.unit.aligned, value)

    def difference(self, difference: float) -> str:
        """Without its unit: `0.3` points, `0.0123` of a loss."""
        return self.unit.difference.format(self.unit.factor * difference)

    def amount(self, difference: float) -> str:
        """A difference in a sentence: `0.3 points`, or `0.0123` of a loss."""
        return self.difference(difference) + (f" {self.unit.differences}" if self.unit.counted else "")

    def _write(self, written: str, value: float | None) -> str:
        return "" if value is None or math.isnan(value) else written.format(self.unit.factor * value)


PROBE = Metric(
    column="probe_top1", name="linear probe", short="probe", direction="max", unit=TOP1, judges=True, initial=True,
    cheaper="knn_top1",
)  # fmt: skip

KNN = Metric(column="knn_top1", name="kNN", short="kNN", direction="max", unit=TOP1, judges=True, initial=True)

TRAINING_LOSS = Metric(
    column="train_loss", name="training loss", short="train loss", direction="min", unit=MSE, gain_by=PROBE.column,
    not_across=frozenset({Aspect.INPUT, Aspect.TARGET, Aspect.LOSS}),
    because="raw pretraining losses of different noise schedules, targets or orders say how hard the task is, not what "
    "the model has learned",
)  # fmt: skip

_TARGETS = "the targets, or what is seen of them, are not the same"

VALIDATION_LOSS = Metric(
    column="val_loss", name="validation loss", short="val loss", direction="min", unit=MSE, gain_by=PROBE.column,
    judges=True, not_across=frozenset({Aspect.INPUT, Aspect.TARGET}), because=_TARGETS,
)  # fmt: skip
"""The denoising error on `GAMMA_GRID`, whatever noise schedule a model was trained with."""

ENLARGED_PROBE = Metric(
    column="probe_top1_enlarged", name="linear probe on enlarged images", direction="max", unit=TOP1
)

GAMMA_GRID = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""The signal fractions of the schedule-independent validation loss."""

GAMMA_LOSSES: Mapping[float, Metric] = {
    gamma: Metric(
        column=f"val_loss_gamma_{gamma:.1f}".replace(".", "_"),
        name=f"validation loss at gamma {gamma:.1f}", direction="min", unit=MSE, gain_by=PROBE.column,
        not_across=VALIDATION_LOSS.not_across, because=_TARGETS,
    )
    for gamma in GAMMA_GRID
}  # fmt: skip
"""That loss at each gamma of the grid."""

METRICS: Mapping[str, Metric] = {
    metric.column: metric
    for metric in (PROBE, KNN, TRAINING_LOSS, VALIDATION_LOSS, ENLARGED_PROBE, *GAMMA_LOSSES.values())
}
"""Every metric by its column."""

JUDGES = tuple(metric.column for metric in METRICS.values() if metric.judges)
"""The columns that a sweep may be judged by. The training loss is not among them: see `TRAINING_LOSS.because`."""
