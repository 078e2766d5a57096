"""Two things timed side by side: taking turns, so that whatever else the machine does falls on both."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

__all__ = ["Clock", "Ratio", "Row", "Step", "cpu_seconds", "cuda_seconds", "side_by_side", "turns"]

WARM_UP = 2

Step = Callable[[], object]
Clock = Callable[[Step], float]
"""Seconds that a step takes."""


def cpu_seconds(step: Step) -> float:
    """Of this process, not of the wall: what others do on a shared core counts little."""
    began = time.process_time()
    step()
    return time.process_time() - began


def cuda_seconds(step: Step) -> float:
    """By the GPU's own clock, from an idle queue to the end of the step's last kernel."""
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    began.record()
    step()
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended) / 1000


class Ratio(NamedTuple):
    """Medians over the rounds; the ratio is taken in each round, and its quartiles say how sure its median is."""

    ours: float
    peer: float
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ours: list[float], peer: list[float], ratios: list[float]) -> "Ratio":
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return cls(statistics.median(ours), statistics.median(peer), median, low, high)


@dataclass(frozen=True)
class Row:
    """A line of the table. `at_least` turns the bound around; without a bound there is nothing to hold."""

    name: str
    ours: str
    peer: str
    value: float
    quartiles: tuple[float, float] | None = None
    bound: float | None = None
    at_least: bool = False

    @property
    def holds(self) -> bool | None:
        if self.bound is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def turns(steps: list[Step], rounds: int, clock: Clock) -> Iterator[list[float]]:
    """Seconds of each step, round by round: A B C A B C …"""
    for _ in range(WARM_UP):
        for step in steps:
            step()
    for _ in range(rounds):
        yield [clock(step) for step in steps]


def side_by_side(ours: Step, peer: Step, rounds: int, clock: Clock) -> Ratio:
    """Ours over the peer's, in turns."""
    first, second = (list(seconds) for seconds in zip(*turns([ours, peer], rounds, clock), strict=True))
    return Ratio.of(first, second, [a / b for a, b in zip(first, second, strict=True)])
