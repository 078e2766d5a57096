"""Where a noise schedule that follows the losses has come to, as columns of the tables."""

from collections.abc import Mapping

import torch

from darl.model.noise import Noise, nearest_beta

__all__ = ["COLUMNS", "PROBABILITIES", "QUANTILES", "adapted_columns"]

QUANTILES = "adapted_quantiles"
"""The column with the schedule itself: the signal fractions below which a draw lies with each of `PROBABILITIES`."""

COLUMNS: Mapping[str, type] = {"adapted_a": float, "adapted_b": float, QUANTILES: str}
"""The columns: a and b of the Beta with the same mean and variance, and `QUANTILES`, separated by blanks."""

PROBABILITIES = (0.0, 0.01, *(percent / 100 for percent in range(5, 100, 5)), 0.99, 1.0)
"""The probabilities of `QUANTILES`."""


def adapted_columns(schedule: Noise) -> dict[str, float | str]:
    """The values of `COLUMNS`."""
    nearest = nearest_beta(schedule)
    gamma: list[float] = schedule.quantile(torch.tensor(PROBABILITIES, dtype=torch.float64)).tolist()
    return {"adapted_a": nearest.a, "adapted_b": nearest.b, QUANTILES: " ".join(f"{value:.7g}" for value in gamma)}
