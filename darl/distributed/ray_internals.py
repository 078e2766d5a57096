"""All non-public names of Ray that this project uses. No other file imports one.

Ray may rename or remove these in any release, which is why pyproject.toml pins Ray to one minor version. Each name has
its reason here, and a test that fails with `WHY`'s sentence when the name is gone.
"""

from ray._private.utils import read_ray_address
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

__all__ = ["WHY", "WorkerHealthCheckFailedError", "read_ray_address"]

WHY = {
    "read_ray_address": (
        "ray._private.utils.read_ray_address() is the address that the last `ray start` on this machine wrote, or "
        "None. Without it, darl cannot tell whether ray.init() will join a cluster or start Ray here, and would ask a "
        "foreign cluster for GPUs of this machine, or set a dashboard port for a running Ray. ray.init() "
        "itself reports it only afterwards."
    ),
    "WorkerHealthCheckFailedError": (
        "ray.train.v2._internal.exceptions.WorkerHealthCheckFailedError(message, failure) represents a worker whose "
        "process died, among the public WorkerGroupError.worker_failures; its `health_check_failure` is the cause. "
        "Without it, the worker that failed cannot be told from those that waited for it, and a failed trial's row "
        "names a closed connection instead of the process that died."
    ),
}
"""What each name is used for, and what breaks without it."""
