"""Workers that fit on the nodes of a cluster, and on nodes that an autoscaler may add."""

from pathlib import Path

import pytest
import ray
import yaml

from darl.distributed import cluster
from darl.errors import UserError


def has(monkeypatch: pytest.MonkeyPatch, *nodes: dict[str, float]) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in nodes])
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)


def test_a_worker_fits_on_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, {"CPU": 8, "GPU": 1}, {"CPU": 8, "GPU": 1})
    cluster.require_resources(2, 1)
    cluster.require_resources(16, 0)
    cluster.require_resources(4, 0.5)
    assert cluster.slots(1, 1) == 2
    assert cluster.slots(2, 0.25) == 4
    nodes = "must fit the cluster, whose nodes have 8 CPU and 1 GPU, 8 CPU and 1 GPU"
    with pytest.raises(UserError, match=f"^gpus_per_worker {nodes}, got one worker of 1 CPU and 2 GPU each; ask for"):
        cluster.require_resources(1, 2)
    with pytest.raises(UserError, match=f"^workers {nodes}, got 17 workers of 1 CPU and 0 GPU each; ask for"):
        cluster.require_resources(17, 0)


@pytest.mark.parametrize("gpus", [1.5, float("nan"), -1])
def test_invalid_gpu_shares_are_refused(monkeypatch: pytest.MonkeyPatch, gpus: float) -> None:
    has(monkeypatch, {"CPU": 8, "GPU": 8})
    with pytest.raises(UserError, match=r"^gpus_per_worker must be a whole number, or a fraction of one GPU"):
        cluster.require_resources(1, gpus)


def test_nodes_that_an_autoscaler_may_add_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = yaml.safe_load((Path(__file__).parents[2] / "cluster" / "gpu.yaml").read_text())
    config["available_node_types"]["gpu_spot"]["resources"] = {"CPU": 4, "GPU": 1}  # as `ray up` fills it in
    monkeypatch.setattr(cluster, "BOOTSTRAP", tmp_path / "ray_bootstrap_config.yaml")
    cluster.BOOTSTRAP.write_text(yaml.safe_dump(config))
    has(monkeypatch, {"CPU": 0})
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    cluster.require_resources(4, 1)
    assert cluster.slots(1, 1) == 4
    with pytest.raises(UserError, match=r"^gpus_per_worker must fit the cluster, .* got 5 workers of"):
        cluster.require_resources(5, 1)
    with pytest.raises(UserError, match=r"^results must be on storage that future hosts share"):
        cluster.require_shared(str(tmp_path))
    cluster.require_shared("s3://bucket/results")


@pytest.fixture
def no_ray_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster, "read_ray_address", lambda: None)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was started"))


@pytest.mark.usefixtures("no_ray_here")
def test_missing_local_gpus_are_refused_before_ray_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    cluster.require_local_gpus(8, 0)
    cluster.require_local_gpus(2, 0.5)
    with pytest.raises(
        UserError,
        match=r"^gpus_per_worker must fit this machine, which has 1 GPU for PyTorch, got 2 workers of 1 GPU",
    ):
        cluster.require_local_gpus(2, 1)
    with pytest.raises(UserError, match=r"^gpus_per_worker must be a whole number"):
        cluster.require_local_gpus(1, 1.5)


@pytest.mark.usefixtures("no_ray_here")
def test_local_gpus_are_not_required_when_joining_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    cluster.require_local_gpus(4, 1)
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr(cluster, "read_ray_address", lambda: "10.0.0.1:6379")
    cluster.require_local_gpus(4, 1)


def test_an_unreachable_ray_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError

    monkeypatch.setenv("RAY_ADDRESS", "nowhere:1")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UserError, match="must name a running Ray, got 'nowhere:1'"):
        cluster.connect()
