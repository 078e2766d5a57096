"""What a scaling study's report needs to know of its cells (`darl.sweep.scaling`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Forecast", "ScalingPlan"]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A number that a law foretells, with its 95 % interval from `low` to `high`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ScalingPlan:
    """The fields of `darl.sweep.scaling.Scaling`, for one of its comparisons."""

    accuracy: str
    budgets: Mapping[str, int]
    next_size: Sequence[str]
    forecasts: Mapping[str, Forecast]
