"""The columns of the result tables."""

# pyarrow and pandas come without types: what they return is unknown, and only that is let pass.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeStubs=false

import pyarrow as pa

from darl.experiment import columns
from darl.metrics import GAMMA_GRID, gamma_column

__all__ = ["SCHEMA_VERSION", "curves_schema", "trials_schema"]

SCHEMA_VERSION = 1
"""Goes up when a column changes its meaning; a new column alone needs no new version."""

VERSION_KEY = b"darl_schema_version"

TRIALS, CURVES = "trials", "curves"

ARROW: dict[object, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}

GAMMAS = dict.fromkeys(map(gamma_column, GAMMA_GRID), float)

BEFORE_RECORD: dict[str, type] = {
    "sweep": str, "trial_id": str, "attempt": int, "status": str, "seed": int, "epochs": int, "images_seen": int,
}  # fmt: skip

AFTER_RECORD: dict[str, type] = {
    "config": str, "probe_top1": float, "knn_top1": float, "val_loss": float, "train_loss": float,
    "init_probe_top1": float, "init_knn_top1": float, "probe_top1_enlarged": float, **GAMMAS, "seconds": float,
    "images_per_second": float,
    "device": str, "workers": int, "flops": float, "git_commit": str, "darl_version": str, "torch_version": str,
}  # fmt: skip

CURVE: dict[str, type] = {
    "sweep": str, "trial_id": str, "attempt": int, "epoch": int, "step": int, "images_seen": int,
    "train_loss": float, "learning_rate": float, "probe_top1": float, "knn_top1": float, "val_loss": float,
    "probe_top1_enlarged": float, **GAMMAS, "seconds": float, "schema_version": int,
}  # fmt: skip


def trials_schema() -> pa.Schema:
    """One row per attempt of a trial.

    `epochs` is what it ran; the planned number is in `config`. Its other columns between `images_seen` and `config` are
    the record's (`darl.experiment.columns`).
    """
    record = {name: kind for name, kind in columns().items() if name not in BEFORE_RECORD}
    fields = [(name, ARROW[kind]) for name, kind in {**BEFORE_RECORD, **record, **AFTER_RECORD}.items()]
    fields += [("started_at", pa.timestamp("us", "UTC"))]
    fields += [("host", pa.string()), ("error", pa.string()), ("schema_version", pa.int64())]
    return stamped(fields)


def curves_schema() -> pa.Schema:
    """One row per report of an attempt."""
    return stamped([(name, ARROW[kind]) for name, kind in CURVE.items()])


def stamped(fields: list[tuple[str, pa.DataType]]) -> pa.Schema:
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()})
