"""Fields and their flags. Errors raised below `darl/cli` name a field; commands print its flag instead.

Every field of the record can be set. The common ones have a flag each; `--set FIELD=VALUE` sets the others.
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
    "augment.shift": "--shift",
    "model": "--model",
    "model.patch_size": "--patch-size",
    "model.readout": "--readout",
    "order": "--order",
    "random_order": "--random-order",
    "position": "--position",
    "causal": "--causal",
    "attention": "--attention",
    "condition": "--condition",
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
    "shard": "--shard",
    "max_hours": "--max-hours",
    "max_gpu_hours": "--max-gpu-hours",
    "max_trials": "--max-trials",
    "yardsticks": "--yardsticks",
    "trials": "--trials",
    "seeds": "--seeds",
    "log": "--log",
    "sampler": "--sampler",
    "patch_sampler": "--sampler",
    "steps": "--steps",
    "temperature": "--temperature",
    "guidance": "--guidance",
    "labels": "--class",
    "init": "--init",
    "tokenizer": "--tokenizer",
    "tokens": "--tokens",
    "token_input": "--tokens",
    "vocabulary": "--vocabulary",
    "tokenizer.vocabulary": "--vocabulary",
    "init_resample": "--init-resample",
    "data_labels": "--labels",
    "data_splits": "--splits",
    "figures": "--figures",
    "claims": "--claims",
    "markdown": "--markdown",
    "html": "--html",
    "protocol": "--protocols",
    "export": "--to",
    "output": "--output",
    "license": "--license",
    "push": "--push",
    "protocols": "--protocols",
    "test": "--test",
    "layers": "--layers",
    "robustness": "--robustness",
    "dry_run": "--dry-run",
}
"""The flags of all fields: the record's, those outside the record, and other names by which errors call a field."""

OTHER_FLAGS = {"metric": "--metric"}
"""The flags of fields in commands that do not have the flag in `FLAGS`."""

_PARTS = ("augment.", "model.", "optim.")
"""Prefixes of record fields that may have no flag. (Options of a variant, such as `noise.a`, are in its text.)"""


def dest(path: str) -> str:
    """The name under which argparse keeps the flag of a field of the record."""
    return RECORD_FLAGS[path].removeprefix("--").replace("-", "_")


def in_flags(error: UserError, flags: argparse.Namespace) -> str:
    """The error as one line for the user of a command: fields for which the command has flags are replaced by those.

    flags: the parsed flags, with a value for every flag of the command.
    """
    names = error.field.split(" and ")
    return " and ".join(_flag(name, flags) for name in names) + f" {error.message}" if error.field else error.message


def _flag(field: str, flags: argparse.Namespace) -> str:
    """A field's flag if the command has it, `--set FIELD` for other fields of the record, else the field itself."""
    for flag in (FLAGS.get(field), OTHER_FLAGS.get(field)):
        if flag is not None and hasattr(flags, flag.removeprefix("--").replace("-", "_")):
            return flag
    own = field.removeprefix("protocol.")
    if own != field and hasattr(flags, own) and not hasattr(flags, "protocols"):  # `darl finetune`
        return f"--{own.replace('_', '-')}"
    return f"--set {field}" if field.startswith(_PARTS) and hasattr(flags, "set") else field


def read_assignments(texts: Sequence[str]) -> dict[str, str]:
    """The values of `--set FIELD=VALUE …` as text, by path; the last value of a path wins. Raises UserError."""
    values: dict[str, str] = {}
    for text in texts:
        path, equals, value = (part.strip() for part in text.partition("="))
        if not (path and equals):
            raise UserError(f"--set must be FIELD=VALUE, as optim.clip=0.5, got {text!r}")
        values[path] = value
    return values


def overlapping(changes: Mapping[str, Any], path: str) -> list[str]:
    """The paths among `changes` that affect the field at `path`: the field itself, its parts, or what contains it."""
    return [name for name in changes if f"{name}.".startswith(f"{path}.") or f"{path}.".startswith(f"{name}.")]
