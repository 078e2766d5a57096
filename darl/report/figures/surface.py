"""A surface of a metric between the trials: a Gaussian process over log a and log b of the Beta schedules.

It is fitted to every finished trial, so that seeds at one point are repeated measurements. The surface is the process's
mean, its uncertainty the 95 % half-width of that mean. Where the uncertainty is nearly as large as the spread of all
trials, the surface is left blank: a guess would look like a finding. If that is so everywhere, the trials differ by no
more than noise, and the surface is flat at their mean.
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
"""Number of points with a finished trial below which there is no surface."""

_IGNORANT = 0.75
"""The surface is blank where its deviation exceeds this share of the process's own deviation far from all trials."""

_MANY = 20
"""Number of trials from which noise and pattern can be separated."""

_LEAST_NOISE = 0.1
"""Smallest share of noise in the variance of fewer trials; without it, the surface would pass through every trial."""

_STEPS = 80

_MARGIN = 1.2
"""The factor by which the grid extends beyond the trials."""


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface on a grid with rows for b and columns for a; NaN where too little is known."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    mean: NDArray[np.float64]
    half_width: NDArray[np.float64]
    flat: bool = False
    """Whether no pattern is seen, so that the surface is the mean of all trials everywhere."""


def fit_surface(trials: pd.DataFrame, metric: str) -> Surface | None:
    """The surface of finished trials with `noise_a` and `noise_b`; None if they are too few, on a line, or equal."""
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
    with warnings.catch_warnings():  # a length scale at the end of its range is a valid result
        warnings.simplefilter("ignore", ConvergenceWarning)
        return process.fit(x, y)
