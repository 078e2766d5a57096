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
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
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
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from torch import Tensor

from darl.data import Dataset
from darl.distributed.notice import Notice, forwarded, question
from darl.distributed.ray_internals import WorkerHealthCheckFailedError
from darl.errors import UserError, one_line
from darl.evaluation.protocol import Protocols
from darl.evaluation.standard import standard_evaluation
from darl.experiment import Experiment
from darl.results.rows import curve_row
from darl.storage.address import below
from darl.training.checkpoint_store import CHECKPOINTS, CheckpointStore
from darl.training.events import Evaluated, Saved
from darl.training.parallel import Workers
from darl.training.pretrain import fit

__all__ = ["failure", "pretrain", "report_of", "torch_trainer"]

_TRAIN_LIST = "checkpoint_manager_snapshot.json"
"""Train's own list of the checkpoints in a trial's folder (Ray's `CHECKPOINT_MANAGER_SNAPSHOT_FILENAME`)."""


def torch_trainer(
    experiment: Experiment,
    dataset: "ray.ObjectRef[Dataset]",
    workers: Workers,
    *,
    root: str,
    evaluate_at: Mapping[int, Protocols],
    full: Protocols,
    initial: "ray.ObjectRef[Mapping[str, Tensor]] | None" = None,
    notice: Any = None,
    callbacks: list[Any] | None = None,
) -> TorchTrainer:
    """The trainer of an experiment. It continues from the trial's newest checkpoint below `root`, with Ray or without.

    Args:
        experiment: what to train.
        dataset: its data, in Ray's object store.
        workers: number of workers, their GPUs, and how they run.
        root: RESULTS/SWEEP; the checkpoints go to checkpoints/TRIAL_ID in it.
        evaluate_at: as in `fit`.
        full: as in `fit`.
        initial: as in `fit`, in Ray's object store.
        notice: the handle of a `Notice`; once it is given, a checkpoint is saved and the workers end.
        callbacks: callbacks of Ray Train.

    """
    config = {
        "experiment": experiment,
        "dataset": dataset,
        "resume": _last_checkpoint(CheckpointStore(root), experiment),
        "initial": initial,
        "notice": notice,
        "evaluate_at": dict(evaluate_at),
        "full": full,
        "save_every": workers.save_every,
        "compiled": workers.compiled,
    }
    return TorchTrainer(
        train_worker,
        train_loop_config=config,
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


def train_worker(config: dict[str, Any]) -> None:
    """The training loop of one worker. All workers make every report: a worker that reported alone would wait for ever.

    All workers report, instead of raising, an error that a retry would only repeat.
    """
    try:
        _train(config)
    except (ArithmeticError, UserError) as error:
        ray.train.report({"error": one_line(error)})


def _train(config: dict[str, Any]) -> None:
    experiment: Experiment = config["experiment"]
    dataset: Dataset = ray.get(config["dataset"])  # pyright: ignore[reportAssignmentType]
    last: Checkpoint | None = ray.train.get_checkpoint() or config["resume"]
    leads = ray.train.get_context().get_world_rank() == 0
    with tempfile.TemporaryDirectory() as folder, last.as_directory() if last else nullcontext() as resume:
        for event in fit(
            experiment,
            dataset,
            device=ray.train.torch.get_device(),  # pyright: ignore[reportArgumentType]
            folder=Path(folder),
            resume=Path(resume) if resume else None,
            initial=None if resume or config["initial"] is None else ray.get(config["initial"]),
            evaluate_at=config["evaluate_at"],
            full=config["full"],
            save_every=config["save_every"],
            compiled=config["compiled"],
            stop=question(config["notice"]) if config["notice"] else None,
        ):
            if isinstance(event, Evaluated):
                ray.train.report(report_of(event))
            elif isinstance(event, Saved):
                saved = Checkpoint.from_directory(event.path) if leads else None
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
    evaluate_at: Mapping[int, Protocols],
    initial: Mapping[str, Tensor] | None = None,
    terminated: threading.Event,
    tell: Callable[[Evaluated], None],
) -> str | None:
    """Run an experiment to its end and pass each evaluation to `tell` once; returns the error that ended it, if any.

    Once `terminated` is set, the workers save a checkpoint and the run ends.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    notice = Notice.options(scheduling_strategy=here).remote()
    trainer = torch_trainer(
        experiment,
        dataset,
        workers,
        root=root,
        evaluate_at=evaluate_at,
        full=standard_evaluation(),
        initial=None if initial is None else ray.put(initial),
        notice=notice,
        callbacks=[_Listener(queue)],
    )
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        with _followed(queue, tell) as errors, forwarded(terminated, notice):
            trainer.fit()
        CheckpointStore(root).prune(experiment, keep=2)
    except TrainingFailedError as error:
        return next(iter([*errors, failure(error)]))
    except SystemExit:  # raised by Train's own handler of Ctrl-C
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, interrupt)
    return next(iter(errors), None)


@contextmanager
def _followed(queue: Queue, tell: Callable[[Evaluated], None]) -> Generator[list[str]]:
    """Pass evaluations from a queue to `tell` as they arrive; gives the list of errors that arrive."""
    errors, ended = list[str](), threading.Event()

    def reports() -> Iterator[dict[str, Any]]:
        while not ended.is_set() or not queue.empty():
            with suppress(Empty):
                yield queue.get(timeout=0.5)

    following = threading.Thread(target=lambda: errors.extend(_follow(reports(), tell)), daemon=True)
    following.start()
    try:
        yield errors
    finally:
        ended.set()
        following.join()


def _follow(reports: Iterator[dict[str, Any]], tell: Callable[[Evaluated], None]) -> list[str]:
    """Pass each evaluation to `tell` once, though restarted workers repeat theirs; returns the errors reported."""
    errors, epochs = list[str](), set[int]()
    for report in reports:
        errors += [report["error"]] if "error" in report else []
        if "ended" in report:
            print(f"workers ended: {report['ended']}", file=sys.stderr, flush=True)
        if "event" in report and report["epoch"] not in epochs:
            epochs.add(report["epoch"])
            with suppress(OSError):  # the reader of the output may be gone: the run continues
                tell(Evaluated(**report["event"]))
    return errors


def failure(error: Exception) -> str:
    """Type and message of an error in one line; of an error that Ray has wrapped, those of its cause."""
    cause: Exception = getattr(error, "cause", None) or error
    workers: list[Exception] = [*getattr(cause, "worker_failures", {}).values()]
    died = [worker.health_check_failure for worker in workers if isinstance(worker, WorkerHealthCheckFailedError)]
    own = [worker for worker in workers if not _FOLLOWS.search(str(worker))]
    return one_line(next(iter([*died, *own, *workers, cause])))


_FOLLOWS = re.compile("gloo|NCCL|Connection (closed|reset)|process group", re.IGNORECASE)
"""Words in the errors of workers that only waited for another worker, which has failed."""
