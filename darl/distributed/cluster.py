"""Joining or starting Ray, and checks that it has the resources asked for. Errors name the field that is wrong."""

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
from darl.sweep.wording import several
from darl.variants import require

__all__ = ["connect", "require_local_gpus", "require_resources", "require_shared", "slots"]

QUIET = {
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    "RAY_DEDUP_LOGS": "1",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # reports of failures have no metric
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the tables hold them
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune's handler would end only the search, and the sweep would continue
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our tables are the record
    "RAY_AIR_NEW_OUTPUT": "0",
}


def connect() -> None:
    """Join the cluster that RAY_ADDRESS or a running `ray start` names, or start Ray on this machine."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}  # workers report what users need
    if address := _address():
        try:
            ray.init(**quiet)
        except ConnectionError:
            raise UserError(
                f"RAY_ADDRESS (or the last `ray start` here) must name a running Ray, got {address!r}; "
                "start it, or unset RAY_ADDRESS and run `ray stop`"
            ) from None
        return
    # If several Ray instances run on a host (another user's, another sweep's), Ray Train's cleanup of placement groups
    # finds more than one and gives up, so stopped trials keep their CPUs. This address tells it which instance to use.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # this machine is not preempted
    environment = {"env_vars": {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{port}"}}
    ray.init(dashboard_host="127.0.0.1", dashboard_port=port, runtime_env=environment, **quiet)


def _address() -> str | None:
    """The address of the Ray that `ray.init()` will join; None if it will start Ray on this machine."""
    return os.environ.get("RAY_ADDRESS") or read_ray_address() or None


def require_local_gpus(workers: int, gpus_per_worker: float) -> None:
    """Raise UserError if Ray would be started on this machine and the machine has too few GPUs for one trial.

    `require_resources` raises the same error, but only half a minute later, when Ray has started.
    """
    _require_share(gpus_per_worker)
    if gpus_per_worker == 0 or _address():
        return
    gpus = torch.cuda.device_count()
    if _fitting_workers([{"CPU": math.inf, "GPU": gpus}], gpus_per_worker) < workers:
        raise UserError(
            f"must fit this machine, which has {gpus} GPU for PyTorch, got {several(workers, 'workers')} of "
            f"{gpus_per_worker:g} GPU each; ask for fewer, or set RAY_ADDRESS to a cluster that has them",
            field="gpus_per_worker",
        )


def _require_share(gpus_per_worker: float) -> None:
    whole = 0 <= gpus_per_worker <= 1 or (gpus_per_worker > 1 and float(gpus_per_worker).is_integer())
    require(whole, "gpus_per_worker", "be a whole number, or a fraction of one GPU", gpus_per_worker)


def require_resources(workers: int, gpus_per_worker: float) -> None:
    """Raise UserError if a trial could never start on this cluster; the message names request and resources.

    Nodes that an autoscaling cluster may add are included. A worker needs its CPU and all its GPUs on one node.
    """
    _require_share(gpus_per_worker)
    nodes = _nodes()
    if _fitting_workers(nodes, gpus_per_worker) < workers:
        nodes_have = ", ".join(f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes) or "none"
        field = "gpus_per_worker" if gpus_per_worker and _fitting_workers(nodes, 0) >= workers else "workers"
        raise UserError(
            f"must fit the cluster, whose nodes have {nodes_have}, got {several(workers, 'workers')} of 1 CPU and "
            f"{gpus_per_worker:g} GPU each; ask for fewer or start more nodes",
            field=field,
        )


def slots(workers: int, gpus_per_worker: float) -> int:
    """How many trials can run at a time."""
    return max(1, _fitting_workers(_nodes(), gpus_per_worker) // workers)


def require_shared(path: str) -> None:
    """Raise UserError if a host of the cluster does not see the local folder of results."""
    if is_remote(path):
        return
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if _autoscaled():
        raise UserError(f"must be on storage that future hosts share (s3://…, gs://…), got {path!r}", field="results")
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


def _fitting_workers(nodes: list[dict[str, float]], gpus: float) -> int:
    """Number of workers with one CPU and this many GPUs each that fit on the nodes."""
    return sum(int(min(node.get("CPU", 0), node.get("GPU", 0) / gpus if gpus else math.inf)) for node in nodes)


def _nodes() -> list[dict[str, float]]:
    """The resources of each node of the cluster; of a cluster started by `ray up`, of each node it may grow to."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]] if not _autoscaled() else _largest_cluster()


def _largest_cluster() -> list[dict[str, float]]:
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
"""The cluster file with every node type's resources, which `ray up` writes on the head node, where jobs run."""


def _autoscaled() -> bool:
    return BOOTSTRAP.is_file() and "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
