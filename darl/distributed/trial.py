"""One trial of a sweep, as Tune runs it.

With one worker the loop runs in Tune's own actor, which is reused for the next trial: that takes 0.4 s from trial to
trial, a TorchTrainer inside the trial 23 s (2 cores, Ray 2.60). With more workers the trial is a TorchTrainer, and the
actor only waits for it.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from darl.data import Dataset
from darl.distributed.trainer import WorkerJob, report_of, torch_trainer
from darl.errors import UserError, one_line
from darl.experiment import Experiment
from darl.sweep.base import Sweep
from darl.training import checkpoint
from darl.training.checkpoint_store import CheckpointStore
from darl.training.events import Evaluated, Saved
from darl.training.parallel import Workers
from darl.training.pretrain import fit
from darl.training.tokenizer_store import initial_weights

__all__ = ["Job", "SharedDatasets", "resources", "run_trial"]

SharedDatasets = Mapping[str, "ray.ObjectRef[Dataset]"]
"""The data sets of a sweep in Ray's object store, by `Experiment.data_key`."""

HEARTBEAT = 2.0
"""Seconds between a trial's heartbeats, which the live display shows."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """The settings that all trials of a sweep's run share."""

    sweep: Sweep
    workers: Workers
    root: str
    """RESULTS/SWEEP."""

    def experiment(self, config: dict[str, Any]) -> Experiment:
        """The experiment of a Tune config `{"trial": (point, repeat)}`."""
        point, repeat = config["trial"]
        return self.sweep.experiment(point, repeat)


def resources(workers: Workers) -> dict[str, float]:
    """The resources that Tune reserves for a trial's actor. Train itself reserves those of a TorchTrainer's workers."""
    if workers.count > 1:
        return {"memory": 1.0}  # one byte: a CPU share would be missing for its own workers
    return {"CPU": 1, **({"GPU": workers.gpus} if workers.gpus else {})}


def run_trial(config: dict[str, Any], *, job: Job, datasets: SharedDatasets) -> None:
    """Train the trial of `config`, and report its evaluations.

    An error that a retry would repeat (the training diverges, settings do not fit together) is reported as a result.
    Any other error is raised: Tune starts the trial again in a new process, which continues from the last checkpoint.
    """
    experiment = job.experiment(config)
    dataset = datasets[experiment.data_key]
    try:
        if job.workers.count > 1:
            _over_workers(experiment, job, dataset)
        else:
            _here(experiment, job, ray.get(dataset))
    except (ArithmeticError, UserError) as error:
        tune.report({"error": one_line(error)})


def _here(experiment: Experiment, job: Job, dataset: Dataset) -> None:
    torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
    store, last_sign = CheckpointStore(job.root), time.monotonic()
    with store.folder(experiment) as folder:
        for event in fit(
            experiment,
            dataset,
            device=torch.device(job.workers.device),
            folder=folder,
            resume=checkpoint.latest(folder),
            initial=initial_weights(job.root, experiment),
            evaluate_at=job.sweep.evaluate_at,
            full=job.sweep.full,
            save_every=job.workers.save_every,
            execution=job.workers.execution,
        ):
            if isinstance(event, Evaluated):
                tune.report(report_of(event))
            elif isinstance(event, Saved):
                store.saved(experiment, event.path)
            elif time.monotonic() - last_sign > HEARTBEAT:
                tune.report({"at_epoch": event.epoch, "loss": event.loss})
                last_sign = time.monotonic()


def _over_workers(experiment: Experiment, job: Job, dataset: "ray.ObjectRef[Dataset]") -> None:
    initial = initial_weights(job.root, experiment)
    shared = WorkerJob(
        experiment=experiment,
        dataset=dataset,
        workers=job.workers,
        evaluate_at=job.sweep.evaluate_at,
        full=job.sweep.full,
        initial=None if initial is None else ray.put(initial),
    )
    torch_trainer(shared, root=job.root, callbacks=[TuneReportCallback()]).fit()
