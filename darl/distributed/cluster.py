"""Joining or starting Ray, and checks that what is asked of it can be had. Errors name the field that is wrong."""

import logging
import math
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import ray
import torch
import yaml
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from darl.distributed.ray_internals import read_ray_address
from darl.errors import UserError
from darl.storage.address import is_remote
from darl.variants import require

__all__ = ["connect", "require_local_gpus", "require_resources", "require_shared", "slots"]

QUIET = {
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    "RAY_DEDUP_LOGS": "1",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a report of a failure has no metric
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the tables have them
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would end the search quietly, and the sweep would go on
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our tables are the record
    "RAY_AIR_NEW_OUTPUT": "0",
}


def connect() -> None:
    """Join the cluster that RAY_ADDRESS or a running `ray start` names, or start Ray on this machine."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}  # the workers' reports say what is needed
    if address := _address():
        try:
            ray.init(**quiet)
        except ConnectionError:
            raise UserError(
                f"RAY_ADDRESS (or the last `ray start` here) must name a Ray that runs, got {address!r}; "
                "start it, or unset RAY_ADDRESS and run `ray stop`"
            ) from None
        return
    # Where several Rays run on a host (another user's, another sweep's), Train's cleaner of placement groups finds more
    # than one and gives up, and the groups of stopped trials keep their CPUs. So it is given the address of ours.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # no machine of ours is preempted
    environment = {"env_vars": {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{port}"}}
    ray.init(dashboard_host="127.0.0.1", dashboard_port=port, runtime_env=environment, **quiet)


def _address() -> str | None:
    """The Ray that `ray.init()` will join; None where it will start one on this machine."""
    return os.environ.get("RAY_ADDRESS") or read_ray_address() or None


def require_local_gpus(workers: int, gpus_per_worker: float) -> None:
    """Raise UserError where Ray would be started on this machine and the machine has too few GPUs for one trial.

    `require_resources` would find out as well, but only half a minute later, when Ray has started.
    """
    _require_share(gpus_per_worker)
    if gpus_per_worker == 0 or _address():
        return
    gpus = torch.cuda.device_count()
    if _places([{"CPU": math.inf, "GPU": gpus}], gpus_per_worker) < workers:
        raise UserError(
            f"must fit this machine, which has {gpus} GPU for PyTorch, got {workers} worker(s) of "
            f"{gpus_per_worker:g} GPU each; ask for fewer, or set RAY_ADDRESS to a cluster that has them",
            field="gpus_per_worker",
        )


def _require_share(gpus_per_worker: float) -> None:
    whole = 0 <= gpus_per_worker <= 1 or (gpus_per_worker > 1 and float(gpus_per_worker).is_integer())
    require(whole, "gpus_per_worker", "be a whole number, or a fraction of one GPU", gpus_per_worker)


def require_resources(workers: int, gpus_per_worker: float) -> None:
    """Raise UserError, with what was asked and what the cluster has, where a trial could never start.

    Nodes that an autoscaling cluster may add count as there. A worker needs one node with its CPU and all its GPUs.
    """
    _require_share(gpus_per_worker)
    nodes = _nodes()
    if _places(nodes, gpus_per_worker) < workers:
        nodes_have = ", ".join(f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes) or "none"
        field = "gpus_per_worker" if gpus_per_worker and _places(nodes, 0) >= workers else "workers"
        raise UserError(
            f"must fit the cluster, whose nodes have {nodes_have}, got {workers} worker(s) of 1 CPU and "
            f"{gpus_per_worker:g} GPU each; ask for fewer or start more nodes",
            field=field,
        )


def slots(workers: int, gpus_per_worker: float) -> int:
    """How many trials can run at a time."""
    return max(1, _places(_nodes(), gpus_per_worker) // workers)


def require_shared(path: str) -> None:
    """Raise UserError where a local results folder is not seen by all hosts of the cluster."""
    if is_remote(path):
        return
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if _autoscaled():
        raise UserError(f"must be on storage that hosts to come share (s3://…, gs://…), got {path!r}", field="results")
    with tempfile.NamedTemporaryFile(dir=path, prefix=".shared-") as token:
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            if len(nodes) > 1 and not ray.get(_sees.options(scheduling_strategy=there).remote(token.name)):
                raise UserError(
                    f"must be on storage that all hosts share (s3://…, gs://… or a network file system): "
                    f"{path} is not the same on host {node['NodeManagerHostname']}",
                    field="results",
                )


@ray.remote(num_cpus=0)
def _sees(path: str) -> bool:
    return Path(path).is_file()


def _places(nodes: list[dict[str, float]], gpus: float) -> int:
    """Workers that fit on the nodes, with one CPU each."""
    return sum(int(min(node.get("CPU", 0), node.get("GPU", 0) / gpus if gpus else math.inf)) for node in nodes)


def _nodes() -> list[dict[str, float]]:
    """The resources of each node of the cluster or, where `ray up` has started it, of each that it may grow to."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]] if not _autoscaled() else _to_come()


def _to_come() -> list[dict[str, float]]:
    config = yaml.safe_load(BOOTSTRAP.read_text())
    kinds: dict[str, Any] = config["available_node_types"]
    return [
        kind.get("resources", {})
        for name, kind in kinds.items()
        for _ in range(
            1 if name == config["head_node_type"] else min(kind.get("max_workers", 0), config["max_workers"])
        )
    ]


BOOTSTRAP = Path("~/ray_bootstrap_config.yaml").expanduser()
"""The cluster file with every node type's resources, as `ray up` leaves it on the head, where jobs are driven from."""


def _autoscaled() -> bool:
    return BOOTSTRAP.is_file() and "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
