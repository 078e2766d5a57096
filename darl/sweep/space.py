"""What a search may choose, as plain data: numbers, alternatives, and Beta noise schedules in several coordinates.

A *point* says what an experiment changes of a sweep's base, by dotted path: `{"noise.a": 0.03, "order": "hilbert"}`. A
dimension draws its part of a point from an object with Optuna's `suggest_float` and `suggest_categorical`, and computes
the inverse: the parameters from which a point is drawn. Point and parameters may differ: a Beta schedule may be
searched by its mean and concentration, but its point always holds a and b. Numbers are rounded to four digits, so that
tables show exactly the values that were used, and equal points are equal trials.
"""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from darl.errors import UserError
from darl.variants import Record, Variant, require

if TYPE_CHECKING:
    from optuna.trial import BaseTrial, FixedTrial

__all__ = [
    "BetaByMean", "BetaByShape", "Choice", "Dimension", "LogUniform", "Point", "Space", "draw", "fixed_trial",
    "parameters", "read",
]  # fmt: skip

Point = dict[str, Any]
"""Values by dotted path of the experiment: numbers, texts of variants (`"round_robin:block=4"`), or None."""


@dataclass(frozen=True, kw_only=True)
class Dimension(ABC):
    """A part of a space, at a dotted path of the experiment."""

    kind: ClassVar[str]

    @abstractmethod
    def draw(self, path: str, trial: "BaseTrial") -> Point:
        """A part of a point."""

    @abstractmethod
    def parameters(self, path: str, point: Point) -> dict[str, Any]:
        """The parameters from which this part of a point is drawn, whether it lies inside the space or not."""

    @abstractmethod
    def part(self, path: str, experiment: Any) -> Point | None:
        """The experiment's values at this path as part of a point; None if this dimension cannot have drawn them."""

    @property
    def alternatives(self) -> "Mapping[str, Space]":
        """The dimensions that exist for one option only, by option; empty for a dimension without options."""
        return {}

    def to_record(self) -> Record:
        """Plain JSON values; `read` is the inverse."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`; raises UserError."""
        try:
            return cls(**{name: value for name, value in record.items() if name != "kind"})
        except TypeError as error:
            raise UserError(f"must have the fields of this version of darl ({error})", field="space") from None


Space = Mapping[str, Dimension]
"""Dimensions by dotted path."""


def draw(space: Space, trial: "BaseTrial") -> Point:
    """A point of a space."""
    return {name: value for path, part in space.items() for name, value in part.draw(path, trial).items()}


def parameters(space: Space, point: Point) -> dict[str, Any]:
    """The parameters from which this point is drawn, by name, whether it lies inside the space or not."""
    return {name: value for path, part in space.items() for name, value in part.parameters(path, point).items()}


def fixed_trial(space: Space, point: Point) -> "FixedTrial | None":
    """An Optuna trial that has drawn this point, with its distributions; None for a point outside the space."""
    from optuna.trial import FixedTrial

    trial = FixedTrial(parameters(space, point))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Optuna warns of a value out of its range
        try:
            draw(space, trial)
        except (UserWarning, ValueError):
            return None
    return trial


@dataclass(frozen=True, kw_only=True)
class LogUniform(Dimension):
    """Numbers between `low` and `high`, uniform in the logarithm."""

    kind: ClassVar[str] = "log_uniform"
    low: float
    high: float

    def __post_init__(self) -> None:
        _require_range("range", self.low, self.high)

    def __str__(self) -> str:
        return f"log-uniform in [{self.low:g}, {self.high:g}]"

    def draw(self, path: str, trial: "BaseTrial") -> Point:
        """One number."""
        return {path: rounded(trial.suggest_float(path, self.low, self.high, log=True))}

    def parameters(self, path: str, point: Point) -> dict[str, Any]:
        """The number itself."""
        return {path: point[path]}

    def part(self, path: str, experiment: Any) -> Point | None:
        """The experiment's number at this path."""
        value = _at(experiment, path)
        return {path: float(value)} if _is_number(value) else None


class BetaDimension(Dimension, ABC):
    """Beta(a, b) noise schedules; subclasses choose the coordinates of the search."""

    def part(self, path: str, experiment: Any) -> Point | None:
        """a and b of the experiment's schedule, if it is a Beta."""
        values = {name: _at(experiment, name) for name in (f"{path}.a", f"{path}.b")}
        if not all(map(_is_number, values.values())):
            return None
        return {name: float(value) for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class BetaByShape(BetaDimension):
    """Beta(a, b) schedules, a and b each log-uniform between `low_…` and `high_…`."""

    kind: ClassVar[str] = "beta_by_shape"
    low_a: float = 0.003
    high_a: float = 10.0
    low_b: float = 0.03
    high_b: float = 10.0

    def __post_init__(self) -> None:
        _require_range("range of a", self.low_a, self.high_a)
        _require_range("range of b", self.low_b, self.high_b)

    def __str__(self) -> str:
        return f"Beta(a, b): a log-uniform in [{self.low_a:g}, {self.high_a:g}], b in [{self.low_b:g}, {self.high_b:g}]"

    def draw(self, path: str, trial: "BaseTrial") -> Point:
        """The numbers a and b."""
        a = trial.suggest_float(f"{path}.a", self.low_a, self.high_a, log=True)
        b = trial.suggest_float(f"{path}.b", self.low_b, self.high_b, log=True)
        return {f"{path}.a": rounded(a), f"{path}.b": rounded(b)}

    def parameters(self, path: str, point: Point) -> dict[str, Any]:
        """a and b themselves."""
        return {name: point[name] for name in (f"{path}.a", f"{path}.b")}


@dataclass(frozen=True, kw_only=True)
class BetaByMean(BetaDimension):
    """Beta(a, b) schedules by mean m = a / (a + b), uniform in its logit, and concentration a + b, uniform in its log.

    The mean is the expected signal fraction of a patch; the larger the concentration, the more alike the patches of an
    image are in it. The default ranges cover about the same schedules as those of `BetaByShape`.
    """

    kind: ClassVar[str] = "beta_by_mean"
    low_mean: float = 0.001
    high_mean: float = 0.99
    low_concentration: float = 0.1
    high_concentration: float = 20.0

    def __post_init__(self) -> None:
        means = 0 < self.low_mean < self.high_mean < 1
        require(means, "mean", "have 0 < low < high < 1", (self.low_mean, self.high_mean))
        _require_range("concentration", self.low_concentration, self.high_concentration)

    def __str__(self) -> str:
        return (
            f"Beta(a, b): mean a/(a+b) logit-uniform in [{self.low_mean:g}, {self.high_mean:g}], "
            f"concentration a+b log-uniform in [{self.low_concentration:g}, {self.high_concentration:g}]"
        )

    def draw(self, path: str, trial: "BaseTrial") -> Point:
        """a and b, from the logit of the mean and the concentration."""
        logit = trial.suggest_float(f"{path}.logit_mean", _logit(self.low_mean), _logit(self.high_mean))
        low, high = self.low_concentration, self.high_concentration
        total = trial.suggest_float(f"{path}.concentration", low, high, log=True)
        mean = 1 / (1 + math.exp(-logit))
        return {f"{path}.a": rounded(total * mean), f"{path}.b": rounded(total * (1 - mean))}

    def parameters(self, path: str, point: Point) -> dict[str, Any]:
        """The logit of the mean, which is log(a / b), and the concentration."""
        a, b = point[f"{path}.a"], point[f"{path}.b"]
        return {f"{path}.logit_mean": math.log(a / b), f"{path}.concentration": a + b}


@dataclass(frozen=True, kw_only=True)
class Choice(Dimension):
    """One of several variants, by their texts; an option may have dimensions of its own."""

    kind: ClassVar[str] = "choice"
    options: Mapping[str, Space]

    def __str__(self) -> str:
        shown = [
            f"{name} ({'; '.join(map(str, space.values()))})" if space else name for name, space in self.options.items()
        ]
        return "one of " + ", ".join(shown)

    def draw(self, path: str, trial: "BaseTrial") -> Point:
        """The option's text, and the values drawn by its own dimensions."""
        chosen = trial.suggest_categorical(path, list(self.options))
        return {path: chosen} | draw(self.options[chosen], trial)

    def parameters(self, path: str, point: Point) -> dict[str, Any]:
        """The option's text, and the parameters of its own dimensions."""
        return {path: point[path]} | parameters(self.options.get(point[path], {}), point)

    def part(self, path: str, experiment: Any) -> Point | None:
        """The option that matches the experiment's variant, with the values of the option's own dimensions."""
        value = _at(experiment, path)
        if not isinstance(value, Variant):
            return None
        for text, space in self.options.items():
            if text.partition(":")[0] != value.kind:  # perhaps a variant that this process does not know
                continue
            parts = [dimension.part(own, experiment) for own, dimension in space.items()]
            if None in parts:
                continue
            drawn = {name: number for part in parts if part is not None for name, number in part.items()}
            inside = {name.removeprefix(f"{path}."): number for name, number in drawn.items() if _within(name, path)}
            if replace(value.family_class().parse(text), **inside) == value:
                return {path: text} | drawn
        return None

    @property
    def alternatives(self) -> Mapping[str, Space]:
        """The dimensions of each option."""
        return self.options

    def to_record(self) -> Record:
        """Plain JSON values."""
        options = self.options.items()
        return {
            "kind": self.kind,
            "options": {name: {path: part.to_record() for path, part in space.items()} for name, space in options},
        }

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The inverse of `to_record`."""
        options = record["options"].items()
        return cls(options={name: {path: read(part) for path, part in space.items()} for name, space in options})


def read(record: Record) -> Dimension:
    """The inverse of `Dimension.to_record`; raises UserError."""
    kind = record.get("kind", "")
    require(kind in KINDS, "space", f"have kinds among {', '.join(KINDS)}", kind)
    return KINDS[kind].from_record(record)


KINDS: Mapping[str, type[Dimension]] = {kind.kind: kind for kind in (LogUniform, BetaByShape, BetaByMean, Choice)}
"""The kinds of dimensions, by name."""


def rounded(value: float) -> float:
    """The number to four significant digits."""
    return float(f"{value:.4g}")


def _require_range(name: str, low: float, high: float) -> None:
    require(0 < low < high, name, "have 0 < low < high", (low, high))


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _is_number(value: object) -> bool:
    """Whether it is a number; one that a script gives to a field of floats may be an integer."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _within(path: str, whole: str) -> bool:
    return path.startswith(f"{whole}.")


def _at(experiment: Any, path: str) -> Any:
    for name in path.split("."):
        experiment = getattr(experiment, name, None)
    return experiment
