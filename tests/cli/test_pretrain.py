"""`darl pretrain` without Ray: one run at a time in a folder, SIGTERM, other epochs, weights to start from."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from darl.cli import pretraining
from darl.results.tables import Results
from darl.training.checkpoint import latest, load_pretrained
from darl.training.initialization import weights_fingerprint
from darl.training.trackers.base import Tracker
from darl.training.trackers.tensorboard import TensorBoard

ROOT = Path(__file__).parents[2]
FLAGS = ["pretrain", "--no-ray", "--data", "digits:0-1", "--batch-size", "32", "--evaluations", "1"]
"""Flags of a run with nine steps per epoch."""


def test_a_fine_tuning_that_does_not_fit_the_workers_is_refused_before_ray_starts(
    call_darl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "_connect", lambda flags: pytest.fail("it started Ray"))
    flags = ("pretrain", "--data", "digits:0-1", "--batch-size", 33, "--workers", 3, "--results", tmp_path / "r")
    _, error, code = call_darl(*flags, "--protocols", "knn,finetune")
    assert code == 2
    assert error.startswith("error: protocol.batch_size must be a multiple of the 3 workers, got 64")
    assert not (tmp_path / "r").exists()


def checkpoint_of(results: Path, trial: str = "*") -> Path:
    (folder,) = (results / "pretrain" / "checkpoints").glob(trial)
    step = latest(folder)
    assert step is not None
    return step


def test_a_second_pretraining_in_a_folder_names_the_running_process(call_darl, tmp_path: Path) -> None:
    with Results(str(tmp_path), "pretrain").claimed():
        said, error, code = call_darl(*FLAGS, "--epochs", 1, "--results", tmp_path)
    assert (said.startswith("data: "), said.count("\n"), code) == (True, 1, 2)  # nothing after the data is loaded
    assert error.startswith("error: --results and --name must be a folder that no other process is writing to, got")
    assert f"(held by process {os.getpid()} on " in error
    assert error.count("\n") == 1
    assert not (tmp_path / "pretrain" / "trials").exists()


def test_an_objective_that_learns_labels_needs_them(call_darl, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    for index in range(40):
        Image.fromarray(np.full((8, 8), index, "uint8")).save(tmp_path / "flat" / f"{index}.png")
    flags = [*FLAGS[:2], "--data", tmp_path / "flat", "--batch-size", 8, "--results", tmp_path / "results"]
    said, error, code = call_darl(*flags, "--objective", "supervised")
    assert (said.startswith("data: "), said.count("\n"), code) == (True, 1, 2)  # nothing after the data is loaded
    assert error == f"error: --data must have labels for objective supervised, got '{tmp_path}/flat'\n"
    assert not (tmp_path / "results").exists()


def test_a_run_without_ray_is_a_row_whose_checkpoint_is_evaluated_and_drawn_from(
    call_darl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "nowhere:1")
    flags = (*FLAGS, "--epochs", 2, "--results", tmp_path)
    said, _, code = call_darl(*flags)
    assert code == 0
    assert "epoch    2 of 2 | train loss" in said
    trial = pd.read_parquet(tmp_path / "pretrain" / "trials").iloc[0]
    assert trial[["status", "epochs", "workers"]].tolist() == ["finished", 2, 1]
    assert "is finished already" in call_darl(*flags)[0]
    folder = next((tmp_path / "pretrain" / "checkpoints").iterdir())
    assert f"{trial['probe_top1']:.4f}" in call_darl("evaluate", folder)[0]
    assert call_darl("generate", folder, "--count", 4, "--output", tmp_path / "drawn.png")[2] == 0
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.size == (2 * 8 + 6, 2 * 8 + 6)


def test_a_diverged_run_is_a_failed_row(call_darl, tmp_path: Path) -> None:
    _, error, code = call_darl(*FLAGS, "--epochs", 2, "--results", tmp_path, "--learning-rate", 1e30, "--warmup", 0)
    assert code == 1
    assert "failed: NonFiniteLossError: loss is" in error
    row = pd.read_parquet(tmp_path / "pretrain" / "trials").iloc[0]
    assert row["status"] == "failed"
    assert row["error"].startswith("NonFiniteLossError: loss is")


def test_sigterm_saves_a_checkpoint_and_the_run_continues_bit_for_bit(call_darl, tmp_path: Path) -> None:
    flags = [*FLAGS, "--epochs", "16", "--protocols", "knn,denoising", "--results"]
    running = subprocess.Popen(
        [sys.executable, "-m", "darl.cli", *flags, str(tmp_path / "cut")],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout is not None
    next(line for line in running.stdout if line.startswith("epoch    0 "))
    running.send_signal(signal.SIGTERM)
    _, error = running.communicate(timeout=200)
    assert running.returncode == 143, error
    saved = checkpoint_of(tmp_path / "cut")
    assert 0 < int(saved.name.removeprefix("step-")) < 144
    assert error == f"stopped by SIGTERM at {saved.name}; run the same command to resume: {saved.parent}\n"
    history = torch.load(saved / "trainer.pt", weights_only=True)["progress"]["history"]
    assert not list((tmp_path / "cut" / "pretrain" / "trials").iterdir())
    said, _, code = call_darl(*flags, tmp_path / "cut")
    assert code == 0
    assert "\nresuming from the last checkpoint; earlier evaluations are printed again\nepoch    0 " in said
    assert call_darl(*flags, tmp_path / "whole")[2] == 0
    last = [checkpoint_of(tmp_path / name) / "model.safetensors" for name in ("cut", "whole")]
    assert last[0].read_bytes() == last[1].read_bytes()
    curves = [pd.read_parquet(tmp_path / name / "pretrain" / "curves") for name in ("cut", "whole")]
    assert curves[0]["seconds"][0] == history[0]["seconds"]
    for column in ("epoch", "train_loss", "val_loss", "knn_top1"):
        assert curves[0][column].dropna().tolist() == curves[1][column].dropna().tolist()


def test_another_number_of_epochs_is_said_to_be_another_run_and_can_start_from_the_weights(
    call_darl, tmp_path: Path
) -> None:
    short = (*FLAGS, "--results", tmp_path, "--epochs")
    assert call_darl(*short, 1)[2] == 0
    trials = pd.read_parquet(tmp_path / "pretrain" / "trials")
    folder = tmp_path / "pretrain" / "checkpoints" / trials["trial_id"].item()
    assert trials["init"].isna().all()
    said, _, code = call_darl(*short, 2)
    assert code == 0
    assert said.splitlines()[1] == (
        "note: a run with --epochs 1 is finished in this folder. --epochs 2 is a different run (its learning-rate "
        "schedule differs) and starts from random weights; to start from the finished weights: "
        f"--init {folder}"
    )
    said, _, code = call_darl(*short, 2, "--init", folder)
    assert code == 0
    assert said.splitlines()[1].startswith(f"starting from {folder}: ")
    assert "note:" not in said
    trials = pd.read_parquet(tmp_path / "pretrain" / "trials").set_index("epochs")
    (begun,) = trials["init"].dropna()
    assert begun == weights_fingerprint(load_pretrained(folder).model.state_dict())
    first = trials[trials["init"].notna()]["init_probe_top1"].item()
    assert first == trials.loc[1, "probe_top1"]
    assert "is finished already" in call_darl(*short, 2, "--init", folder)[0]


def test_an_unreachable_tracker_ends_the_command_before_training(
    call_darl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(tracker: Tracker, group: str) -> None:
        raise ConnectionError("no route to the server")

    monkeypatch.setattr(TensorBoard, "connect", connect)
    said, error, code = call_darl(*FLAGS, "--epochs", 1, "--results", tmp_path, "--log", "tensorboard")
    assert (said.startswith("data: "), said.count("\n"), code) == (True, 1, 2)  # nothing after the data is loaded
    assert error == "error: --log tensorboard could not start: no route to the server\n"
    assert not list(tmp_path.rglob("experiment.json"))


def test_a_refused_number_of_gpus_is_the_given_one(call_darl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    _, error, code = call_darl(*FLAGS, "--results", tmp_path, "--gpus-per-worker", 0.5)
    assert (error, code) == ("error: --gpus-per-worker must be 0: no GPU is here, got 0.5\n", 2)


def test_a_run_without_a_checkpoint_says_so_at_sigterm(
    call_darl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(run: object, terminated: threading.Event) -> str:
        terminated.set()
        return "the workers died"

    monkeypatch.setattr(pretraining, "_train_here", dies)
    _, error, code = call_darl(*FLAGS, "--epochs", 1, "--results", tmp_path)
    assert code == 143
    assert error.startswith("stopped by SIGTERM before its first checkpoint; run the same command to resume: /")


def test_invalid_initial_weights_are_an_error_of_one_line(call_darl, tmp_path: Path) -> None:
    for words, message in (
        (
            ["--init", tmp_path / "nowhere"],
            "error: --init must be a weights file, a checkpoint or a run's folder of checkpoints, got",
        ),
        (["--init-resample"], "error: --init-resample must come with --init, got True"),
    ):
        _, error, code = call_darl(*FLAGS, "--epochs", 1, "--results", tmp_path / "results", *words)
        assert code == 2
        assert error.startswith(message)
        assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()
