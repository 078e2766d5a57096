"""The metrics: what each is called, which way is better, and what it may be compared across."""

import re
from typing import TYPE_CHECKING

from darl.errors import UserError
from darl.variants import Record

if TYPE_CHECKING:
    pass

__all__ = [
    "GAMMA_GRID",
    "METRICS",
    "METRIC_NAMES",
    "gamma_column",
    "is_loss",
    "metric_name",
    "require_comparable",
    "require_comparable_over",
]

_TASK = "data|content.*|image_size|model_patch_size|causal|order.*"

_TRAINING = (
    re.compile(f"{_TASK}|noise.*|objective.*"),
    "raw pretraining losses of different noise schedules, targets or orders say how hard the task is, not what the "
    "model has learned",
)

_VALIDATION = (
    re.compile(f"{_TASK}|objective|objective_normalize_target"),
    "the targets, or what is seen of them, are not the same",
)
"""The fields that a loss is not comparable across, and why; the validation loss has a noise schedule of its own."""


def require_comparable(metric: str, records: list[Record]) -> list[str]:
    """The fields in which the records differ, `seed` aside; raises UserError where they forbid the metric."""
    names = dict.fromkeys(name for record in records for name in record if name != "seed")
    varying = [name for name in names if len({record.get(name) for record in records}) > 1]
    require_comparable_over(metric, varying)
    return varying


def require_comparable_over(metric: str, fields: list[str]) -> None:
    """Raise UserError where trials that differ in these fields cannot be ranked by the metric."""
    barred, why = _TRAINING if metric == "train_loss" else _VALIDATION
    bent = [name for name in fields if barred.fullmatch(name)]
    if bent and is_loss(metric):
        val_loss = metric == "train_loss" and not any(_VALIDATION[0].fullmatch(name) for name in bent)
        raise UserError(
            f"metric must be comparable between trials, got {metric!r} where {', '.join(bent)} differ: "
            f"{why}; rank by {'probe_top1, knn_top1 or val_loss' if val_loss else 'probe_top1 or knn_top1'}"
        )


METRIC_NAMES = {
    "probe_top1": "linear probe", "knn_top1": "kNN", "val_loss": "validation loss", "train_loss": "training loss",
    "probe_top1_enlarged": "linear probe on enlarged images",
}  # fmt: skip


def is_loss(metric: str) -> bool:
    """Whether lower is better."""
    return "loss" in metric


def metric_name(metric: str) -> str:
    """What people call it."""
    return METRIC_NAMES.get(metric, metric)


GAMMA_GRID = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""The signal fractions of the schedule-independent validation loss."""


def gamma_column(gamma: float) -> str:
    """The name of that loss at one gamma of the grid, here and in the tables: `val_loss_gamma_0_1`."""
    return f"val_loss_gamma_{gamma:.1f}".replace(".", "_")


METRICS = {"probe_top1": "max", "knn_top1": "max", "val_loss": "min"}
"""What a sweep may be judged by, and which way is better. The raw training loss is not comparable."""
