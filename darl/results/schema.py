"""The columns of the result tables. The metrics' columns come from the evaluation protocols (`Protocol.gives`)."""

# pyarrow has no types: reports about the unknown types of what it returns are switched off, no others.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeStubs=false

import pyarrow as pa

from darl.evaluation.protocol import SPLIT, chosen_columns, measured, profile_columns
from darl.experiment import columns
from darl.metrics import TRAINING_LOSS
from darl.training import adapted

__all__ = ["SCHEMA_VERSION", "curves_schema", "trials_schema"]

SCHEMA_VERSION = 2
"""Increased when a column changes its meaning; a new column needs no new version.

2: linear probe and kNN choose block, readout and penalty; in version 1 they read the last block by the model's own
pooling, with one fixed penalty.
"""

VERSION_KEY = b"darl_schema_version"
"""Where a part's metadata holds the schema version."""

TRIALS, CURVES = "trials", "curves"

ARROW: dict[object, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}

BEFORE_RECORD: dict[str, type] = {
    "sweep": str, "trial_id": str, "attempt": int, "status": str, "seed": int, "epochs": int, "images_seen": int,
}  # fmt: skip

AFTER_METRICS: dict[str, type] = {
    "seconds": float, "images_per_second": float, "device": str, "workers": int, "flops": float, "peak_memory": int,
    "git_commit": str, "darl_version": str, "torch_version": str,
}  # fmt: skip

CURVE: dict[str, type] = {
    "sweep": str, "trial_id": str, "attempt": int, "epoch": int, "step": int, "images_seen": int,
    TRAINING_LOSS.column: float, "learning_rate": float,
}  # fmt: skip


def trials_schema() -> pa.Schema:
    """One row per attempt of a trial.

    `epochs` counts the epochs that ran; the planned number is in `config`. The columns between `images_seen` and
    `config` are the record's (`darl.experiment.columns`).
    """
    record = {name: kind for name, kind in columns().items() if name not in BEFORE_RECORD}
    judging, others = _metric_columns()
    initial = [metric.initial_column for metric in measured() if metric.yardsticks]
    pixels = [metric.pixels_column for metric in measured() if metric.has_pixels]
    test = [metric.test_column for metric in measured() if metric.tested]
    metrics = dict.fromkeys([*judging, TRAINING_LOSS.column, *initial, *pixels, *test, *others], float)
    chosen = dict.fromkeys([*chosen_columns(), SPLIT], str)
    whole = {**BEFORE_RECORD, **record, "config": str, **metrics, **chosen, **adapted.COLUMNS, **AFTER_METRICS}
    fields = [(name, ARROW[kind]) for name, kind in whole.items()]
    fields += [("started_at", pa.timestamp("us", "UTC"))]
    fields += [("host", pa.string()), ("error", pa.string()), ("schema_version", pa.int64())]
    return stamped(fields)


def curves_schema() -> pa.Schema:
    """One row per evaluation in an attempt."""
    judging, others = _metric_columns()
    measures = {**dict.fromkeys([*judging, *others], float), **dict.fromkeys(chosen_columns(), str)}
    fields = [(name, ARROW[kind]) for name, kind in {**CURVE, **measures, **adapted.COLUMNS}.items()]
    fields += [(name, pa.list_(pa.float64())) for name in profile_columns()]
    return stamped([*fields, ("seconds", pa.float64()), ("schema_version", pa.int64())])


def _metric_columns() -> tuple[list[str], list[str]]:
    """The columns of the metrics that a sweep may rank its trials by, and of the others."""
    metrics = measured()
    return [metric.column for metric in metrics if metric.ranks_trials], [
        metric.column for metric in metrics if not metric.ranks_trials
    ]


def stamped(fields: list[tuple[str, pa.DataType]]) -> pa.Schema:
    """A schema of these columns, with the schema version in its metadata."""
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()})
