"""The flags that say how training runs and where its results go, shared by sweeps and by the commands that train."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darl.cli.parser import add_memory_flags, nonnegative, whole
from darl.storage.address import normalized
from darl.training.parallel import Execution, Workers
from darl.training.trackers.base import Tracker

__all__ = ["add_protocols_flag", "add_run_flags", "results_root", "workers_of"]


def add_protocols_flag(add: Callable[..., Any], when: str) -> None:
    """Add the flag for the evaluation protocols. add: `add_argument` of a parser or a group."""
    add(
        "--protocols",
        help=f"evaluation protocols {when}, with options: linear,knn,attentive,finetune:epochs=10 (default: linear,knn,"
        "few_shot,denoising,rankme and what measures the deciding metric); evaluations on the way leave out finetune",
    )


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for how training runs and where results go."""
    add = parser.add_argument_group("how it is run").add_argument
    add("--workers", type=whole, default=Workers.count, help="processes per run")
    add("--gpus-per-worker", type=nonnegative, default=Workers.gpus, help="GPUs of each worker; may be a fraction")
    add("--shard", action="store_true", help="share weights, gradients and optimiser state among the workers (FSDP2)")
    recomputed = "compute activations again in the backward pass instead of keeping them"
    add("--gradient-checkpointing", action="store_true", help=recomputed)
    add("--compile", action="store_true", help="torch.compile, for GPUs")
    saved = "steps between checkpoints, in addition to those after evaluations"
    add("--save-every", type=whole, default=Workers.save_every, help=saved)
    add_memory_flags(add)
    add("--results", default="results", help="folder of the tables; also at s3:// or gs://")
    add("--name", help="name of the folder in --results (default: the command's own)")
    also = "trackers that also get each evaluation"
    add("--log", nargs="+", action="extend", default=[], choices=list(Tracker.kinds()), help=also)


def workers_of(flags: argparse.Namespace) -> Workers:
    """Number of workers, their GPUs, and how they run. Raises UserError."""
    execution = Execution(
        sharded=flags.shard, gradient_checkpointing=flags.gradient_checkpointing, compiled=flags.compile
    )
    return Workers(count=flags.workers, gpus=flags.gpus_per_worker, save_every=flags.save_every, execution=execution)


def results_root(results: str) -> str:
    """The results folder; relative paths start here, or at home in a `ray job`, whose own folder is deleted."""
    start = Path.home() if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else Path.cwd()
    return normalized(results, start)
