"""`darl finetune` over Ray's workers gives what it gives in one process."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import darl.results
from darl.training.checkpoint import latest
from tests.integration.conftest import Command, Here

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_two_workers_fine_tune_as_one_process_does(command: Command, here: Here, tmp_path: Path) -> None:
    common = ("--data", "digits:0-1", "--patch-size", 4, "--epochs", 1, "--evaluations", 1, "--batch-size", 32)
    here("pretrain", *common, "--no-ray", "--protocols", "knn", "--results", tmp_path)
    (source,) = (tmp_path / "pretrain" / "checkpoints").iterdir()
    tuned = ("finetune", source, "--epochs", 2, "--batch-size", 32, "--augmentation", "full")
    here(*tuned, "--no-ray", "--results", tmp_path / "one")
    command("-m", "darl.cli", *tuned, "--workers", 2, "--results", tmp_path / "two")
    weights: list[dict[str, torch.Tensor]] = []
    for name in ("one", "two"):
        (folder,) = (tmp_path / name / "finetune" / "checkpoints").iterdir()
        weights.append(load_file(latest(folder) / "model.safetensors"))  # type: ignore[operator]
        row = darl.results.load(str(tmp_path / name / "finetune" / "trials")).iloc[0]
        assert row["finetuning_source"] == source.name
        assert row["status"] == "finished"
        assert 0 <= row["finetune_top1"] <= 1
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4)
