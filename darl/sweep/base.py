"""A sweep as plain data: which experiments, judged by what, compared with what. No Ray.

There are two kinds. A `Design` runs every cell of a table with the same seeds, so that cells are compared in pairs; a
`Search` spends its trials where they promise most, and then runs its best points again on fresh seeds, since the best
of many on one seed looks better than it is. Both give the same tables, and both are known again from a folder of
results: `SWEEP_FILE` there holds the record of what was asked.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from darl.data.content import DataContent
from darl.evaluation.protocol import Measures
from darl.experiment import Experiment, read_experiments
from darl.metrics import METRICS
from darl.variants import Record, require

__all__ = ["ATTEMPTS", "Sweep", "describe"]

ATTEMPTS = 3
"""Failures of one trial after which it is not tried again."""


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
    contents: Mapping[str, DataContent] = field(default_factory=dict[str, DataContent])
    """What the data is, by `Experiment.data`: filled into every experiment, and into rows that do not say it."""

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
        return self.base.changed({**point, "seed": self.base.seed + repeat}).knowing(self.contents)

    def labels(self, configs: Iterable[str]) -> list[str | None]:
        """The cell of each row of the tables by its `config`; None for rows of other sweeps and settings."""
        return [None if one is None else self.label(one) for one in self.experiments(configs)]

    def experiments(self, configs: Iterable[str]) -> list[Experiment | None]:
        """The experiment of each row of the tables; None where it is of a variant that this code does not know."""
        return read_experiments(configs, self.contents)

    @abstractmethod
    def to_record(self) -> Record:
        """Plain JSON values; `from_json` reads them."""

    def _shared(self) -> Record:
        names = ("name", "question", "metric", "seeds", "trials", "baseline", "evaluations", "enlarged")
        contents = {name: asdict(content) for name, content in self.contents.items()}
        shared = {"kind": self.kind, "base": self.base.to_record(), "contents": contents}
        return shared | {name: getattr(self, name) for name in names}


def describe(point: Mapping[str, Any]) -> str:
    """A point in a few words: `a=0.03, b=1`, `order=hilbert`."""
    return ", ".join(f"{path.rpartition('.')[2]}={_short(value)}" for path, value in point.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def arguments_of(record: Record) -> Record:
    return {name: value for name, value in record.items() if name != "kind"} | {
        "base": Experiment.from_record(record["base"]),
        "contents": {name: DataContent(**content) for name, content in record.get("contents", {}).items()},
    }
