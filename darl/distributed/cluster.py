"""Joining or starting Ray, and saying what it has before asking too much of it."""

import logging
import os
import socket
from pathlib import Path

import ray
from ray._private.state import state as cluster_state
from ray._private.utils import read_ray_address
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from darl.errors import UserError

__all__ = ["connect", "require_resources", "require_shared", "slots"]

QUIET = {
    "RAY_TRAIN_METRICS_ENABLED": "0",  # with the next two: 15 % less time for a small TorchTrainer
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    "RAY_DEDUP_LOGS": "1",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a report of a failure has no metric
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our tables are the record
    "RAY_AIR_NEW_OUTPUT": "0",
}


def connect(*, log_to_driver: bool) -> None:
    """Join the cluster that RAY_ADDRESS or a running `ray start` names, or start Ray on this machine.

    log_to_driver: show here what the workers print.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": log_to_driver}
    if "RAY_ADDRESS" in os.environ or read_ray_address() is not None:
        ray.init(**quiet)
        return
    # Where several Rays are on a host (another user's, another sweep's), Train's cleaner of placement groups finds more
    # than one, gives up, and the groups of stopped trials keep their CPUs: tell it which one is ours.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"env_vars": {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{port}"}}
    ray.init(dashboard_host="127.0.0.1", dashboard_port=port, runtime_env=environment, **quiet)


def require_resources(workers: int, gpus_per_worker: float) -> None:
    """Raise UserError, saying what was asked and what is there, where a trial could never start.

    What an autoscaling cluster may grow to counts as there.
    """
    largest = _capacity()
    for kind, field, needed in (
        ("CPU", "workers", float(workers)),
        ("GPU", "gpus-per-worker", workers * gpus_per_worker),
    ):
        there = largest.get(kind, 0.0)
        if needed > there:
            raise UserError(
                f"--{field} must fit the cluster: {workers} workers need {needed:g} {kind}s, and there are {there:g}; "
                f"ask for fewer or start more nodes"
            )


def slots(workers: int, gpus_per_worker: float) -> int:
    """How many trials can run at a time."""
    capacity = _capacity()
    by_cpu = int(capacity.get("CPU", 0)) // workers
    by_gpu = int(capacity.get("GPU", 0) / (workers * gpus_per_worker)) if gpus_per_worker else by_cpu
    return max(1, min(by_cpu, by_gpu))


def require_shared(path: str) -> None:
    """Raise UserError where a local results path is not seen by all hosts of the cluster."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if "://" in path or len({node["NodeManagerHostname"] for node in nodes}) < 2:
        return
    for node in nodes:
        place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        if not ray.get(_sees.options(scheduling_strategy=place).remote(path)):
            raise UserError(
                f"--results must be on storage that all hosts share (s3://…, gs://… or a network file system): "
                f"{path} is not on host {node['NodeManagerHostname']}"
            )


@ray.remote(num_cpus=0)
def _sees(path: str) -> bool:
    return Path(path).is_dir()


def _capacity() -> dict[str, float]:
    """What is there or, on an autoscaling cluster, what may come."""
    there: dict[str, float] = dict(ray.cluster_resources())
    for kind, most in (cluster_state.get_max_resources_from_cluster_config() or {}).items():
        there[kind] = max(there.get(kind, 0.0), float(most))
    return there
