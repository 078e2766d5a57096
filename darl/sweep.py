"""A sweep as plain data: which experiments, judged by what, compared with what. No Ray.

There are two kinds. A `Design` runs every cell of a table with the same seeds, so that cells are compared in pairs; a
`Search` spends its trials where they promise most, and then runs its best points again on fresh seeds, since the best
of many on one seed looks better than it is. Both give the same tables, and both are known again from a folder of
results: `SWEEP_FILE` there holds the record of what was asked.
"""

import json
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self

from darl.config import Experiment
from darl.errors import UserError
from darl.evaluate import Measures, evenly
from darl.space import Point, Space, read
from darl.variants import Record, require

__all__ = ["ATTEMPTS", "METRICS", "SWEEP_FILE", "Design", "Search", "Sweep", "describe", "from_json", "to_json"]

METRICS = {"probe_top1": "max", "knn_top1": "max", "val_loss": "min"}
"""What a sweep may be judged by, and which way is better. The raw training loss is not comparable."""

ATTEMPTS = 3
"""Failures of one trial after which it is not tried again."""

SWEEP_FILE = "sweep.json"
"""In RESULTS/SWEEP: what the last command there asked for, `to_json`."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What both kinds have."""

    kind: ClassVar[str]
    name: str
    question: str
    base: Experiment
    metric: str = "probe_top1"
    seeds: int = 1
    """Of each cell: the base's seed and those that follow."""
    trials: int | None = None
    """How many are run in all; the same sweep with more goes on."""
    baseline: str | None = None
    """The label of the cell that others are compared with."""
    evaluations: int = 2
    """Of a design's trial, evenly spaced, the last epoch's among them."""
    enlarged: bool = False
    """Whether the probe is also tried on images larger than those of training."""

    def __post_init__(self) -> None:
        require(self.trials is None or self.trials >= 1, "trials", "be at least 1", self.trials)
        require(self.seeds >= 1, "seeds", "be at least 1", self.seeds)
        require(self.evaluations >= 1, "evaluations", "be at least 1", self.evaluations)
        require(self.metric in METRICS, "objective-metric", f"be one of {', '.join(METRICS)}", self.metric)

    @property
    def mode(self) -> str:
        """`max` or `min`."""
        return METRICS[self.metric]

    @property
    def full(self) -> Measures:
        """What is measured before training, at the end, and where nothing cheaper is asked for."""
        return Measures(enlarged=self.enlarged)

    @property
    @abstractmethod
    def schedule(self) -> Mapping[int, Measures]:
        """What is measured after which epochs, beside the first evaluation and the last."""

    @abstractmethod
    def label(self, experiment: Experiment) -> str | None:
        """The cell that an experiment of any seed belongs to; None where it is not of this sweep."""

    def experiment(self, point: Mapping[str, Any], repeat: int = 0) -> Experiment:
        """The experiment at a point, on the base's seed + `repeat`; raises UserError where it cannot be used."""
        return self.base.changed({**point, "seed": self.base.seed + repeat})

    def labels(self, configs: Iterable[str]) -> list[str | None]:
        """The cell of each row of the tables by its `config`; None for rows of other sweeps and settings."""
        return [None if one is None else self.label(one) for one in self.experiments(configs)]

    def experiments(self, configs: Iterable[str]) -> list[Experiment | None]:
        """The experiment of each row of the tables; None where it is of a variant that this code does not know."""
        return [_experiment(config) for config in configs]

    @abstractmethod
    def to_record(self) -> Record:
        """Plain JSON values; `from_json` reads them."""

    def _shared(self) -> Record:
        names = ("name", "question", "metric", "seeds", "trials", "baseline", "evaluations", "enlarged")
        return {"kind": self.kind, "base": self.base.to_record()} | {name: getattr(self, name) for name in names}


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
        return cls(**_arguments(record))


@dataclass(frozen=True, kw_only=True)
class Search(Sweep):
    """A search for the best point of a space, on the base's seed, and a race of its best on the seeds that follow.

    With `seeds` > 1, the best `contenders` and the known first points run again on seeds that the search has not seen,
    in pairs; those that fall behind are dropped on the way.
    """

    kind: ClassVar[str] = "search"
    space: Space
    trials: int = 16  # pyright: ignore[reportIncompatibleVariableOverride]
    first: Mapping[str, Point] = field(default_factory=dict[str, Point])
    """Known points by label; they run first and are never stopped early."""
    contenders: int = 3
    reduction: int = 3
    """Early stopping keeps about one in this many at each rung."""
    early: bool = True
    """Whether trials may be stopped early where the pilot shows that early results foretell late ones."""
    pilot: int = 8
    """Trials that run whole before any is stopped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.contenders >= 1, "contenders", "be at least 1", self.contenders)
        require(self.pilot >= 3, "pilot", "be at least 3", self.pilot)

    @property
    def grace(self) -> int:
        """The first epoch after which a trial may be stopped; the next rungs are `reduction` times later each.

        Two rungs lie before the last epoch, at g and rg: r²g is beyond it.
        """
        return self.base.epochs // self.reduction**2 + 1

    @property
    def rungs(self) -> dict[int, str]:
        """The epochs after which a trial may be stopped, and the metric that decides there.

        The first rung's is the cheaper kNN where the sweep is judged by the linear probe.
        """
        epochs = [epoch for epoch in (self.grace, self.grace * self.reduction) if epoch < self.base.epochs]
        cheap = "knn_top1" if self.metric == "probe_top1" else self.metric
        return dict(zip(epochs, (cheap, self.metric), strict=False))

    @property
    def schedule(self) -> Mapping[int, Measures]:
        """At each rung, no more than what decides there."""
        return {epoch: Measures.only(metric) for epoch, metric in self.rungs.items()}

    def label(self, experiment: Experiment) -> str | None:
        """A known point's name, else the point's numbers."""
        point = self.point_of(experiment)
        return None if point is None else self.label_of(point)

    def label_of(self, point: Point) -> str:
        """A known point's name, else the point's numbers."""
        return next((name for name, known in self.first.items() if known == point), None) or describe(point)

    def point_of(self, experiment: Experiment) -> Point | None:
        """The point that an experiment of this search lies at; None where it is not of this search."""
        point: Point = {}
        for path, dimension in self.space.items():
            part = dimension.part(path, experiment)
            if part is None:
                return None
            point |= part
        return point if self.base.changed({**point, "seed": experiment.seed}) == experiment else None

    def racing(self, rows: Iterable[Record]) -> list[Point]:
        """The points that run on fresh seeds: the known ones, then the best of the search; none before it has any."""
        best = self.ranked(rows)[: self.contenders]
        known = [dict(point) for point in self.first.values()] if best else []  # before all: a race may be cut short
        return known + [point for point in best if point not in known]

    def ranked(self, rows: Iterable[Record]) -> list[Point]:
        """The points of those rows of `trials` that have run whole on the search's own seed, best first."""
        found: list[tuple[float, Point]] = []
        for row in rows:
            value = row[self.metric]
            if row["status"] == "finished" and value is not None and math.isfinite(value):
                one = _experiment(row["config"])
                point = self.point_of(one) if one is not None and one.seed == self.base.seed else None
                found += [] if point is None else [(float(value), point)]
        return [point for _, point in sorted(found, key=lambda pair: pair[0], reverse=self.mode == "max")]

    def to_record(self) -> Record:
        """Plain JSON values."""
        names = ("contenders", "reduction", "early", "pilot")
        own = {name: getattr(self, name) for name in names} | {"first": {**self.first}}
        return self._shared() | own | {"space": {path: part.to_record() for path, part in self.space.items()}}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`."""
        arguments = _arguments(record)
        arguments["space"] = {path: read(part) for path, part in record["space"].items()}
        return cls(**arguments)


def to_json(stages: Iterable[Sweep]) -> str:
    """The sweeps of one folder, in the order in which they run."""
    return json.dumps({"version": 1, "stages": [stage.to_record() for stage in stages]}, indent=1)


def from_json(text: str) -> list[Sweep]:
    """The inverse of `to_json`; raises UserError where it is of another version of darl."""
    kinds = {kind.kind: kind for kind in (Design, Search)}
    try:
        return [kinds[stage["kind"]].from_record(stage) for stage in json.loads(text)["stages"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{SWEEP_FILE} must be of this version of darl, got {error!r}; run the sweep again") from None


def describe(point: Mapping[str, Any]) -> str:
    """A point in a few words: `a=0.03, b=1`, `order=hilbert`."""
    return ", ".join(f"{path.rpartition('.')[2]}={_short(value)}" for path, value in point.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _arguments(record: Record) -> Record:
    return {name: value for name, value in record.items() if name != "kind"} | {
        "base": Experiment.from_record(record["base"])
    }


def _seedless(experiment: Experiment) -> str:
    record = experiment.to_record()
    return json.dumps({name: value for name, value in record.items() if name != "seed"}, sort_keys=True)


def _experiment(config: str) -> Experiment | None:
    try:
        return Experiment.from_record(json.loads(config))
    except ValueError:  # of a variant or a field that this code does not know
        return None
