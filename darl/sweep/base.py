"""A sweep as plain data: which experiments, judged by what, compared with what. No Ray.

There are two kinds. A `Design` runs every cell of a table with the same seeds, so that cells are compared in pairs. A
`Search` lets a sampler choose its points, and then runs the best ones again on fresh seeds, since the best of many on
one seed looks better than it is. Both write the same tables, and both can be read back from a folder of results:
`SWEEP_FILE` there records what was asked for.

A *cell* is a set of trials that differ only in their seed: one row of a comparison. A *point* is the set of values that
a cell changes in the sweep's base experiment.

Reports and the command line call a sweep's methods (its comparisons, the seeds that are compared, its plan in words)
and never test its kind: a new kind is one more subclass, its name in `darl.sweep.record`, and the function that runs it
in `darl.distributed.tuner`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

from darl.data.content import DataContent
from darl.evaluation.protocol import Protocols
from darl.evaluation.standard import evaluation_of
from darl.experiment import Experiment, read_experiments
from darl.metrics import METRICS, PROBE, RANKING_METRICS
from darl.sweep.rivals import Rival
from darl.sweep.scaling_plan import ScalingPlan
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
    """The group of cells that it compares; empty where there are no groups."""
    title: str = "Cells"
    race: bool = False
    """Whether it is the race of a search: cells that fall behind get no more seeds."""
    left: Mapping[str, str] = field(default_factory=dict[str, str])
    """Cells that get no more seeds, and why: the race has `dropped` them, or the search has `overtaken` them."""
    accuracies_only: bool = False
    """Whether only accuracies compare these cells: their losses are not comparable."""
    rivals: Sequence[Rival] = ()
    """The yardsticks of a comparison that puts its baseline beside them."""
    scaling: ScalingPlan | None = None
    """What a scaling study's law is fitted to and judged by."""


@dataclass(frozen=True, kw_only=True)
class Sweep(ABC):
    """The fields of every kind of sweep, and the methods that each kind implements."""

    kind: ClassVar[str]
    seed_noun: ClassVar[str] = "seeds"
    """The noun for the seeds on which cells are compared."""
    no_seeds: ClassVar[str]
    """The words for the number of seeds where `whole_seeds` is 0."""
    concludes: ClassVar[bool] = False
    """Whether its answer is shown before those of the folder's other sweeps, since it was built from their results."""

    name: str
    question: str
    base: Experiment
    metric: str = PROBE.column
    seeds: int = 1
    """Number of seeds of each cell: the base's seed and the ones after it."""
    trials: int | None = None
    """Number of trials in all; the same sweep with a larger number continues."""
    baseline: str | None = None
    """The label of the cell that the other cells are compared with."""
    evaluations: int = 2
    """Number of evaluations in a design's trial, evenly spaced, including the one after the last epoch."""
    enlarged: bool = False
    """Whether the probe is also tried on images larger than those of training."""
    protocols: str = ""
    """The protocols of the evaluations before training and at the end, as `Protocols.parse` reads them; empty for the
    standard ones, and the one that measures `metric`."""
    contents: Mapping[str, DataContent] = field(default_factory=dict[str, DataContent])
    """The content of each data set, by `Experiment.data`: filled into every experiment, and into rows of older
    versions, which do not record it."""

    def __post_init__(self) -> None:
        require(self.trials is None or self.trials >= 1, "trials", "be at least 1", self.trials)
        require(self.seeds >= 1, "seeds", "be at least 1", self.seeds)
        require(self.evaluations >= 1, "evaluations", "be at least 1", self.evaluations)
        require(self.metric in RANKING_METRICS, "metric", f"be one of {', '.join(RANKING_METRICS)}", self.metric)
        _ = self.full  # raises UserError for protocols that cannot be read

    @property
    def mode(self) -> str:
        """`max` or `min`."""
        return METRICS[self.metric].direction

    @property
    def full(self) -> Protocols:
        """The full evaluation: before training, at the end, and wherever nothing cheaper is asked for."""
        return evaluation_of(self.protocols, self.metric, enlarged=self.enlarged)

    @property
    @abstractmethod
    def evaluate_at(self) -> Mapping[int, Protocols]:
        """The evaluations between the first and the last, by the epoch after which each is made."""

    # What it may run

    @property
    def searched_space(self) -> Space:
        """The dimensions that a sampler chooses, by path; empty for a sweep without a sampler."""
        return {}

    @property
    def known_points(self) -> Mapping[str, Point]:
        """Points that run in addition to the sampler's, by the name that readers know them by, such as `paper`."""
        return {}

    @property
    def fixed_cells(self) -> Mapping[str, Point]:
        """Every cell in the order of presentation, if all are known before any trial runs; otherwise empty."""
        return {}

    @property
    @abstractmethod
    def varied_paths(self) -> frozenset[str]:
        """The dotted paths of the record's fields that the sweep's points set."""

    @abstractmethod
    def possible_trials(self) -> list[Experiment]:
        """One experiment for each trial that may run; the base stands for points that are not known yet."""

    @abstractmethod
    def count_ended(self, rows: Iterable[Record]) -> int:
        """Number of the sweep's trials among `rows`, one row for each trial that finished or was stopped early."""

    @abstractmethod
    def plan_lines(self, most: int) -> list[str]:
        """The plan as lines of text; at most `most` cells are named."""

    @property
    @abstractmethod
    def trials_in_words(self) -> str:
        """The number of trials, as part of a sentence."""

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
        """The seeds whose trials select the cells to compare.

        Comparisons leave them out: on these seeds the selected cells look better than they are.
        """
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
        """Number of cells in the largest comparison, if everything runs as planned."""

    @property
    @abstractmethod
    def whole_seeds(self) -> int:
        """Number of seeds that every compared cell has, if everything runs as planned."""

    @abstractmethod
    def compared_fields(self) -> list[list[str]]:
        """For each set of trials that are ranked together, the fields of the flat record in which they may differ."""

    def seeds_for(self, compared: int) -> int:
        """The value of `seeds` that gives this number of compared seeds."""
        return compared + len(self.selection_seeds)

    def baseline_of(self, label: str) -> str | None:
        """The baseline that this cell is compared with."""
        return self.baseline

    def group_of(self, label: str) -> str:
        """The group of cells that a cell is compared in; empty where there are no groups."""
        return ""

    def heading(self, group: str) -> str:
        """The heading of the findings on one of its groups, distinct from those of the folder's other sweeps."""
        return group or self.name

    @property
    @abstractmethod
    def settings_title(self) -> str:
        """The title of `settings_rows`."""

    @abstractmethod
    def settings_rows(self) -> list[tuple[str, str]]:
        """The settings of its cells or points, as pairs of name and text."""

    def stands_for(self, earlier: "Sweep") -> bool:
        """Whether its report has everything that the report of an earlier sweep of the folder would have."""
        return False

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
        """The same sweep without early stopping: every trial runs all its epochs."""
        return self

    # Experiments and cells

    @abstractmethod
    def label(self, experiment: Experiment) -> str | None:
        """The cell that an experiment belongs to, whatever its seed; None for one that is not of this sweep."""

    def point_of(self, experiment: Experiment) -> Point | None:
        """The experiment's point in the sweep's space; None for one outside it."""
        return None

    def experiment(self, point: Mapping[str, Any], repeat: int = 0) -> Experiment:
        """The experiment at a point, on the base's seed + `repeat`; raises UserError for an invalid one."""
        return self.base.changed({**point, "seed": self.base.seed + repeat}).knowing(self.contents)

    def labels(self, configs: Iterable[str]) -> list[str | None]:
        """The cell of each row of the tables by its `config`; None for rows of other sweeps and settings."""
        return [None if experiment is None else self.label(experiment) for experiment in self.experiments(configs)]

    def experiments(self, configs: Iterable[str]) -> list[Experiment | None]:
        """The experiment of each row of the tables; None for a variant that this code does not know."""
        return read_experiments(configs, self.contents)

    @abstractmethod
    def to_record(self) -> Record:
        """Plain JSON values; `from_json` reads them."""

    @classmethod
    @abstractmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`."""

    def _shared(self) -> Record:
        names = ("name", "question", "metric", "seeds", "trials", "baseline", "evaluations", "enlarged", "protocols")
        contents = {name: asdict(content) for name, content in self.contents.items()}
        shared = {"kind": self.kind, "base": self.base.to_record(), "contents": contents}
        return shared | {name: getattr(self, name) for name in names}


def describe(point: Mapping[str, Any]) -> str:
    """A point as short text: `a=0.03, b=1`, `order=hilbert`."""
    return ", ".join(f"{path.rpartition('.')[2]}={_short(value)}" for path, value in point.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def arguments_of(record: Record) -> Record:
    """The arguments of a sweep's class that its record holds."""
    return {name: value for name, value in record.items() if name != "kind"} | {
        "base": Experiment.from_record(record["base"]),
        "contents": {name: DataContent(**content) for name, content in record.get("contents", {}).items()},
    }
