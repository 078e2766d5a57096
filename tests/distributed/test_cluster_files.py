"""The cluster files, offline: Ray's schema, Ray's own validation, and EC2's types for what Ray does not check."""

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate
import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

CLUSTER = Path(__file__).parents[2] / "cluster"
PLACEHOLDERS = {"IMAGE", "AMI_ID", "SG_ID"}


@pytest.fixture
def gpu() -> dict[str, Any]:
    return yaml.safe_load((CLUSTER / "gpu.yaml").read_text())


@pytest.fixture(scope="module")
def run_instances() -> botocore.model.Shape:
    """Validate by EC2's types."""
    service = botocore.loaders.create_loader().load_service_model("ec2", "service-2")
    return botocore.model.ServiceModel(service, "ec2").operation_model("RunInstances").input_shape


def test_ray_accepts_the_cluster_file(gpu: dict[str, Any]):
    schema = Path(ray.autoscaler.__file__).with_name("ray-schema.json")
    jsonschema.validate(gpu, json.loads(schema.read_text()))
    whole = prepare_config(gpu)
    validate_config(whole)
    # Ray's defaults for a list that is left out install an unpinned ray and boto3.
    assert all(whole[name] == [] for name in ("setup_commands", "head_setup_commands", "worker_setup_commands"))


@pytest.mark.parametrize("node", ["head", "gpu_spot"])
def test_ec2_accepts_the_node_configurations(gpu: dict[str, Any], run_instances: botocore.model.Shape, node: str):
    asked = gpu["available_node_types"][node]["node_config"] | {"MinCount": 1, "MaxCount": 1}
    report = botocore.validate.ParamValidator().validate(asked, run_instances)
    assert not report.has_errors(), report.generate_report()


def test_a_misspelt_ec2_field_is_refused(gpu: dict[str, Any], run_instances: botocore.model.Shape):
    asked = gpu["available_node_types"]["head"]["node_config"] | {"MinCount": 1, "MaxCount": 1, "SecurityGroupId": "x"}
    assert botocore.validate.ParamValidator().validate(asked, run_instances).has_errors()


def test_the_cluster_is_closed_to_the_internet(gpu: dict[str, Any]):
    (start,) = [line for line in gpu["head_start_ray_commands"] if "--head" in line]
    assert "--dashboard-host=127.0.0.1" in start
    assert "--num-cpus=0" in start
    assert "\n" not in start
    assert "-e RAY_AUTH_MODE=token" in gpu["docker"]["run_options"]
    for node in gpu["available_node_types"].values():
        config = node["node_config"]
        assert config["SecurityGroupIds"] == ["SG_ID"]
        assert config["IamInstanceProfile"]["Name"].startswith("darl-ray-")
        assert config["MetadataOptions"]["HttpTokens"] == "required"
        assert config["BlockDeviceMappings"][0]["Ebs"]["Encrypted"]


def test_only_the_head_runs_while_idle(gpu: dict[str, Any]):
    head, spot = gpu["available_node_types"]["head"], gpu["available_node_types"]["gpu_spot"]
    assert (head["max_workers"], head["resources"]) == (0, {"CPU": 0, "GPU": 0})
    assert spot["min_workers"] == 0
    assert spot["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert gpu["provider"]["cache_stopped_nodes"] is False


def test_placeholders_are_listed_in_file_and_readme():
    text = (CLUSTER / "gpu.yaml").read_text()
    values = "\n".join(line.split("#")[0] for line in text.splitlines())
    assert set(re.findall(r"\b(?:[A-Z]+_ID|IMAGE)\b", values)) == PLACEHOLDERS
    listed = set(re.findall(r"^#   (\S+) ", text, re.MULTILINE))
    readme = (CLUSTER / "README.md").read_text()
    assert listed == PLACEHOLDERS
    assert all(f"`{name}`" in readme for name in PLACEHOLDERS)


def test_image_and_tests_use_the_same_ray_version():
    (base,) = re.findall(r"^FROM (\S+)$", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE)
    assert base == f"rayproject/ray:{version('ray')}-py311-cu128"


def test_files_named_in_the_readme_exist():
    readme = (CLUSTER / "README.md").read_text()
    named = set(re.findall(r"cluster/[\w.]+", readme))
    assert named
    assert all((CLUSTER.parent / name).exists() for name in named)
