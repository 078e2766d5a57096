"""A search for the best point of a space, then a race of its best on fresh seeds."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

from darl.evaluation.protocol import Measures
from darl.experiment import Experiment
from darl.sweep.base import Sweep, arguments_of, describe
from darl.sweep.space import Point, Space, read
from darl.variants import Record, require

__all__ = ["Search"]


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
        same = self.experiment(point, experiment.seed - self.base.seed).identity == experiment.identity
        return point if same else None

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
                experiment = self.experiments([row["config"]])[0]
                if experiment is not None and experiment.seed == self.base.seed:
                    point = self.point_of(experiment)
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
        arguments = arguments_of(record)
        arguments["space"] = {path: read(part) for path, part in record["space"].items()}
        return cls(**arguments)
