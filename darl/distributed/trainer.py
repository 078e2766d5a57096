"""Pretraining over many workers: `darl.training.pretrain.fit` inside a Ray Train TorchTrainer.

Ray starts the workers, joins them by gloo (CPU) or nccl (GPU), keeps the checkpoints in any storage it knows, and after
a fault starts all of them again from the last checkpoint. The loop itself does not know.
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

from darl.data import Dataset
from darl.distributed.ray_internals import WorkerHealthCheckFailedError
from darl.errors import UserError, named
from darl.evaluation.protocol import Protocols
from darl.evaluation.standard import standard
from darl.experiment import Experiment
from darl.results.rows import curve_row
from darl.training.events import Evaluated, Saved
from darl.training.parallel import Workers
from darl.training.pretrain import fit

__all__ = ["failure", "pretrain", "report_of", "torch_trainer"]


def torch_trainer(
    experiment: Experiment,
    dataset: "ray.ObjectRef[Dataset]",
    workers: Workers,
    *,
    storage: str,
    evaluate_at: Mapping[int, Protocols],
    full: Protocols,
    callbacks: list[Any] | None = None,
) -> TorchTrainer:
    """The trainer of an experiment. Its name in the storage is the trial's id: the same call again goes on."""
    config = {
        "experiment": experiment,
        "dataset": dataset,
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
            storage_path=storage,
            callbacks=callbacks or [],
            failure_config=FailureConfig(max_failures=workers.retries),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )


def train_worker(config: dict[str, Any]) -> None:
    """What each worker runs. Every report is made by every worker: one that reported alone would wait for ever.

    An error that would come again is reported by all of them and not raised: a retry would only repeat it.
    """
    try:
        _train(config)
    except (ArithmeticError, UserError) as error:
        ray.train.report({"error": named(error)})


def _train(config: dict[str, Any]) -> None:
    experiment: Experiment = config["experiment"]
    dataset: Dataset = ray.get(config["dataset"])  # pyright: ignore[reportAssignmentType]
    context, found = ray.train.get_context(), ray.train.get_checkpoint()
    leads = context.get_world_rank() == 0
    with tempfile.TemporaryDirectory() as place, found.as_directory() if found else nullcontext() as resume:
        for event in fit(
            experiment,
            dataset,
            device=ray.train.torch.get_device(),  # pyright: ignore[reportArgumentType]
            folder=Path(place),
            resume=Path(resume) if resume else None,
            evaluate_at=config["evaluate_at"],
            full=config["full"],
            save_every=config["save_every"],
            compiled=config["compiled"],
        ):
            if isinstance(event, Evaluated):
                ray.train.report(report_of(event))
            elif isinstance(event, Saved):
                saved = Checkpoint.from_directory(event.path) if leads else None
                ray.train.report({"saved": event.step}, saved, checkpoint_dir_name=event.path.name)


def report_of(event: Evaluated) -> dict[str, Any]:
    """What Tune, ASHA and the recorder read: the curve's row, flat, and the event as it is."""
    return {**curve_row(asdict(event)), "event": asdict(event)}


class _Listener(UserCallback):
    """Hands the reports to whoever started the trainer; it lives in Train's controller."""

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
    storage: str,
    evaluate_at: Mapping[int, Protocols],
    tell: Callable[[Evaluated], None],
) -> str | None:
    """Run an experiment to its end, and tell of each evaluation once; the error that ended it if one did."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    trainer = torch_trainer(
        experiment,
        dataset,
        workers,
        storage=storage,
        evaluate_at=evaluate_at,
        full=standard(),
        callbacks=[_Listener(queue)],
    )
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        with _followed(queue, tell) as errors:
            trainer.fit()
    except TrainingFailedError as error:
        return next(iter([*errors, failure(error)]))
    except SystemExit:  # so ends Train's own handler of Ctrl-C
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, interrupt)
    return next(iter(errors), None)


@contextmanager
def _followed(queue: Queue, tell: Callable[[Evaluated], None]) -> Generator[list[str]]:
    """Tell of what is put into a queue as it comes; the errors among it."""
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
    """Tell of each evaluation once, though workers that start again report all again; the errors they report."""
    errors, told = list[str](), set[int]()
    for report in reports:
        errors += [report["error"]] if "error" in report else []
        if "ended" in report:
            print(f"workers ended: {report['ended']}", file=sys.stderr, flush=True)
        if "event" in report and report["epoch"] not in told:
            told.add(report["epoch"])
            with suppress(OSError):  # whoever read this may have gone: the run goes on
                tell(Evaluated(**report["event"]))
    return errors


def failure(error: Exception) -> str:
    """Type and message of an error in one line: its cause, where Ray has wrapped it."""
    cause: Exception = getattr(error, "cause", None) or error
    workers: list[Exception] = [*getattr(cause, "worker_failures", {}).values()]
    died = [one.health_check_failure for one in workers if isinstance(one, WorkerHealthCheckFailedError)]
    own = [one for one in workers if not _FOLLOWS.search(str(one))]
    return named(next(iter([*died, *own, *workers, cause])))


_FOLLOWS = re.compile("gloo|NCCL|Connection (closed|reset)|process group", re.IGNORECASE)
"""In the errors of workers that were waiting for one that has ended."""
