"""How the driver of a pretraining handles the reports and errors of its workers."""

from queue import Queue
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.train import WorkerGroupError
from torch import OutOfMemoryError
from torch.distributed import DistBackendError

from darl.distributed.ray_internals import WorkerHealthCheckFailedError
from darl.distributed.trainer import _consume_reports, _handle, failure, report_of
from darl.errors import UserError
from darl.training.events import Evaluated

GLOO = RuntimeError("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4711")
NCCL = DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:77, remote process exited or there was a network error")
DIED = WorkerHealthCheckFailedError("A worker health check failed.", ActorDiedError())
UNEXPECTED = "ActorDiedError: The actor died unexpectedly before finishing this task."


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WorkerGroupError("", {0: GLOO, 1: MemoryError("1 TiB")}), "MemoryError: 1 TiB"),
        (WorkerGroupError("", {0: GLOO, 1: RuntimeError("bad shape")}), "RuntimeError: bad shape"),
        (WorkerGroupError("", {0: NCCL, 1: OutOfMemoryError("no room")}), "OutOfMemoryError: no room"),
        (WorkerGroupError("", {0: GLOO, 1: DIED}), UNEXPECTED),
        (WorkerGroupError("", {0: GLOO}), f"RuntimeError: {GLOO}"),
        (RayTaskError("f", "Traceback …", WorkerGroupError("", {0: DIED})), UNEXPECTED),
    ],
    ids=["memory", "torch", "a GPU's memory", "a process", "nobody else", "in a trial of a sweep"],
)  # fmt: skip
def test_failure_names_the_worker_that_failed_first(error: Exception, expected: str) -> None:
    assert failure(error) == expected


def evaluated(epoch: int) -> Evaluated:
    return Evaluated(epoch, 11 * epoch, 1408 * epoch, {"probe_top1": 0.5}, None, 0.001, 1.0, None)


def test_restarted_workers_do_not_repeat_evaluations(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = (report_of(evaluated(epoch)) for epoch in range(3))
    epochs: list[int] = []
    reports = [first, {"saved": 0}, second, {"ended": "MemoryError: 1 TiB"}, first, second, third]
    assert _handle(iter(reports), lambda event: epochs.append(event.epoch)) == []
    assert epochs == [0, 1, 2]
    assert capsys.readouterr().err == "workers ended: MemoryError: 1 TiB\n"


def test_a_closed_output_does_not_end_the_run() -> None:
    epochs: list[int] = []

    def on_evaluation(event: Evaluated) -> None:
        epochs.append(event.epoch)
        raise BrokenPipeError

    reports = [report_of(evaluated(0)), {"error": "NonFiniteLossError: loss is nan"}, report_of(evaluated(1))]
    assert _handle(iter(reports), on_evaluation) == ["NonFiniteLossError: loss is nan"]
    assert epochs == [0, 1]


def test_an_error_while_an_evaluation_is_handled_is_raised() -> None:
    reports = Queue[dict[str, Any]]()
    reports.put(report_of(evaluated(0)))

    def on_evaluation(event: Evaluated) -> None:
        raise UserError("must be reachable", field="log")

    with pytest.raises(UserError, match="log must be reachable"), _consume_reports(reports, on_evaluation, []):  # pyright: ignore[reportArgumentType]
        pass


def test_errors_that_workers_report_are_collected() -> None:
    reports, errors = Queue[dict[str, Any]](), list[str]()
    reports.put({"error": "NonFiniteLossError: loss is nan"})
    with _consume_reports(reports, lambda event: None, errors):  # pyright: ignore[reportArgumentType]
        pass
    assert errors == ["NonFiniteLossError: loss is nan"]
