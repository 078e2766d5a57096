"""A design: every cell of a table, each with the same seeds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Self

from darl.evaluation.protocol import Measures, evenly
from darl.experiment import Experiment
from darl.sweep.base import Sweep, arguments_of
from darl.sweep.space import Point
from darl.variants import Record, require

__all__ = ["Design"]


@dataclass(frozen=True, kw_only=True)
class Design(Sweep):
    """Every cell of a table, each with the same seeds. Cells are compared within their groups."""

    kind: ClassVar[str] = "design"
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
    def schedule(self) -> Mapping[int, Measures]:
        """All is measured, evenly spaced."""
        chosen = evenly(self.base.epochs, self.evaluations, self.full)
        return {epoch: measures for epoch, measures in chosen.items() if epoch < self.base.epochs}

    def planned(self) -> list[tuple[str, Point, int]]:
        """Label, point and repeat of every trial, seed by seed: a sweep that is cut short has whole seeds first."""
        every = [(label, dict(point), repeat) for repeat in range(self.seeds) for label, point in self.cells.items()]
        return every[: self.trials]

    def baseline_of(self, label: str) -> str | None:
        """The cell that a cell is compared with."""
        return self.baselines.get(self.groups.get(label, ""), self.baseline)

    def label(self, experiment: Experiment) -> str | None:
        """The cell's."""
        return self._by_record.get(_seedless(experiment))

    @cached_property
    def _by_record(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for label, point in self.cells.items():
            record = _seedless(self.experiment(point))
            require(record not in found, "cells", "differ from each other", (found.get(record), label))
            found[record] = label
        return found

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
