"""Yardsticks: a sweep's leader beside other ways of training the same encoder on the same images.

The leader is the sweep's best cell. Its rivals differ from it in the objective, with the mask and the noise that this
needs, and in nothing else: same encoder, patch size, optimiser, learning rate, augmentation and seeds. None of these is
tuned for a rival. Each rival runs

    at equal passes    for as many epochs as the leader
    at equal FLOPs     for epochs · (leader's operations per image / rival's) epochs, rounded, at least one

An epoch of DARL costs more than one of a masked autoencoder, whose encoder reads a quarter of the patches. So the first
comparison asks which objective learns more from each image, the second which learns more from the same computation. The
learning-rate schedule spans each run's own epochs. Where both numbers of epochs are equal, one cell serves for both.
Operations are those of training's matrix products, without evaluations; a causal mask is not counted as a saving.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Self

from darl.errors import UserError
from darl.experiment import Experiment
from darl.sweep.base import Comparison, Sweep, arguments_of
from darl.sweep.design import Design
from darl.sweep.rivals import Rival
from darl.sweep.space import Point
from darl.sweep.wording import several
from darl.variants import Record, require

__all__ = ["RIVALS", "Leader", "Yardsticks", "yardsticks"]

RIVALS: Mapping[str, Point] = {
    "MAE": {"objective": "mae", "causal": False},
    "masked regression": {"objective": "masked", "causal": False},
    "MSE": {"objective": "mse", "causal": True},
    "supervised": {"objective": "supervised", "causal": False},
}
"""What each rival sets, by name: He et al. 2022; as SimMIM (Xie et al. 2022); DARL's own regression; labels."""

QUESTION = "What is the leader worth beside other ways of training the same encoder?"


class Leader(NamedTuple):
    """The best cell of a sweep on one data set."""

    label: str
    point: Point
    """What it changes of the sweep's base."""


_OF_THE_LEADER = ("attention", "context_noise", "next_patches", "condition", "random_order")
"""Settings that rivals do not have: those of next-patch prediction, and labels."""


@dataclass(frozen=True, kw_only=True)
class Yardsticks(Design):
    """A design whose baselines are the leaders of another sweep, one for each data set; its other cells are rivals.

    The leaders' trials are the other sweep's own, and do not run again.
    """

    kind: ClassVar[str] = "yardsticks"
    concludes: ClassVar[bool] = False

    rivals: Sequence[Rival] = ()
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    """Rivals that do not fit the leader's settings, and why."""
    reserved_seeds: int = 0
    """How many of the other sweep's seeds selected cells, and are not compared."""

    def comparisons(self, rows: Sequence[Record]) -> list[Comparison]:
        """One comparison for each leader, with its rivals."""
        return [
            replace(
                comparison,
                title=f"Yardsticks{comparison.group and f' on {comparison.group}'}",
                rivals=[rival for rival in self.rivals if rival.at_passes in comparison.cells],
                accuracies_only=True,
            )
            for comparison in super().comparisons(rows)
        ]

    def possible_trials(self) -> list[Experiment]:
        """The rivals' trials."""
        leaders = {self.baseline, *self.baselines.values()}
        planned = [(point, repeat) for label, point, repeat in self.planned() if label not in leaders]
        return [self.experiment(point, repeat) for point, repeat in planned]

    def plan_lines(self, most: int) -> list[str]:
        """The rivals with their epochs and costs, and the number of their trials."""
        rows = [f"  {name}: {text}" for name, text in self.settings_rows()]
        shared = "each: the leader's encoder, optimiser, learning rate, augmentation and seeds"
        return [*rows, f"trials: {self.trials_in_words}", shared]

    @property
    def trials_in_words(self) -> str:
        """`14 trials (7 cells beside the leader, 2 seeds)`."""
        trials, seeds = len(self.possible_trials()), several(self.seeds, self.seed_noun)
        return f"{several(trials, 'trials')} ({several(trials // self.seeds, 'cells')} beside the leader, {seeds})"

    @property
    def seed_noun(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """`fresh seeds` where the other sweep has used some to select cells."""
        return "fresh seeds" if self.reserved_seeds else "seeds"

    def heading(self, group: str) -> str:
        """`yardsticks`, and the data set if there are several."""
        return f"yardsticks: {group}" if group else "yardsticks"

    def seeds_for(self, compared: int) -> int:
        """The value of `--seeds` that gives this number of compared seeds."""
        return compared + self.reserved_seeds

    @property
    def settings_title(self) -> str:
        """The title, with what the rivals have in common with the leader."""
        return f"Yardsticks: the leader's encoder and optimiser, other objectives ({several(self.seeds, 'seeds')})"

    def settings_rows(self) -> list[tuple[str, str]]:
        """The epochs and the cost of each rival; why others are left out."""
        rows: list[tuple[str, str]] = []
        for rival in self.rivals:
            own = self.experiment(self.cells[rival.at_passes])
            cost = f"{rival.cost:.2f} times the leader's FLOPs per image"
            epochs = f"{several(own.epochs, 'epochs')}, and {several(rival.epochs, 'epochs')} at equal FLOPs"
            rows.append((rival.at_passes, f"{own.objective}; {cost}; {epochs}"))
        return rows + [(name, f"left out: {why}") for name, why in self.left_out.items()]

    def to_record(self) -> Record:
        """Plain JSON values."""
        rivals = [asdict(rival) for rival in self.rivals]
        own = {"rivals": rivals, "left_out": {**self.left_out}, "reserved_seeds": self.reserved_seeds}
        return super().to_record() | own

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`."""
        arguments = arguments_of(record)
        arguments["rivals"] = [Rival(**rival) for rival in record["rivals"]]
        return cls(**arguments)


def yardsticks(sweep: Sweep, leaders: Sequence[Leader]) -> Yardsticks:
    """The design that compares a sweep's leaders with their rivals, on the seeds that the sweep compares on.

    leaders: one for each data set, at least one. Raises UserError if the sweep compares on no seed.
    """
    remedy = "be 2 or more: a search uses the first, and yardsticks are compared on the others"
    require(len(sweep.compared_seeds) > 0, "seeds", remedy, sweep.seeds)
    built = [_beside(sweep, leader, alone=len(leaders) == 1) for leader in leaders]
    groups = {label: own.data for own in built for label in own.cells} if len(built) > 1 else {}
    return Yardsticks(
        name=sweep.name,
        question=QUESTION,
        base=sweep.base.changed({"seed": sweep.compared_seeds[0]}),
        metric=sweep.metric,
        seeds=len(sweep.compared_seeds),
        baseline=built[0].leader if len(built) == 1 else None,
        baselines={own.data: own.leader for own in built} if len(built) > 1 else {},
        groups=groups,
        evaluations=1,
        protocols=sweep.protocols,
        enlarged=sweep.enlarged,
        contents=sweep.contents,
        cells={label: point for own in built for label, point in own.cells.items()},
        rivals=[rival for own in built for rival in own.rivals],
        left_out={name: why for own in built for name, why in own.left_out.items()},
        reserved_seeds=len(sweep.selection_seeds),
    )


@dataclass(frozen=True, kw_only=True)
class _Beside:
    """One leader with its rivals."""

    data: str
    leader: str
    cells: Mapping[str, Point]
    rivals: Sequence[Rival]
    left_out: Mapping[str, str]


def _beside(sweep: Sweep, leader: Leader, *, alone: bool) -> _Beside:
    first = sweep.experiment(leader.point)
    suffix = "" if alone else f" on {first.data}"
    label = f"{leader.label} (leader)" if leader.label in RIVALS else leader.label
    cells: dict[str, Point] = {label: leader.point}
    known = {first.trial_id: label}
    rivals: list[Rival] = []
    left_out: dict[str, str] = {}
    for name, changes in RIVALS.items():
        point = _without(leader.point, "objective", "noise", "causal", *_OF_THE_LEADER) | changes | {"noise": None}
        point |= {name: None for name in _OF_THE_LEADER if getattr(first, name) is not None}
        if first.tokenizer is not None and not first.token_input:  # it was the leader's target alone
            point |= {"tokenizer": None, "tokenizer_weights": None}
        try:
            own = sweep.experiment(point)
        except UserError as error:
            left_out[f"{name}{suffix}"] = str(error)
            continue
        if own.trial_id in known:
            left_out[f"{name}{suffix}"] = f"it is {label} itself"
            continue
        cost = own.model_config.flops() / first.model_config.flops()
        longer = max(1, round(first.epochs / cost))
        passes, equal = f"{name}{suffix}", f"{name}, equal FLOPs{suffix}"
        cells[passes] = point
        if longer != own.epochs:
            cells[equal] = point | {"epochs": longer}
        rivals.append(
            Rival(
                name=name,
                at_passes=passes,
                at_flops=equal if equal in cells else passes,
                cost=cost,
                epochs=longer,
                uses_labels=own.objective.needs_labels,
            )
        )
        known[own.trial_id] = passes
    return _Beside(data=first.data, leader=label, cells=cells, rivals=rivals, left_out=left_out)


def _without(point: Mapping[str, Any], *paths: str) -> Point:
    """A point without these fields of the record and their parts."""
    return {path: value for path, value in point.items() if path.partition(".")[0] not in paths}
