"""From flags to what a run needs: its data, its place for results, its workers."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from darl.config import Experiment
from darl.data import Dataset, load, steps_per_epoch
from darl.train import worker_part

__all__ = ["check_batch", "load_data", "results_root", "workers_of"]


def load_data(experiment: Experiment, flags: argparse.Namespace) -> Dataset:
    """The data, in memory or streamed; corrupt images are counted and named on standard error."""
    dataset = load(
        experiment.data,
        image_size=experiment.image_size,
        channels=experiment.channels,
        memory_limit=int(flags.memory_limit * 2**30),
        loader_workers=flags.loader_workers,
    )
    if dataset.skipped:
        shown = "".join(f"\n  {reason}" for reason in dataset.skipped[:5])
        more = f"\n  and {len(dataset.skipped) - 5} more" if len(dataset.skipped) > 5 else ""
        print(f"skipped {len(dataset.skipped)} corrupt images:{shown}{more}", file=sys.stderr)
    return dataset


def check_batch(experiment: Experiment, dataset: Dataset, flags: argparse.Namespace) -> None:
    """Raise UserError where batch, data, workers and parts do not fit together."""
    steps_per_epoch(len(dataset.train), experiment.batch_size)
    worker_part(experiment, flags.workers)


def workers_of(flags: argparse.Namespace) -> Any:
    """How a run is spread out, as `darl.distributed.trainer.Workers`."""
    from darl.distributed.trainer import Workers

    return Workers(count=flags.workers, gpus=flags.gpus_per_worker, save_every=flags.save_every, compiled=flags.compile)


def results_root(results: str) -> str:
    """A relative path starts here, or in the home folder within a `ray job`, whose own folder is thrown away."""
    start = Path.home() if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else Path.cwd()
    return results if "://" in results else str(start / Path(results).expanduser())
