"""Where a noise schedule or a distribution of orders that follows the losses has come to, as columns of the tables."""

from collections.abc import Mapping

import torch

from darl.model.darl import Darl
from darl.model.noise import Noise, nearest_beta
from darl.model.orders import inverse

__all__ = ["COLUMNS", "ORDER_SCORES", "PROBABILITIES", "QUANTILES", "adapted_columns", "order_columns"]

QUANTILES = "adapted_quantiles"
"""The column with the schedule itself: the signal fractions below which a draw lies with each of `PROBABILITIES`."""

ORDER_SCORES = "order_scores"
"""The column with what was learned of orders: each patch's score, in raster order; high ones come early."""

COLUMNS: Mapping[str, type] = {"adapted_a": float, "adapted_b": float, QUANTILES: str, ORDER_SCORES: str}
"""The columns: a and b of the Beta with the same mean and variance; numbers in a text are separated by blanks."""

PROBABILITIES = (0.0, 0.01, *(percent / 100 for percent in range(5, 100, 5)), 0.99, 1.0)
"""The probabilities of `QUANTILES`."""


def adapted_columns(schedule: Noise) -> dict[str, float | str]:
    """The values of `COLUMNS`."""
    nearest = nearest_beta(schedule)
    gamma: list[float] = schedule.quantile(torch.tensor(PROBABILITIES, dtype=torch.float64)).tolist()
    return {"adapted_a": nearest.a, "adapted_b": nearest.b, QUANTILES: " ".join(f"{value:.7g}" for value in gamma)}


def order_columns(model: Darl) -> dict[str, float | str]:
    """The value of `ORDER_SCORES`, of a model whose orders are learned; nothing for others."""
    if model.order_policy is None:
        return {}
    scores: list[float] = model.order_policy.strengths[inverse(model.order)].tolist()
    return {ORDER_SCORES: " ".join(f"{score:.6g}" for score in scores)}
