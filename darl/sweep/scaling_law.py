"""A scaling law of the validation loss, fitted to the runs of a design, and what it foretells.

    L(F, D) = E + A F^-alpha + B D^-beta

F is a model's floating-point operations for one image (for one patch size, proportional to its parameters), D the
number of images seen. It is the parametric law of Hoffmann et al. 2022 (arXiv 2203.15556, section 3.3), fitted as
there: Huber's loss of the logarithms' residuals, so that a few bad runs do not bend it. F and D are taken relative to
their geometric means over the runs, which makes A and B the excess losses in the middle of the design.

Intervals are of a bootstrap over runs within their cells, refitted each time; a forecast's has the residuals' spread
added, for a new run is not the law. All of it is deterministic.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize

from darl.metrics import PROBE, VALIDATION_LOSS
from darl.sweep.scaling_plan import Forecast
from darl.sweep.statistics import Kendall, kendall

__all__ = ["FEWEST_CELLS", "Law", "agreement", "fit", "runs_of"]

FEWEST_CELLS = 6
"""Cells that the five numbers of a law are fitted to at least."""

HUBER = 1e-3
"""Residual of log L from which Huber's loss grows linearly, as in Hoffmann et al."""

ENOUGH = {"ftol": 1e-7, "xtol": 1e-5, "gtol": 1e-9, "max_nfev": 200}
"""Where a fit ends: losses are foretold to four digits, not to eight."""

RESAMPLES = 100

EXPONENTS = (0.01, 2.0)
"""The range of alpha and beta."""


@dataclass(frozen=True, eq=False)
class Law:
    """A fitted law. `numbers` are log E, log A, alpha, log B, beta; `resampled` has those of each resample, as rows."""

    numbers: np.ndarray
    resampled: np.ndarray
    size: float
    """The geometric mean of F over the runs; `images` that of D."""
    images: float
    deviation: float
    """Standard deviation of log L around the law, with five degrees of freedom spent."""
    runs: int

    def loss(self, size: float, images: float) -> float:
        """The law's loss of a model of `size` operations per image after `images` images."""
        return float(_losses(self.numbers, np.log([size / self.size]), np.log([images / self.images]))[0])

    def forecast(self, size: float, images: float, runs: int = 1) -> Forecast:
        """The loss of the mean of this many new runs."""
        at = np.log([size / self.size]), np.log([images / self.images])
        logs = np.log([_losses(numbers, *at)[0] for numbers in self.resampled])
        noise = np.random.default_rng(0).normal(0, self.deviation / math.sqrt(runs), len(logs))
        low, high = np.exp(np.percentile(logs + noise, [2.5, 97.5]))
        return Forecast(value=self.loss(size, images), low=float(low), high=float(high))

    def best(self, sizes: Sequence[float], flops: float) -> float:
        """The lowest loss that one of these sizes reaches with these operations of training."""
        return self._best(self.numbers, sizes, flops)

    def gain_of_doubling(self, sizes: Sequence[float], flops: float) -> Forecast:
        """How much twice the operations lower the loss, as a fraction, if each time the best of `sizes` is trained.

        flops: the operations of training that are doubled.
        """

        def gain(numbers: np.ndarray) -> float:
            once, twice = (self._best(numbers, sizes, flops * factor) for factor in (1, 2))
            return 1 - twice / once

        low, high = np.percentile([gain(numbers) for numbers in self.resampled], [2.5, 97.5])
        return Forecast(value=gain(self.numbers), low=float(low), high=float(high))

    def _best(self, numbers: np.ndarray, sizes: Sequence[float], flops: float) -> float:
        every = np.asarray(sizes)
        images = flops / (3 * every)  # a backward pass costs twice the forward one
        return float(_losses(numbers, np.log(every / self.size), np.log(images / self.images)).min())


def fit(runs: pd.DataFrame, resamples: int | None = None) -> Law | None:
    """The law of these runs; None for fewer than `FEWEST_CELLS` cells, or without two sizes and two lengths.

    runs: one row a run, with `cell`, `size` (operations for one image), `images` (seen) and `loss`, all positive.
    resamples: of the bootstrap (default `RESAMPLES`).
    """
    runs = runs.sort_values(["size", "images", "loss"], kind="stable").reset_index(drop=True)
    several = {name: len(set(runs[name].tolist())) for name in ("cell", "size", "images")}
    if several["cell"] < FEWEST_CELLS or several["size"] < 2 or several["images"] < 2:
        return None
    sizes, lengths, logs = (np.log(np.asarray(runs[name], float)) for name in ("size", "images", "loss"))
    columns = sizes - sizes.mean(), lengths - lengths.mean(), logs
    best = _fitted(columns, _starts(logs))
    cells = [np.flatnonzero(runs["cell"] == cell) for cell in dict.fromkeys(runs["cell"].tolist())]
    generator = np.random.default_rng(0)
    resampled: list[np.ndarray] = []
    for _ in range(RESAMPLES if resamples is None else resamples):
        rows = np.concatenate([generator.choice(cell, len(cell)) for cell in cells])
        resampled.append(_fitted([column[rows] for column in columns], [best]))
    spread = logs - np.log(_losses(best, *columns[:2]))
    deviation = math.sqrt(float((spread**2).sum()) / max(1, len(runs) - len(best)))
    size, images = math.exp(sizes.mean()), math.exp(lengths.mean())
    return Law(best, np.array(resampled).reshape(-1, len(best)), size, images, deviation, len(runs))


def runs_of(trials: pd.DataFrame, accuracy: str = PROBE.column) -> pd.DataFrame:
    """The finished trials as `fit` takes them, with `accuracy`: rows of the table `trials` with their `cell`.

    `flops` there are those of training: forward and backward passes count three forward ones.
    """
    columns = {"loss": VALIDATION_LOSS.column, "accuracy": accuracy, "flops": "flops", "images": "images_seen"}
    done = trials.loc[trials["status"] == "finished"].dropna(subset=[VALIDATION_LOSS.column, "flops"])
    runs = pd.DataFrame({name: done[column].astype(float) for name, column in columns.items()})
    return runs.assign(cell=done["cell"], size=runs["flops"] / 3 / runs["images"])


def agreement(losses: Sequence[float], accuracies: Sequence[float]) -> Kendall:
    """Kendall's tau between low loss and high accuracy of the same trials: 1 where the lower loss is always better."""
    return kendall([-loss for loss in losses], accuracies)


def _losses(numbers: np.ndarray, log_size: np.ndarray, log_images: np.ndarray) -> np.ndarray:
    return _terms(numbers, log_size, log_images).sum(axis=0)


def _terms(numbers: np.ndarray, log_size: np.ndarray, log_images: np.ndarray) -> np.ndarray:
    """The law's three summands, as rows."""
    floor, of_size, alpha, of_images, beta = numbers
    logs = (floor + 0 * log_size, of_size - alpha * log_size, of_images - beta * log_images)
    return np.exp(np.stack(logs))


def _starts(logs: np.ndarray) -> list[np.ndarray]:
    """A grid of first guesses: how much of the mean loss is the floor, and how steep the rest falls."""
    mean = float(np.exp(logs.mean()))
    return [
        np.array([math.log(mean * share), math.log(mean * rest), alpha, math.log(mean * rest), beta])
        for share in (0.1, 0.5, 0.9)
        for rest in ((1 - share) / 2,)
        for alpha in (0.1, 0.5, 1.0)
        for beta in (0.1, 0.5, 1.0)
    ]


def _fitted(columns: Sequence[np.ndarray], starts: Sequence[np.ndarray]) -> np.ndarray:
    """The numbers with the least Huber loss, from the best of the first guesses."""
    x, y, logs = columns

    def residuals(numbers: np.ndarray) -> np.ndarray:
        return np.log(_losses(numbers, x, y)) - logs

    def slopes(numbers: np.ndarray) -> np.ndarray:
        shares = (terms := _terms(numbers, x, y)) / terms.sum(axis=0)
        return np.stack([shares[0], shares[1], -x * shares[1], shares[2], -y * shares[2]], axis=1)

    low, high = float(logs.min()), float(logs.max())
    bounds = (
        [low - 12, low - 12, EXPONENTS[0], low - 12, EXPONENTS[0]],
        [low, high + 1, EXPONENTS[1], high + 1, EXPONENTS[1]],
    )
    how = {"jac": slopes, "bounds": bounds, "loss": "huber", "f_scale": HUBER, "x_scale": "jac", **ENOUGH}
    fits = [optimize.least_squares(residuals, np.clip(start, *bounds), **how) for start in starts]
    return min(fits, key=lambda each: float(each.cost)).x
