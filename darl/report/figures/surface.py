"""A metric between the trials: a Gaussian process over log a and log b of the Beta schedules.

It takes every finished trial, so that seeds at one point are repeated measurements. A surface is its mean; what it does
not know is the 95 % half-width of that mean. Where it knows hardly more than how far trials spread at large, it is left
blank: a guess would look like a finding. Where that is so everywhere, trials differ by no more than noise, and what is
left is their mean: a flat surface.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

__all__ = ["LEAST", "Surface", "fit_surface"]

LEAST = 5
"""Points with a finished trial below which there is no surface."""

_IGNORANT = 0.75
"""Of the process's own deviation at large: beyond it, the surface is a guess."""

_MANY = 20
"""Trials from which noise and pattern can be told apart."""

_LEAST_NOISE = 0.1
"""Of the variance of fewer trials: without it, the surface would run through every one of them."""

_STEPS = 80

_MARGIN = 1.2
"""Around the trials, as a factor."""


@dataclass(frozen=True, eq=False)
class Surface:
    """On a grid with b downwards and a across; NaN where too little is known."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    mean: NDArray[np.float64]
    half_width: NDArray[np.float64]
    flat: bool = False
    """Whether no pattern is seen: the mean of all trials, everywhere."""


def fit_surface(trials: pd.DataFrame, metric: str) -> Surface | None:
    """Of finished trials with `noise_a` and `noise_b`; None where they are too few, on a line, or all equal."""
    points = trials[["noise_a", "noise_b"]].drop_duplicates()
    alike = len(set(trials[metric])) < 2
    if alike or len(points) < LEAST or min(len(set(points[name])) for name in points) < 2:
        return None
    x, y = np.log(trials[["noise_a", "noise_b"]].to_numpy("float64")), trials[metric].to_numpy("float64")
    process = _fit(x, y)
    a, b = (np.geomspace(math.exp(side.min()) / _MARGIN, math.exp(side.max()) * _MARGIN, _STEPS) for side in x.T)
    grid = np.stack([side.ravel() for side in np.meshgrid(np.log(a), np.log(b))], axis=1)
    mean, deviation = cast("tuple[NDArray[Any], NDArray[Any]]", process.predict(grid, return_std=True))
    kernel: Any = process.kernel_
    latent = np.sqrt(np.clip(deviation**2 - kernel.k2.noise_level * y.std() ** 2, 0, None))
    known = latent < _IGNORANT * y.std() * math.sqrt(kernel.k1.k1.constant_value)
    flat = not known.any()
    if flat:
        known, mean, latent = ~known, np.full_like(mean, y.mean()), np.full_like(mean, y.std() / math.sqrt(len(y) - 1))
    mean, half = (np.where(known, part, np.nan).reshape(_STEPS, _STEPS) for part in (mean, 1.96 * latent))
    return Surface(a, b, mean, half, flat)


def _fit(x: NDArray[np.float64], y: NDArray[np.float64]) -> GaussianProcessRegressor:
    lengths: Any = [2.0, 2.0]
    least = _LEAST_NOISE if len(y) < _MANY else 1e-4
    kernel = ConstantKernel(1.0, (0.05, 20)) * Matern(lengths, (1.0, 20), nu=2.5) + WhiteKernel(0.2, (least, 2))
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=2, random_state=0)
    with warnings.catch_warnings():  # a length at the end of its range is an answer, too
        warnings.simplefilter("ignore", ConvergenceWarning)
        return process.fit(x, y)
