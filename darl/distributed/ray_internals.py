"""Everything that this project uses of Ray and that Ray does not call public. No other file imports such a name.

Ray may rename or remove these in any release, which is why pyproject.toml holds Ray to one minor version. Each has its
reason here, and a test that fails with `WHY`'s sentence when the name has gone.
"""

from ray._private.utils import read_ray_address
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

__all__ = ["WHY", "WorkerHealthCheckFailedError", "read_ray_address"]

WHY = {
    "read_ray_address": (
        "ray._private.utils.read_ray_address() is the address that the last `ray start` on this machine has left, or "
        "None. Without it, darl cannot tell whether ray.init() will join a cluster or start Ray here, and would ask a "
        "foreign cluster for GPUs of this machine, or set a dashboard port for a Ray that runs already. ray.init() "
        "itself says it only afterwards."
    ),
    "WorkerHealthCheckFailedError": (
        "ray.train.v2._internal.exceptions.WorkerHealthCheckFailedError(message, failure) stands for a worker whose "
        "process died, among the public WorkerGroupError.worker_failures; its `health_check_failure` is the cause. "
        "Without it, the worker to blame is not told from the workers that waited for it, and a failed trial's row "
        "names a closed connection instead of the process that died."
    ),
}
"""For what each name is used, and what breaks without it."""
