"""A sweep as plain data: which experiments, judged by what, compared with what. No Ray.

There are two kinds. A `Design` runs every cell of a table with the same seeds, so that cells are compared in pairs; a
`Search` spends its trials where they promise most, and then runs its best points again on fresh seeds, since the best
of many on one seed looks better than it is. Both give the same tables, and both are known again from a folder of
results: `SWEEP_FILE` there holds the record of what was asked.

A *cell* is what trials have in common that differ in nothing but their seed: a row of a comparison. A *point* is what a
cell changes of the sweep's base experiment.

Reports and the command line ask a sweep for what they need (its comparisons, the seeds that are compared, its plan in
words), and never for its kind: another kind is one more subclass, its name in `darl.sweep.record`, and the function
that runs it in `darl.distributed.tuner`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

from darl.data.content import DataContent
from darl.evaluation.protocol import Protocols
from darl.evaluation.standard import standard
from darl.experiment import Experiment, flatten, read_experiments
from darl.metrics import JUDGES, METRICS, PROBE
from darl.sweep.space import Point, Space
from darl.variants import Record, require

__all__ = ["ATTEMPTS", "Comparison", "Sweep", "describe"]

ATTEMPTS = 3
"""Failures of one trial after which it is not tried again."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Cells whose trials are compared with each other, seed by seed."""

    cells: Sequence[str]
    baseline: str | None
    """The cell that the others are compared with."""
    group: str = ""
    """What tells it from the sweep's other comparisons."""
    title: str = "Cells"
    race: bool = False
    """Whether it is the race of a search: cells that fall behind get no more seeds."""
    left: Mapping[str, str] = field(default_factory=dict[str, str])
    """Cells that get no more seeds, and why: the race has `dropped` them, or the search has `overtaken` them."""
    accuracies_only: bool = False
    """Whether losses of these cells are not comparable."""


@dataclass(frozen=True, kw_only=True)
class Sweep(ABC):
    """What all kinds of sweeps have, and what each of them is asked for."""

    kind: ClassVar[str]
    seed_noun: ClassVar[str] = "seeds"
    """What the seeds are called on which cells are compared."""
    no_seeds: ClassVar[str]
    """What is said where `whole_seeds` is 0."""
    concludes: ClassVar[bool] = False
    """Whether its answer comes first in a folder with other sweeps, since it was made from what they have found."""

    name: str
    question: str
    base: Experiment
    metric: str = PROBE.column
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
        require(self.metric in JUDGES, "objective-metric", f"be one of {', '.join(JUDGES)}", self.metric)

    @property
    def mode(self) -> str:
        """`max` or `min`."""
        return METRICS[self.metric].direction

    @property
    def full(self) -> Protocols:
        """The evaluation before training, at the end, and where nothing cheaper is asked for."""
        return standard(enlarged=self.enlarged)

    @property
    @abstractmethod
    def evaluate_at(self) -> Mapping[int, Protocols]:
        """The evaluations beside the first and the last, by the epoch after which each is made."""

    # What it may run

    @property
    def searched_space(self) -> Space:
        """What a sampler may choose, by path; empty where no sampler chooses."""
        return {}

    @property
    def known_points(self) -> Mapping[str, Point]:
        """Points beside those that a sampler chooses, by the name that readers know."""
        return {}

    @property
    def fixed_cells(self) -> Mapping[str, Point]:
        """Every cell in the order of presentation, where all are known before any trial runs; else empty."""
        return {}

    @property
    @abstractmethod
    def varied_paths(self) -> frozenset[str]:
        """The dotted paths of the record that its points set."""

    @abstractmethod
    def possible_trials(self) -> list[Experiment]:
        """One experiment for each trial that may be run; those whose points are not known yet are like the base."""

    @abstractmethod
    def count_ended(self, rows: Iterable[Record]) -> int:
        """How many of its trials are among rows of `trials` that finished or were stopped early, one row each."""

    @abstractmethod
    def plan_lines(self, most: int) -> list[str]:
        """What would be run, line by line; at most `most` cells are named."""

    @property
    @abstractmethod
    def trials_in_words(self) -> str:
        """What is run, in part of a sentence."""

    # Which trials are compared

    @property
    def all_seeds(self) -> range:
        """The seeds of all its trials."""
        return range(self.base.seed, self.base.seed + self.seeds)

    @property
    @abstractmethod
    def compared_seeds(self) -> range:
        """The seeds whose trials are compared."""

    @property
    def selection_seeds(self) -> range:
        """The seeds whose trials choose what is compared: they flatter the chosen, and are left out of comparisons."""
        return range(self.base.seed, self.base.seed)

    @property
    def explored_seeds(self) -> range:
        """The seeds on which the most points have run."""
        return self.selection_seeds or self.compared_seeds

    @abstractmethod
    def comparisons(self, rows: Sequence[Record]) -> list[Comparison]:
        """Which cells are compared with each other.

        rows: of `trials`, the last attempt of each trial on the sweep's seeds, with its `cell`.
        """

    @property
    @abstractmethod
    def compared_cells(self) -> int:
        """The most cells that one comparison has, where all goes to plan."""

    @property
    @abstractmethod
    def whole_seeds(self) -> int:
        """The seeds that every compared cell has, where all goes to plan."""

    @abstractmethod
    def compared_fields(self) -> list[list[str]]:
        """For each set of trials that are ranked together, the fields of the flat record in which they may differ."""

    def seeds_for(self, compared: int) -> int:
        """The `seeds` with which so many of them are compared."""
        return compared + len(self.selection_seeds)

    def baseline_of(self, label: str) -> str | None:
        """The cell that a cell is compared with."""
        return self.baseline

    def group_of(self, label: str) -> str:
        """The group of cells that a cell is compared in; empty where there are no groups."""
        return ""

    def heading(self, group: str) -> str:
        """What tells the findings on one of its groups from those of other sweeps of a folder."""
        return group or self.name

    @property
    @abstractmethod
    def settings_title(self) -> str:
        """What `settings_rows` is a list of."""

    @abstractmethod
    def settings_rows(self) -> list[tuple[str, str]]:
        """What its cells or points set, by name, in words."""

    # When trials are stopped early

    @property
    def rungs(self) -> Mapping[int, str]:
        """The epochs after which a trial may be stopped, and the metric that decides there."""
        return {}

    @property
    def stops_early(self) -> bool:
        """Whether trials may be stopped early."""
        return False

    @property
    def pilot_trials(self) -> int:
        """How many trials run whole before any may be stopped early: the pilot, see `darl.sweep.early_stopping`."""
        return 0

    def without_early_stopping(self) -> Self:
        """The same sweep, of which every trial runs whole."""
        return self

    # Experiments and cells

    @abstractmethod
    def label(self, experiment: Experiment) -> str | None:
        """The cell that an experiment of any seed belongs to; None where it is not of this sweep."""

    def point_of(self, experiment: Experiment) -> Point | None:
        """The point of its space that an experiment lies at; None where there is none."""
        return None

    def experiment(self, point: Mapping[str, Any], repeat: int = 0) -> Experiment:
        """The experiment at a point, on the base's seed + `repeat`; raises UserError where it cannot be used."""
        return self.base.changed({**point, "seed": self.base.seed + repeat}).knowing(self.contents)

    def labels(self, configs: Iterable[str]) -> list[str | None]:
        """The cell of each row of the tables by its `config`; None for rows of other sweeps and settings."""
        return [None if experiment is None else self.label(experiment) for experiment in self.experiments(configs)]

    def experiments(self, configs: Iterable[str]) -> list[Experiment | None]:
        """The experiment of each row of the tables; None where it is of a variant that this code does not know."""
        return read_experiments(configs, self.contents)

    @abstractmethod
    def to_record(self) -> Record:
        """Plain JSON values; `from_json` reads them."""

    @classmethod
    @abstractmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`."""

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


def differing_fields(experiments: Iterable[Experiment]) -> list[str]:
    """The fields of the flat record in which experiments differ, `seed` aside."""
    records = [flatten(experiment.to_record()) for experiment in experiments]
    names = dict.fromkeys(name for record in records for name in record if name != "seed")
    return [name for name in names if len({record.get(name) for record in records}) > 1]


def arguments_of(record: Record) -> Record:
    """The arguments of a sweep's class that its record holds."""
    return {name: value for name, value in record.items() if name != "kind"} | {
        "base": Experiment.from_record(record["base"]),
        "contents": {name: DataContent(**content) for name, content in record.get("contents", {}).items()},
    }
