"""Fields and flags: which flag sets which field. Below `darl/cli` errors name the field; commands print its flag.

Every field of the record can be set. The common ones have a flag each, the others are set by `--set FIELD=VALUE`.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from darl.errors import UserError

__all__ = ["FLAGS", "RECORD_FLAGS", "dest", "in_flags", "overlapping", "read_assignments"]

RECORD_FLAGS = {
    "data": "--data",
    "image_size": "--image-size",
    "channels": "--channels",
    "augment.crop_min": "--crop-scale",
    "augment.flip": "--flip",
    "model": "--model",
    "model.patch_size": "--patch-size",
    "model.readout": "--readout",
    "order": "--order",
    "position": "--position",
    "causal": "--causal",
    "objective": "--objective",
    "noise": "--noise",
    "seed": "--seed",
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "accumulate": "--accumulate",
    "learning_rate": "--learning-rate",
    "optim.weight_decay": "--weight-decay",
    "optim.warmup": "--warmup",
    "optim.ema": "--ema",
    "precision": "--precision",
}
"""The flags of the record's fields, by the fields' paths."""

FLAGS = RECORD_FLAGS | {
    "patch_size": "--patch-size",
    "objective.noise": "--noise",
    "sweep": "--name",
    "metric": "--objective-metric",
    "results": "--results",
    "name": "--name",
    "workers": "--workers",
    "gpus_per_worker": "--gpus-per-worker",
    "max_hours": "--max-hours",
    "max_gpu_hours": "--max-gpu-hours",
    "max_trials": "--max-trials",
    "trials": "--trials",
    "seeds": "--seeds",
    "log": "--log",
    "sampler": "--sampler",
    "init": "--init",
    "init_resample": "--init-resample",
    "figures": "--figures",
    "html": "--html",
}
"""The flags of all fields; also of what is no field of the record, or is called by another name where it is checked."""

_PARTS = ("augment.", "model.", "optim.")
"""Where the record's fields without a flag lie. (An option of a variant, `noise.a`, stands in the variant's text.)"""


def dest(path: str) -> str:
    """The name under which argparse keeps the flag of a field of the record."""
    return RECORD_FLAGS[path].removeprefix("--").replace("-", "_")


def in_flags(error: UserError, flags: argparse.Namespace) -> str:
    """The error's line as the user of a command reads it: with flags in place of fields that the command has flags for.

    flags: what was parsed; it has a value for every flag of the command.
    """
    names = error.field.split(" and ")
    return " and ".join(_flag(name, flags) for name in names) + f" {error.message}" if error.field else error.message


def _flag(field: str, flags: argparse.Namespace) -> str:
    """A field's flag where the command has it, `--set FIELD` for the record's other fields, or the field itself."""
    flag = FLAGS.get(field)
    if flag is not None and hasattr(flags, flag.removeprefix("--").replace("-", "_")):
        return flag
    return f"--set {field}" if field.startswith(_PARTS) and hasattr(flags, "set") else field


def read_assignments(texts: Sequence[str]) -> dict[str, str]:
    """The values of `--set FIELD=VALUE …` as text, by path; the last one of a path counts. Raises UserError."""
    values: dict[str, str] = {}
    for text in texts:
        path, equals, value = (part.strip() for part in text.partition("="))
        if not (path and equals):
            raise UserError(f"--set must be FIELD=VALUE, as optim.clip=0.5, got {text!r}")
        values[path] = value
    return values


def overlapping(changes: Mapping[str, Any], path: str) -> list[str]:
    """The changes that touch the field at `path`: it itself, a part of it, or what it is a part of."""
    return [name for name in changes if f"{name}.".startswith(f"{path}.") or f"{path}.".startswith(f"{name}.")]
