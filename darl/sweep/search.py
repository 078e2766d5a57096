"""A search for the best point of a space, then a race of its best points.

The *race* runs the best points of the search (its *contenders*) and the known points again, on fresh seeds that the
search has not used, so that points are compared in pairs; a contender that has fallen behind the leader gets no more
seeds. Trials of the search may be stopped early only after a *pilot*, a few trials that run all their epochs, has shown
that early results predict final ones; the epochs after which a trial may then be stopped are the *rungs*.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self, TypeGuard

from darl.evaluation.protocol import Need, Protocol, Protocols
from darl.experiment import Experiment
from darl.metrics import METRICS
from darl.sweep.base import Comparison, Sweep, arguments_of, describe
from darl.sweep.samplers import Sampler, Tpe
from darl.sweep.space import Point, Space, read
from darl.sweep.wording import several
from darl.variants import Record, require

__all__ = ["Search", "is_finite"]


@dataclass(frozen=True, kw_only=True)
class Search(Sweep):
    """A search for the best point of a space, on the base's seed, and a race of its best on the seeds that follow.

    With `seeds` > 1, the best `contenders` and the known first points run again on seeds that the search has not used;
    those that fall behind are dropped on the way.
    """

    kind: ClassVar[str] = "search"
    seed_noun: ClassVar[str] = "fresh seeds"
    no_seeds: ClassVar[str] = "no race"

    space: Space
    trials: int = 16  # pyright: ignore[reportIncompatibleVariableOverride]
    first: Mapping[str, Point] = field(default_factory=dict[str, Point])
    """Known points by label; they run first and are never stopped early."""
    guests: Mapping[str, Point] = field(default_factory=dict[str, Point])
    """Points outside the space, by label, that run in the race alone, as a schedule that is no Beta."""
    contenders: int = 3
    """How many of the search's best points run in the race."""
    reduction: int = 3
    """Early stopping keeps about one in this many at each rung."""
    early: bool = True
    """Whether trials may be stopped early where the pilot shows that early results predict final ones."""
    pilot: int = 8
    """Number of trials that run all their epochs before any is stopped."""
    sampler: Sampler = field(default_factory=Tpe)
    """How the next point is chosen."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.contenders >= 1, "contenders", "be at least 1", self.contenders)
        require(self.pilot >= 3, "pilot", "be at least 3", self.pilot)
        require(self.reduction >= 2, "reduction", "be at least 2", self.reduction)
        for name, point in self.first.items():
            read_back = self.point_of(self.experiment(point))
            require(read_back == point, "first", "set each value that the space draws, and no other", {name: point})
        for name in self.guests:
            require(name not in self.first, "guests", "have other labels than the first points", name)
        if self.baseline is not None:
            remedy = f"be one of the first points ({', '.join(self.first) or 'there is none'})"
            require(self.baseline in self.first, "baseline", remedy, self.baseline)

    @property
    def grace(self) -> int:
        """The first epoch after which a trial may be stopped; each later rung is `reduction` times later.

        With grace g and reduction r, two rungs lie before the last epoch, at g and rg; r²g is beyond it.
        """
        return self.base.epochs // self.reduction**2 + 1

    @property
    def rungs(self) -> dict[int, str]:
        """The epochs after which a trial may be stopped, and the metric that decides there.

        The first rung uses the metric's cheaper stand-in if it has one: kNN for the linear probe. So do all rungs of a
        metric for which a model is trained.
        """
        epochs = [epoch for epoch in (self.grace, self.grace * self.reduction) if epoch < self.base.epochs]
        cheap = METRICS[self.metric].proxy or self.metric
        trains = Need.TRAINING in Protocol.giving(self.metric).needs
        return dict(zip(epochs, (cheap, cheap if trains else self.metric), strict=False))

    @property
    def evaluate_at(self) -> Mapping[int, Protocols]:
        """At each rung, only the metric that decides there."""
        return {epoch: self.full.member_giving(metric) for epoch, metric in self.rungs.items()}

    @property
    def stops_early(self) -> bool:
        """Whether `early` is set and there is a rung before the last epoch."""
        return self.early and bool(self.rungs)

    @property
    def pilot_trials(self) -> int:
        """The value of `pilot`."""
        return self.pilot

    def without_early_stopping(self) -> Self:
        """The same search without early stopping: every trial runs all its epochs."""
        return replace(self, early=False)

    @property
    def searched_space(self) -> Space:
        """The search's space."""
        return self.space

    @property
    def known_points(self) -> Mapping[str, Point]:
        """The points that run first, and those that run in the race alone."""
        return {**self.first, **self.guests}

    @property
    def varied_paths(self) -> frozenset[str]:
        """The paths of its space."""
        return frozenset(self.space)

    def possible_trials(self) -> list[Experiment]:
        """The trials of the search, and of a race in which no contender falls behind."""
        return [self.experiment({})] * (self.trials + self.whole_seeds * self.compared_cells)

    def count_ended(self, rows: Iterable[Record]) -> int:
        """Number of ended trials of the search, at most `trials`, and of the race."""
        ended = list(rows)
        labels = zip(self.labels(row["config"] for row in ended), ended, strict=True)
        seeds = [int(row["seed"]) for label, row in labels if label is not None]
        searched = sum(seed in self.selection_seeds for seed in seeds)
        return min(searched, self.trials) + sum(seed in self.compared_seeds for seed in seeds)

    def plan_lines(self, most: int) -> list[str]:
        """The space, the known points, the number of trials, the epochs of each, and when a trial is stopped early."""
        lines = [f"  {path}: {dimension}" for path, dimension in self.space.items()]
        lines += [f"  known point: {name}: {describe(point)}" for name, point in self.first.items()]
        lines += [f"  in the race: {name}: {describe(point)}" for name, point in self.guests.items() if self.seeds > 1]
        again = f", then the best {self.contenders} and the known ones on {several(self.seeds - 1, 'fresh seeds')}"
        points = several(self.trials, "points")
        lines.append(f"trials: {points} on seed {self.base.seed}{again if self.seeds > 1 else ''}")
        lines.append(f"each: {several(self.base.epochs, 'epochs')} of {self.base.data}")
        if self.stops_early:
            rungs = " and ".join(f"{epoch} (by {metric})" for epoch, metric in self.rungs.items())
            lines.append(
                f"trials not in the best 1/{self.reduction} are stopped after epochs {rungs}, except the known points, "
                f"and only if {self.pilot} pilot trials show that early results predict final ones"
            )
        return lines

    @property
    def trials_in_words(self) -> str:
        """`12 trials, then the best on 3 fresh seeds`."""
        again = f", then the best on {several(self.seeds - 1, 'fresh seeds')}" if self.seeds > 1 else ""
        return f"{several(self.trials, 'trials')}{again}"

    @property
    def compared_seeds(self) -> range:
        """The fresh seeds, on which the race is run."""
        return self.all_seeds[1:]

    @property
    def selection_seeds(self) -> range:
        """The base's seed, on which the search runs."""
        return self.all_seeds[:1]

    def comparisons(self, rows: Sequence[Record]) -> list[Comparison]:
        """The race of the known points, the best points, and former contenders that better points have overtaken."""
        fresh = [row for row in rows if row["seed"] in self.compared_seeds]
        ran = list(dict.fromkeys(str(row["cell"]) for row in fresh))
        racing = [self.label_of(point) for point in self.racing(rows)] or ran
        dropped = self.fallen_behind(
            (row["cell"], row["seed"], float(row[self.metric]))
            for row in fresh
            if row["cell"] in racing and row["status"] == "finished" and is_finite(row[self.metric])
        )
        left = dict.fromkeys((cell for cell in ran if cell not in racing), "overtaken")
        return [
            Comparison(
                cells=list(dict.fromkeys([*racing, *ran])) if fresh else [],
                baseline=self.baseline,
                title="Race on fresh seeds",
                race=True,
                left=left | dict.fromkeys(dropped, "dropped"),
            )
        ]

    def fallen_behind(self, values: Iterable[tuple[str, int, float]]) -> frozenset[str]:
        """The cells of a race that are behind its leader, except the baseline.

        values: cell, seed and metric of each finished trial on fresh seeds.
        """
        from darl.sweep.statistics import fallen, values_frame

        return frozenset(fallen(values_frame(values), self.mode)) - {self.baseline or ""}

    @property
    def compared_cells(self) -> int:
        """Number of contenders, known points and guests."""
        return self.contenders + len(self.known_points)

    @property
    def whole_seeds(self) -> int:
        """Number of fresh seeds, which every contender has that does not fall behind."""
        return len(self.compared_seeds)

    def compared_fields(self) -> list[list[str]]:
        """The fields that the search varies."""
        return [[path.replace(".", "_") for path in self.space]]

    def heading(self, group: str) -> str:
        """`search on` and the last part of the data's name."""
        return f"search on {self.base.data.rstrip('/').rpartition('/')[2]}"

    @property
    def settings_title(self) -> str:
        """The title of the list of dimensions."""
        return "Space"

    def settings_rows(self) -> list[tuple[str, str]]:
        """The dimensions and the known points."""
        rows = [(path, str(dimension)) for path, dimension in self.space.items()]
        return rows + [(f"known point: {name}", describe(point)) for name, point in self.known_points.items()]

    def label(self, experiment: Experiment) -> str | None:
        """A known point's name, else the point's numbers."""
        point = self.point_of(experiment)
        return None if point is None else self.label_of(point)

    def label_of(self, point: Point) -> str:
        """A known point's name, else the point's numbers."""
        return next((name for name, known in self.known_points.items() if known == point), None) or describe(point)

    def point_of(self, experiment: Experiment) -> Point | None:
        """The experiment's point; None for an experiment that is not of this search."""
        repeat = experiment.seed - self.base.seed
        for guest in self.guests.values():
            if self.experiment(guest, repeat).identity == experiment.identity:
                return dict(guest) if repeat > 0 else None
        point: Point = {}
        for path, dimension in self.space.items():
            part = dimension.part(path, experiment)
            if part is None:
                return None
            point |= part
        same = self.experiment(point, repeat).identity == experiment.identity
        return point if same else None

    def racing(self, rows: Iterable[Record]) -> list[Point]:
        """The points of the race: known ones, guests, the best of the search; none before a trial has finished."""
        best = self.ranked(rows)[: self.contenders]
        known = [dict(point) for point in self.known_points.values()] if best else []
        return known + [point for point in best if point not in known]  # known points first: a race may be cut short

    def ranked(self, rows: Iterable[Record]) -> list[Point]:
        """The points of the rows of `trials` that finished on the search's own seed, best first."""
        valued: list[tuple[float, Point]] = []
        for row in rows:
            value = row[self.metric]
            if row["status"] == "finished" and is_finite(value):
                experiment = self.experiments([row["config"]])[0]
                own = experiment is not None and experiment.seed == self.base.seed
                point = self.point_of(experiment) if experiment is not None and own else None
                valued += [] if point is None else [(float(value), point)]
        return [point for _, point in sorted(valued, key=lambda pair: pair[0], reverse=self.mode == "max")]

    def to_record(self) -> Record:
        """Plain JSON values."""
        names = ("contenders", "reduction", "early", "pilot")
        own = {name: getattr(self, name) for name in names} | {"sampler": str(self.sampler)}
        own |= {"first": {**self.first}, "guests": {**self.guests}}
        return self._shared() | own | {"space": {path: part.to_record() for path, part in self.space.items()}}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`."""
        arguments = arguments_of(record)
        arguments["space"] = {path: read(part) for path, part in record["space"].items()}
        arguments["sampler"] = Sampler.parse(record.get("sampler", Tpe.kind))  # records of older versions have none
        return cls(**arguments)


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a trial's value can be ranked: neither missing nor NaN nor infinite."""
    return isinstance(value, int | float) and math.isfinite(value)
