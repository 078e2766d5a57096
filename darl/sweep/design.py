"""A design: every cell of a table, each with the same seeds."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Self

from darl.evaluation.protocol import Protocols, space_evenly
from darl.experiment import Experiment
from darl.records import flatten
from darl.sweep.base import Comparison, Sweep, arguments_of, describe
from darl.sweep.comparability import differing_fields
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
    """The point of each cell, by label, in the order of presentation."""
    groups: Mapping[str, str] = field(default_factory=dict[str, str])
    """The group of each cell, by label: a cell is compared only with cells of its group (of one data set, say)."""
    baselines: Mapping[str, str] = field(default_factory=dict[str, str])
    """The baseline of each group; `baseline` for a group that is not listed."""
    across: str | None = None
    """The title of an extra comparison between the groups' baselines, such as `patch size`; None for no such one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.cells) > 0, "cells", "be at least one", len(self.cells))
        for name in (self.baseline, *self.baselines.values()):
            require(name is None or name in self.cells, "baseline", f"be one of {', '.join(self.cells)}", name)
        for label in self.groups:
            require(label in self.cells, "groups", f"name cells ({', '.join(self.cells)})", label)
        for group, name in self.baselines.items():
            require(self.group_of(name) == group, "baselines", f"have a cell of group {group!r} for it", name)
        _ = self._by_record

    @property
    def evaluate_at(self) -> Mapping[int, Protocols]:
        """At evenly spaced epochs, the full evaluation without protocols that train a model."""
        cheap = self.full.without_training()
        chosen = space_evenly(self.base.epochs, self.evaluations, cheap) if cheap.members else {}
        return {epoch: evaluation for epoch, evaluation in chosen.items() if epoch < self.base.epochs}

    def planned(self) -> list[tuple[str, Point, int]]:
        """Label, point and repeat of every trial, seed by seed, so that a sweep that is cut short has whole seeds."""
        every = [(label, dict(point), repeat) for repeat in range(self.seeds) for label, point in self.cells.items()]
        return every[: self.trials]

    @property
    def fixed_cells(self) -> Mapping[str, Point]:
        """All cells."""
        return self.cells

    @property
    def varied_paths(self) -> frozenset[str]:
        """The paths that any cell sets."""
        return frozenset(path for point in self.cells.values() for path in point)

    def possible_trials(self) -> list[Experiment]:
        """The planned trials."""
        return [self.experiment(point, repeat) for _, point, repeat in self.planned()]

    def count_ended(self, rows: Iterable[Record]) -> int:
        """Number of planned trials that have ended."""
        ended = {experiment.trial_id for experiment in self.experiments(row["config"] for row in rows) if experiment}
        return len({experiment.trial_id for experiment in self.possible_trials()} & ended)

    def plan_lines(self, most: int) -> list[str]:
        """The cells, the number of trials, and the epochs of each."""
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
        return [*lines, f"each: {self.epochs_in_words}"]

    @property
    def epochs_in_words(self) -> str:
        """`36 epochs`, or `9 to 36 epochs` where cells differ in it."""
        lengths = {self.experiment(point).epochs for point in self.cells.values()}
        longest = several(max(lengths), "epochs")
        return longest if len(lengths) == 1 else f"{min(lengths)} to {longest}"

    @property
    def trials_in_words(self) -> str:
        """`16 trials (8 cells, 2 seeds)`."""
        cells, seeds = several(len(self.cells), "cells"), several(self.seeds, "seeds")
        return f"{several(len(self.planned()), 'trials')} ({cells}, {seeds})"

    @property
    def compared_seeds(self) -> range:
        """All seeds of the design."""
        return self.all_seeds

    def comparisons(self, rows: Sequence[Record]) -> list[Comparison]:
        """One comparison for each group and, with `across`, one of the groups' baselines."""
        compared = [
            Comparison(
                cells=cells, baseline=self.baselines.get(group, self.baseline), group=group, title=group or "Cells"
            )
            for group, cells in self._cells_by_group().items()
        ]
        if self.across:
            cells = list(self.baselines.values())
            compared.append(
                Comparison(cells=cells, baseline=cells[0], group=self.across, title=self.across, accuracies_only=True)
            )
        return compared

    @property
    def compared_cells(self) -> int:
        """Number of cells in the largest group."""
        return max(Counter(map(self.group_of, self.cells)).values())

    @property
    def whole_seeds(self) -> int:
        """Number of seeds that all cells have, since trials run seed by seed."""
        return len(self.planned()) // len(self.cells)

    def compared_fields(self) -> list[list[str]]:
        """For each group, the fields in which its cells differ."""
        return [
            differing_fields([flatten(self.experiment(self.cells[label]).to_record()) for label in cells])
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
        """The title, with the number of seeds."""
        return f"What each cell sets ({several(self.seeds, 'seeds')})"

    def settings_rows(self) -> list[tuple[str, str]]:
        """The settings of each cell."""
        return [(cell, describe(point) or "the base's settings") for cell, point in self.cells.items()]

    def label(self, experiment: Experiment) -> str | None:
        """The label of the experiment's cell; None for an experiment of no cell."""
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
