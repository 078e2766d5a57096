"""`darl pretrain`, with Ray and without; and what can be done with its checkpoints."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tests.integration.conftest import Command

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.timeout(600)]

FLAGS = ("-m", "darl.cli", "pretrain", "--epochs", 2, "--batch-size", 64)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain")


def test_without_ray(command: Command, plain: Path) -> None:
    said = command(*FLAGS, "--no-ray", "--results", plain, RAY_ADDRESS="nowhere:1").stdout
    assert "epoch    2 of 2 | train loss" in said
    trials = pd.read_parquet(plain / "pretrain" / "trials")
    assert trials[["status", "epochs", "workers"]].to_numpy().tolist() == [["finished", 2, 1]]
    assert "is finished already" in command(*FLAGS, "--no-ray", "--results", plain).stdout


def test_two_workers_give_the_losses_of_one(command: Command, plain: Path, tmp_path: Path) -> None:
    said = command(*FLAGS, "--workers", 2, "--results", tmp_path).stdout
    assert "epoch    2 of 2" in said
    alone, together = (pd.read_parquet(place / "pretrain" / "curves") for place in (plain, tmp_path))
    assert len(alone) == len(together) == 3
    pd.testing.assert_series_equal(together["train_loss"], alone["train_loss"], rtol=1e-5)
    assert pd.read_parquet(tmp_path / "pretrain" / "trials")["workers"].tolist() == [2]
    found = list((tmp_path / "pretrain" / "checkpoints").rglob("model.safetensors"))
    assert found


def test_a_checkpoint_is_evaluated_and_drawn_from(command: Command, plain: Path, tmp_path: Path) -> None:
    checkpoint = next((plain / "pretrain" / "checkpoints").iterdir())
    said = command("-m", "darl.cli", "evaluate", checkpoint).stdout
    probe = pd.read_parquet(plain / "pretrain" / "trials")["probe_top1"].item()
    assert f"{probe:.4f}" in said
    command("-m", "darl.cli", "generate", checkpoint, "--count", 4, "--steps", 2, "--output", tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.size == (2 * 8 + 6, 2 * 8 + 6)


def test_a_diverged_run_is_a_failed_row(command: Command, tmp_path: Path) -> None:
    said = command(*FLAGS, "--no-ray", "--results", tmp_path, "--learning-rate", 1e30, "--warmup", 0, code=1).stderr
    assert "failed: NonFiniteLossError: loss is" in said
    row = pd.read_parquet(tmp_path / "pretrain" / "trials").iloc[0]
    assert row["status"] == "failed"
    assert row["error"].startswith("NonFiniteLossError: loss is")
