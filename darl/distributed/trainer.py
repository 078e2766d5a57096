"""Pretraining over many workers: `darl.training.pretrain.fit` inside a Ray Train TorchTrainer.

Ray starts the workers, connects them by gloo (CPU) or nccl (GPU), keeps the checkpoints in any storage it supports, and
after a fault restarts all workers from the last checkpoint. The training loop does not depend on Ray. A run that was
begun without Ray continues from its own checkpoints, which are in the folder where Ray Train stores its checkpoints.

SIGTERM to the driver (`pretrain`) makes the workers save a checkpoint and end. Not covered: SIGTERM to a worker's own
process, which Ray ends at once, and a node that Ray drains; both lose the steps since the last checkpoint, and Train
restarts the workers. A whole allocation that gets SIGTERM at once (`scancel`) is such a case: ask Slurm to signal the
batch script alone (`--signal=B:TERM@60`).
"""

import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import Empty
from typing import Any

import ray
import ray.train.torch
from ray.train import (
    Checkpoint,
    CheckpointConfig,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
    UserCallback,
    WorkerGroupError,
)
from ray.train.torch import TorchTrainer
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from torch import Tensor

from darl.data import Dataset
from darl.distributed.ray_internals import WorkerHealthCheckFailedError
from darl.distributed.stop_signal import StopSignal, forwarding, poll
from darl.errors import UserError, one_line
from darl.experiment import Experiment
from darl.results.rows import curve_row
from darl.storage.address import below
from darl.training.checkpoint_store import CHECKPOINTS, CheckpointStore
from darl.training.events import Evaluated, Saved
from darl.training.parallel import Workers
from darl.training.pretrain import Evaluation, fit

__all__ = ["WorkerJob", "failure", "pretrain", "report_of", "torch_trainer"]

_TRAIN_LIST = "checkpoint_manager_snapshot.json"
"""Train's own list of the checkpoints in a trial's folder (Ray's `CHECKPOINT_MANAGER_SNAPSHOT_FILENAME`)."""


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """What the workers of a run are given."""

    experiment: Experiment
    dataset: "ray.ObjectRef[Dataset]"
    """The data, in Ray's object store."""
    workers: Workers
    """Number of workers, their GPUs, and how they run."""
    evaluate_at: Mapping[int, Evaluation]
    """As in `fit`."""
    full: Evaluation
    """As in `fit`."""
    first: Evaluation | None = None
    """As in `fit`."""
    initial: "ray.ObjectRef[Mapping[str, Tensor]] | None" = None
    """As in `fit`, in Ray's object store."""
    stop: Any = None
    """The handle of a `StopSignal`; once it is sent, a checkpoint is saved and the workers end."""
    resume: Checkpoint | None = None
    """Where the workers start; `torch_trainer` finds it."""


def torch_trainer(job: WorkerJob, *, root: str, callbacks: list[Any] | None = None) -> TorchTrainer:
    """The trainer of an experiment. It continues from the trial's newest checkpoint below `root`, with Ray or without.

    Args:
        job: what the workers are given.
        root: RESULTS/SWEEP; the checkpoints go to checkpoints/TRIAL_ID in it.
        callbacks: callbacks of Ray Train.

    """
    experiment, workers = job.experiment, job.workers
    job = replace(job, resume=_last_checkpoint(CheckpointStore(root), experiment))
    return TorchTrainer(
        train_worker,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(
            num_workers=workers.count,
            use_gpu=workers.gpus > 0,
            resources_per_worker={"CPU": 1, **({"GPU": workers.gpus} if workers.gpus else {})},
        ),
        run_config=RunConfig(
            name=experiment.trial_id,
            storage_path=below(root, CHECKPOINTS),
            callbacks=callbacks or [],
            failure_config=FailureConfig(max_failures=workers.retries),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )


def _last_checkpoint(store: CheckpointStore, experiment: Experiment) -> Checkpoint | None:
    """The newest complete checkpoint of earlier runs, with Ray or without.

    Train's own list of checkpoints is deleted. It lacks those of a run without Ray, and Train does not start if such a
    run has deleted a checkpoint that the list names. Within one run Train keeps the list in memory.
    """
    store.prune(experiment, keep=2)
    store.drop(experiment.trial_id, _TRAIN_LIST)
    path = store.newest_path(experiment)
    return None if path is None else Checkpoint(path, store.root.files)


def train_worker(config: dict[str, WorkerJob]) -> None:
    """The training loop of one worker. All workers make every report: a worker that reported alone would wait for ever.

    All workers report, instead of raising, an error that a retry would only repeat.
    """
    try:
        _train(config["job"])
    except (ArithmeticError, UserError) as error:
        ray.train.report({"error": one_line(error)})


def _train(job: WorkerJob) -> None:
    last: Checkpoint | None = ray.train.get_checkpoint() or job.resume
    with tempfile.TemporaryDirectory() as folder, last.as_directory() if last else nullcontext() as resume:
        for event in fit(
            job.experiment,
            ray.get(job.dataset),
            device=ray.train.torch.get_device(),  # pyright: ignore[reportArgumentType]
            folder=Path(folder),
            resume=Path(resume) if resume else None,
            initial=None if resume or job.initial is None else ray.get(job.initial),
            evaluate_at=job.evaluate_at,
            full=job.full,
            first=job.first,
            save_every=job.workers.save_every,
            execution=job.workers.execution,
            stop=None if job.stop is None else poll(job.stop),
        ):
            if isinstance(event, Evaluated):
                ray.train.report(report_of(event))
            elif isinstance(event, Saved):
                wrote = event.path.is_dir()  # worker 0, or all: then Train puts their files into one folder
                saved = Checkpoint.from_directory(event.path) if wrote else None
                ray.train.report({"saved": event.step}, saved, checkpoint_dir_name=event.path.name)


def report_of(event: Evaluated) -> dict[str, Any]:
    """The report of an evaluation that Tune, ASHA and the recorder read: the row of `curves`, flat, and the event."""
    return {**curve_row(asdict(event)), "event": asdict(event)}


class _Listener(UserCallback):
    """Hands the workers' reports to the driver; it lives in Train's controller."""

    def __init__(self, queue: Queue):
        self.queue = queue

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:
        self.queue.put(metrics[0])

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        self.queue.put({"ended": failure(WorkerGroupError("", worker_exceptions))})


def pretrain(
    experiment: Experiment,
    dataset: "ray.ObjectRef[Dataset]",
    workers: Workers,
    *,
    root: str,
    evaluate_at: Mapping[int, Evaluation],
    full: Evaluation,
    first: Evaluation | None = None,
    initial: Mapping[str, Tensor] | None = None,
    terminated: threading.Event,
    on_evaluation: Callable[[Evaluated], None],
) -> str | None:
    """Run an experiment to its end; returns the error that ended it, if any.

    Each evaluation is passed to `on_evaluation` once, in another thread; an error there is raised when the run ends.
    Once `terminated` is set, the workers save a checkpoint and the run ends.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    job = WorkerJob(
        experiment=experiment,
        dataset=dataset,
        workers=workers,
        evaluate_at=evaluate_at,
        full=full,
        first=first,
        initial=None if initial is None else ray.put(initial),
        stop=StopSignal.options(scheduling_strategy=here).remote(),
    )
    trainer = torch_trainer(job, root=root, callbacks=[_Listener(queue)])
    errors: list[str] = []
    try:
        with _own_interrupts(), _consume_reports(queue, on_evaluation, errors), forwarding(terminated, job.stop):
            trainer.fit()
        CheckpointStore(root).prune(experiment, keep=2)
    except TrainingFailedError as error:
        errors.append(failure(error))
    return next(iter(errors), None)


@contextmanager
def _own_interrupts() -> Generator[None]:
    """Within, Train may handle Ctrl-C, which it turns into SystemExit; outside it is a KeyboardInterrupt as before."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:  # raised by Train's own handler
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _consume_reports(queue: Queue, on_evaluation: Callable[[Evaluated], None], errors: list[str]) -> Generator[None]:
    """Within, pass evaluations from a queue to `on_evaluation` as they arrive; errors that arrive go to `errors`.

    An error that `on_evaluation` raises is raised at the end.
    """
    ended = threading.Event()

    def reports() -> Iterator[dict[str, Any]]:
        while not ended.is_set() or not queue.empty():
            with suppress(Empty):
                yield queue.get(timeout=0.5)

    with ThreadPoolExecutor(1) as pool:
        consuming = pool.submit(lambda: errors.extend(_handle(reports(), on_evaluation)))
        try:
            yield
        finally:
            ended.set()
            consuming.result()


def _handle(reports: Iterator[dict[str, Any]], on_evaluation: Callable[[Evaluated], None]) -> list[str]:
    """Pass on each evaluation once, though restarted workers repeat theirs; returns the errors reported."""
    errors, epochs = list[str](), set[int]()
    for report in reports:
        errors += [report["error"]] if "error" in report else []
        if "ended" in report:
            print(f"workers ended: {report['ended']}", file=sys.stderr, flush=True)
        if "event" in report and report["epoch"] not in epochs:
            epochs.add(report["epoch"])
            with suppress(OSError):  # the reader of the output may be gone: the run continues
                on_evaluation(Evaluated(**report["event"]))
    return errors


def failure(error: Exception) -> str:
    """Type and message of an error in one line; of an error that Ray has wrapped, those of its cause."""
    cause: Exception = getattr(error, "cause", None) or error
    workers: list[Exception] = [*getattr(cause, "worker_failures", {}).values()]
    died = [worker.health_check_failure for worker in workers if isinstance(worker, WorkerHealthCheckFailedError)]
    own = [worker for worker in workers if not _SECONDARY_ERRORS.search(str(worker))]
    return one_line(next(iter([*died, *own, *workers, cause])))


_SECONDARY_ERRORS = re.compile("gloo|NCCL|Connection (closed|reset)|process group", re.IGNORECASE)
"""Words in the errors of workers that only waited for another worker, which has failed."""
