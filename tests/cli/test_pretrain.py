"""`darl pretrain` without Ray: one run at a time in a folder, SIGTERM, other epochs, weights to start from."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from darl.cli import main
from darl.results.tables import Results
from darl.training.checkpoint import latest, load_pretrained
from darl.training.initialization import fingerprint_of

ROOT = Path(__file__).parents[2]
FLAGS = ["pretrain", "--no-ray", "--data", "digits:0-1", "--batch-size", "32", "--evaluations", "1"]
"""Flags of a run with nine steps per epoch."""


@pytest.fixture
def darl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command in this process; returns standard output, standard error and the exit code."""

    def run(*words: object) -> tuple[str, str, object]:
        monkeypatch.setattr(sys, "argv", ["darl", *map(str, words)])
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return said.out, said.err, code

    return run


def checkpoint_of(results: Path, trial: str = "*") -> Path:
    (folder,) = (results / "pretrain" / "checkpoints").glob(trial)
    step = latest(folder)
    assert step is not None
    return step


def test_a_second_pretraining_in_a_folder_names_the_running_process(darl, tmp_path: Path) -> None:
    with Results(str(tmp_path), "pretrain").claimed():
        said, error, code = darl(*FLAGS, "--epochs", 1, "--results", tmp_path)
    assert (said, code) == ("", 2)
    assert error.startswith("error: --results and --name must be of a sweep that is not running, got")
    assert f"which process {os.getpid()} on " in error
    assert error.count("\n") == 1
    assert not (tmp_path / "pretrain" / "trials").exists()


def test_sigterm_saves_a_checkpoint_and_the_run_continues_bit_for_bit(darl, tmp_path: Path) -> None:
    flags = [*FLAGS, "--epochs", "40", "--results"]
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
    assert 0 < int(saved.name.removeprefix("step-")) < 360
    assert error == f"ended by SIGTERM at {saved.name}; the same command goes on from there: {saved.parent}\n"
    history = torch.load(saved / "trainer.pt", weights_only=True)["progress"]["history"]
    assert not list((tmp_path / "cut" / "pretrain" / "trials").iterdir())
    said, _, code = darl(*flags, tmp_path / "cut")
    assert code == 0
    assert said.startswith("going on from the last checkpoint; earlier evaluations are printed again\nepoch    0 ")
    assert darl(*flags, tmp_path / "whole")[2] == 0
    last = [checkpoint_of(tmp_path / name) / "model.safetensors" for name in ("cut", "whole")]
    assert last[0].read_bytes() == last[1].read_bytes()
    curves = [pd.read_parquet(tmp_path / name / "pretrain" / "curves") for name in ("cut", "whole")]
    assert curves[0]["seconds"][0] == history[0]["seconds"]
    for column in ("epoch", "train_loss", "val_loss", "probe_top1"):
        assert curves[0][column].dropna().tolist() == curves[1][column].dropna().tolist()


def test_another_number_of_epochs_is_said_to_be_another_run_and_can_start_from_the_weights(
    darl, tmp_path: Path
) -> None:
    short = (*FLAGS, "--results", tmp_path, "--epochs")
    assert darl(*short, 1)[2] == 0
    trials = pd.read_parquet(tmp_path / "pretrain" / "trials")
    folder = tmp_path / "pretrain" / "checkpoints" / trials["trial_id"].item()
    assert trials["init"].isna().all()
    said, _, code = darl(*short, 2)
    assert code == 0
    assert said.splitlines()[0] == (
        "--epochs 2 is another run than --epochs 1, which is finished here: its learning-rate schedule differs, so it "
        f"starts anew; to start from the other's weights: --init {folder}"
    )
    said, _, code = darl(*short, 2, "--init", folder)
    assert code == 0
    assert said.splitlines()[0].startswith(f"starting from {folder}: ")
    assert "another run" not in said
    trials = pd.read_parquet(tmp_path / "pretrain" / "trials").set_index("epochs")
    (begun,) = trials["init"].dropna()
    assert begun == fingerprint_of(load_pretrained(folder).model.state_dict())
    first = trials[trials["init"].notna()]["init_probe_top1"].item()
    assert first == trials.loc[1, "probe_top1"]
    assert "is finished already" in darl(*short, 2, "--init", folder)[0]


def test_invalid_initial_weights_are_an_error_of_one_line(darl, tmp_path: Path) -> None:
    for words, message in (
        (
            ["--init", tmp_path / "nowhere"],
            "error: --init must be a folder or a .safetensors file that darl wrote, got",
        ),
        (["--init-resample"], "error: --init-resample must come with --init, got True"),
    ):
        _, error, code = darl(*FLAGS, "--epochs", 1, "--results", tmp_path / "results", *words)
        assert code == 2
        assert error.startswith(message)
        assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()
