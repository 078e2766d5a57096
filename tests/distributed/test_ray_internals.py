"""Ray's non-public names still exist and still do what they are used for."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import darl
from darl.distributed import ray_internals
from darl.distributed.ray_internals import WHY

NAMES = {
    "read_ray_address": "ray._private.utils",
    "WorkerHealthCheckFailedError": "ray.train.v2._internal.exceptions",
}


def of_ray(name: str) -> Any:
    """Ray's object of this name; fails with the reason why it is needed."""
    try:
        return getattr(import_module(NAMES[name]), name)
    except (ImportError, AttributeError):
        pytest.fail(WHY[name])


def test_every_private_name_has_a_reason() -> None:
    assert set(NAMES) == set(WHY) == set(ray_internals.__all__) - {"WHY"}


def test_the_address_of_the_last_ray_start_is_read(tmp_path: Path) -> None:
    read = of_ray("read_ray_address")
    assert read(str(tmp_path)) is None, WHY["read_ray_address"]
    (tmp_path / "ray_current_cluster").write_text("10.0.0.1:6379\n")
    assert read(str(tmp_path)) == "10.0.0.1:6379", WHY["read_ray_address"]


def test_a_dead_worker_is_identified_by_its_cause() -> None:
    cause = RuntimeError("the process died")
    error = of_ray("WorkerHealthCheckFailedError")("a worker health check failed", cause)
    assert getattr(error, "health_check_failure", None) is cause, WHY["WorkerHealthCheckFailedError"]


def test_a_missing_name_fails_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("ray._private.utils.read_ray_address")
    with pytest.raises(pytest.fail.Exception, match="cannot tell whether"):
        of_ray("read_ray_address")


def test_no_other_file_uses_private_names_of_ray_or_optuna() -> None:
    private = re.compile(r"^\s*(from|import) (ray|optuna)\S*\._|\b(ray|optuna)(\.\w+)*\._[a-z]", re.MULTILINE)
    package = Path(darl.__file__).parent
    files = {path.name for path in package.rglob("*.py") if private.search(path.read_text())}
    assert files == {"ray_internals.py"}
