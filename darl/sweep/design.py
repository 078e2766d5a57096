"""A design: every cell of a table, each with the same seeds."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Self

from darl.evaluation.protocol import Protocols, evenly
from darl.experiment import Experiment
from darl.sweep.base import Comparison, Sweep, arguments_of, describe, differing_fields
from darl.sweep.space import Point
from darl.sweep.wording import several
from darl.variants import Record, require

__all__ = ["Design"]


@dataclass(frozen=True, kw_only=True)
class Design(Sweep):
    """Every cell of a table, each with the same seeds. Cells are compared within their groups."""

    kind: ClassVar[str] = "design"
    no_seeds: ClassVar[str] = "less than one seed of each cell"
    concludes: ClassVar[bool] = True

    cells: Mapping[str, Point]
    """By label, in the order of presentation."""
    groups: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of cells that are compared with some others only (on one data set, say), by label."""
    baselines: Mapping[str, str] = field(default_factory=dict[str, str])
    """The cell to compare with, by group; `baseline` where not given."""
    across: str | None = None
    """What tells groups apart whose baselines are compared with the first one's, too; None where that says nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.cells) > 0, "cells", "be at least one", len(self.cells))
        for name in (self.baseline, *self.baselines.values()):
            require(name is None or name in self.cells, "baseline", f"be one of {', '.join(self.cells)}", name)
        _ = self._by_record

    @property
    def evaluate_at(self) -> Mapping[int, Protocols]:
        """Everything is measured, at evenly spaced epochs."""
        chosen = evenly(self.base.epochs, self.evaluations, self.full)
        return {epoch: evaluation for epoch, evaluation in chosen.items() if epoch < self.base.epochs}

    def planned(self) -> list[tuple[str, Point, int]]:
        """Label, point and repeat of every trial, seed by seed: a sweep that is cut short has whole seeds first."""
        every = [(label, dict(point), repeat) for repeat in range(self.seeds) for label, point in self.cells.items()]
        return every[: self.trials]

    @property
    def fixed_cells(self) -> Mapping[str, Point]:
        """All of them."""
        return self.cells

    @property
    def varied_paths(self) -> frozenset[str]:
        """What any of the cells sets."""
        return frozenset(path for point in self.cells.values() for path in point)

    def possible_trials(self) -> list[Experiment]:
        """Those that are planned."""
        return [self.experiment(point, repeat) for _, point, repeat in self.planned()]

    def count_ended(self, rows: Iterable[Record]) -> int:
        """Of the planned trials."""
        ended = {experiment.trial_id for experiment in self.experiments(row["config"] for row in rows) if experiment}
        return len({experiment.trial_id for experiment in self.possible_trials()} & ended)

    def plan_lines(self, most: int) -> list[str]:
        """Cells, trials, and the length of each."""
        names = list(self.cells)
        lines = [
            f"  cell: {label}{'  (the baseline)' if label == self.baseline_of(label) else ''}" for label in names[:most]
        ]
        if len(names) > most:
            lines.append(f"  and {several(len(names) - most, 'cells')} more")
        first, last = self.base.seed, self.base.seed + self.seeds - 1
        seeds = f"seeds {first} to {last}" if self.seeds > 1 else f"seed {first}"
        planned, every = len(self.planned()), len(names) * self.seeds
        number = f"the first {planned} of {every}" if planned < every else str(every)
        lines.append(f"trials: {number} = {several(len(names), 'cells')} × {seeds}")
        return [*lines, f"each: {several(self.base.epochs, 'epochs')}"]

    @property
    def trials_in_words(self) -> str:
        """`16 trials (8 cells, 2 seeds)`."""
        cells, seeds = several(len(self.cells), "cells"), several(self.seeds, "seeds")
        return f"{several(len(self.planned()), 'trials')} ({cells}, {seeds})"

    @property
    def compared_seeds(self) -> range:
        """All of them."""
        return self.all_seeds

    def comparisons(self, rows: Sequence[Record]) -> list[Comparison]:
        """One for each group, and one of their baselines where that says something."""
        found = [
            Comparison(
                cells=cells, baseline=self.baselines.get(group, self.baseline), group=group, title=group or "Cells"
            )
            for group, cells in self._cells_by_group().items()
        ]
        if self.across:
            cells = list(self.baselines.values())
            found.append(
                Comparison(cells=cells, baseline=cells[0], group=self.across, title=self.across, accuracies_only=True)
            )
        return found

    @property
    def compared_cells(self) -> int:
        """Of the largest group."""
        return max(Counter(map(self.group_of, self.cells)).values())

    @property
    def whole_seeds(self) -> int:
        """The trials of a design run seed by seed."""
        return len(self.planned()) // len(self.cells)

    def compared_fields(self) -> list[list[str]]:
        """Those in which the cells of a group differ, for each group."""
        return [
            differing_fields(self.experiment(self.cells[label]) for label in cells)
            for cells in self._cells_by_group().values()
        ]

    def baseline_of(self, label: str) -> str | None:
        """The baseline of the cell's group."""
        return self.baselines.get(self.group_of(label), self.baseline)

    def group_of(self, label: str) -> str:
        """The cell's group."""
        return self.groups.get(label, "")

    def _cells_by_group(self) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for label in self.cells:
            groups.setdefault(self.group_of(label), []).append(label)
        return groups

    @property
    def settings_title(self) -> str:
        """With the number of seeds."""
        return f"What each cell sets ({several(self.seeds, 'seeds')})"

    def settings_rows(self) -> list[tuple[str, str]]:
        """By cell."""
        return [(cell, describe(point) or "the base's settings") for cell, point in self.cells.items()]

    def label(self, experiment: Experiment) -> str | None:
        """The cell's."""
        return self._by_record.get(_seedless(experiment))

    @cached_property
    def _by_record(self) -> dict[str, str]:
        labels: dict[str, str] = {}
        for label, point in self.cells.items():
            record = _seedless(self.experiment(point))
            require(record not in labels, "cells", "differ from each other", (labels.get(record), label))
            labels[record] = label
        return labels

    def to_record(self) -> Record:
        """Plain JSON values."""
        own = {"cells": self.cells, "groups": self.groups, "baselines": self.baselines}
        return self._shared() | {name: {**value} for name, value in own.items()} | {"across": self.across}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`."""
        return cls(**arguments_of(record))


def _seedless(experiment: Experiment) -> str:
    return json.dumps({name: value for name, value in experiment.identity.items() if name != "seed"}, sort_keys=True)
