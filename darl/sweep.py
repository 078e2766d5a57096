"""A sweep as plain data: which experiments, in what order of knowledge, judged by what. No Ray."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from darl.config import Experiment
from darl.errors import UserError
from darl.variants import require

__all__ = ["METRICS", "LogUniform", "Point", "Sweep"]

Point = dict[str, float]
"""Values by dotted path of the experiment, e.g. `{"noise.a": 0.03, "noise.b": 1.0}`."""

METRICS = {"probe_top1": "max", "knn_top1": "max", "val_loss": "min"}
"""What a sweep may be judged by, and which way is better. The raw training loss is not comparable."""


@dataclass(frozen=True, kw_only=True)
class LogUniform:
    """Numbers between `low` and `high`, uniform in the logarithm."""

    low: float
    high: float

    def __post_init__(self) -> None:
        require(0 < self.low < self.high, "range", "have 0 < low < high", (self.low, self.high))

    def __str__(self) -> str:
        return f"log-uniform in [{self.low:g}, {self.high:g}]"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A search for the best point of a space.

    The search runs on the base's seed. With `seeds` > 1 its best point and the known first points then run again on
    the seeds that follow, so that they can be compared in pairs and the winner's figure is not the luck of one seed.
    """

    name: str
    question: str
    base: Experiment
    space: Mapping[str, LogUniform]
    first: Mapping[str, Point] = field(default_factory=dict[str, Point])
    """Known points by name; they run first and are never stopped early."""
    metric: str = "probe_top1"
    trials: int = 16
    seeds: int = 1
    reduction: int = 3
    """Early stopping keeps about one in this many at each rung."""

    def __post_init__(self) -> None:
        require(self.trials >= 1, "trials", "be at least 1", self.trials)
        require(self.seeds >= 1, "seeds", "be at least 1", self.seeds)
        require(self.metric in METRICS, "objective-metric", f"be one of {', '.join(METRICS)}", self.metric)

    @property
    def mode(self) -> str:
        """`max` or `min`."""
        return METRICS[self.metric]

    @property
    def grace(self) -> int:
        """The first epoch after which a trial may be stopped; the next rungs are `reduction` times later each.

        Two rungs lie before the last epoch, at g and rg: r²g is beyond it.
        """
        return self.base.epochs // self.reduction**2 + 1

    @property
    def rungs(self) -> list[int]:
        """The epochs after which a trial may be stopped."""
        return [epoch for epoch in (self.grace, self.grace * self.reduction) if epoch < self.base.epochs]

    def experiment(self, point: Mapping[str, Any], repeat: int = 0) -> Experiment:
        """The experiment at a point, on the base's seed + `repeat`; raises UserError where it cannot be used."""
        return self.base.changed({**point, "seed": self.base.seed + repeat})

    def holds(self, config: str) -> bool:
        """Whether a trial of the tables, by its `config`, is of this search or repeats a point of it."""
        try:
            return self.point_of(Experiment.from_record(json.loads(config))) is not None
        except UserError:  # of a variant or a field that this code does not know
            return False

    def point_of(self, experiment: Experiment) -> Point | None:
        """The point that an experiment of this search lies at; None where it is not of this search."""
        point: Point = {}
        for path in self.space:
            value: Any = experiment
            for name in path.split("."):
                value = getattr(value, name, None)
            if not isinstance(value, float):
                return None
            point[path] = value
        return point if self.base.changed({**point, "seed": experiment.seed}) == experiment else None
