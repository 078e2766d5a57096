"""The commands as their user runs them, on one Ray.

The sweep, its tables, the same command again, a kill in the middle; pretraining with Ray and without. They lie in one
file so that one process of `pytest --dist loadfile` runs them all: several Rays would fight for the cores.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from tests.integration.conftest import ROOT, SWEEP, Command, environ, words

pytestmark = pytest.mark.timeout(600)

NUMBERS = ["noise_a", "noise_b", "probe_top1", "knn_top1", "val_loss", "train_loss", "init_probe_top1", "seconds"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


def test_a_sweep_ends_with_an_answer_and_its_tables(command: Command, pictures: Path, results: Path) -> None:
    said = command(*SWEEP, "--data", pictures, "--image-size", 8, "--patch-size", 2, "--model", "nano", "--trials", 4,
                   "--results", results).stdout  # fmt: skip
    assert "Search by linear probe" in said
    assert "random initialisation" in said
    assert "one seed" in said
    assert f'pandas.read_parquet("{results}/noise_schedule/trials")' in said
    trials = pd.read_parquet(results / "noise_schedule" / "trials")
    assert len(trials) == trials["trial_id"].nunique() == 4
    assert set(trials["status"]) <= {"finished", "stopped"}
    known = trials[trials["status"] == "finished"]
    assert {(0.03, 1.0), (1.0, 1.0), (0.5, 0.5)} <= set(
        zip(known["noise_a"].round(6), known["noise_b"].round(6), strict=True)
    )
    names = "from darl.results.schema import trials_schema; print(*trials_schema().names)"
    assert list(trials.columns) == command("-c", names).stdout.split()  # this process may hold other tests' variants
    for name in NUMBERS:
        assert np.issubdtype(trials[name].dtype, np.number), name
        assert trials[name].notna().all(), name
    assert (trials["probe_top1"].between(0, 1) & trials["knn_top1"].between(0, 1)).all()
    assert trials["git_commit"].notna().all()
    assert (known["epochs"] == 3).all()
    curves = pd.read_parquet(results / "noise_schedule" / "curves")
    assert set(curves["trial_id"]) == set(trials["trial_id"])
    assert curves.groupby("trial_id")["epoch"].max().eq(trials.set_index("trial_id")["epochs"]).all()
    assert not curves.duplicated(["trial_id", "epoch"]).any()
    folder = results / "noise_schedule"
    assert "<html" in (folder / "report.html").read_text()
    assert json.loads((folder / "sampler.json").read_text())["multivariate"] is True
    assert list((folder / "figures").glob("*.png"))


def test_optuna_dashboard_shows_the_search(results: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log, program = results / "noise_schedule" / "optuna.log", Path(sys.executable).with_name("optuna-dashboard")
    running = subprocess.Popen([program, log, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    def answer_of(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=5) as answer:
            return json.load(answer)

    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                answer_of("studies")
                break
            time.sleep(0.2)
        (study,) = answer_of("studies")["study_summaries"]
        assert study["study_name"].startswith("noise_schedule on ")
        trials = answer_of(f"studies/{study['study_id']}")["trials"]
    finally:
        running.kill()
        running.wait()
    shown = {param["name"] for trial in trials for param in trial["params"]}
    assert (len(trials), shown) == (4, {"noise.a", "noise.b"})


def test_polars_and_duckdb_read_the_same(results: Path) -> None:
    folder = results / "noise_schedule" / "trials"
    expected = pd.read_parquet(folder).sort_values("trial_id")
    by_polars = pl.read_parquet(f"{folder}/*.parquet").sort("trial_id")
    by_duckdb = duckdb.sql(f"select * from read_parquet('{folder}/*.parquet') order by trial_id")
    for name in NUMBERS:
        assert by_polars[name].dtype == pl.Float64
        np.testing.assert_array_equal(by_polars[name].to_numpy(), expected[name])
        np.testing.assert_array_equal(by_duckdb.fetchnumpy()[name], expected[name])


def test_the_same_command_runs_nothing_again_and_more_trials_run_the_rest(
    command: Command, pictures: Path, results: Path
) -> None:
    flags = (*SWEEP, "--data", pictures, "--image-size", 8, "--patch-size", 2, "--model", "nano", "--results", results)
    folder = results / "noise_schedule" / "trials"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert "4 of at most 4 trials were there already" in command(*flags, "--trials", 4).stdout
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    command(*flags, "--trials", 5)
    after = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(after) == 5
    assert before.items() <= after.items()
    report = command(*flags, "--report").stdout
    assert "Search by linear probe" in report


@pytest.mark.slow
def test_more_seeds_repeat_the_best_and_the_known_points(command: Command, pictures: Path, tmp_path: Path) -> None:
    flags = (*SWEEP, "--data", pictures, "--image-size", 8, "--patch-size", 2, "--model", "nano", "--results", tmp_path)
    command(*flags, "--trials", 4, "--seeds", 2)
    trials = pd.read_parquet(tmp_path / "noise_schedule" / "trials")
    repeated = trials[trials["seed"] == 1]
    assert len(trials) == 4 + len(repeated)
    assert len(repeated) in (3, 4)  # the three known points and, where it is another, the best
    assert (repeated["epochs"] == 3).all()


def test_a_killed_sweep_continues_without_loss_or_duplicates(
    command: Command, ray_address: str, pictures: Path, tmp_path: Path
) -> None:
    flags = (*SWEEP, "--data", pictures, "--image-size", 8, "--patch-size", 2, "--model", "nano", "--trials", 5,
             "--results", tmp_path, "--save-every", 2, "--epochs", 6)  # fmt: skip
    folder = tmp_path / "noise_schedule"
    driver = subprocess.Popen(words(*flags), cwd=ROOT, env=environ(ray_address), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(list(folder.glob("trials/*.parquet"))) < 2 or not list(folder.glob("checkpoints/*/step-*/trainer.pt")):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = {path.name: path.read_bytes() for path in folder.glob("trials/*.parquet")}
    unfinished = {path.parent.parent.name for path in folder.glob("checkpoints/*/step-*/trainer.pt")}
    unfinished -= {name.split("-")[0] for name in before}
    assert 2 <= len(before) < 5
    command(*flags)
    after = {path.name: path.read_bytes() for path in folder.glob("trials/*.parquet")}
    assert before.items() <= after.items()
    trials = pd.read_parquet(folder / "trials")
    assert len(trials) == trials["trial_id"].nunique() == 5
    assert (trials["attempt"] == 1).all()
    assert unfinished <= set(trials["trial_id"])
    assert not pd.read_parquet(folder / "curves").duplicated(["trial_id", "epoch"]).any()


@pytest.mark.slow
def test_images_without_labels_are_judged_by_the_validation_loss(
    command: Command, pictures: Path, tmp_path: Path
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in pictures.glob("*/*.png"):
        (flat / path.name).write_bytes(path.read_bytes())
    flags = (*SWEEP, "--data", flat, "--image-size", 8, "--patch-size", 2, "--model", "nano", "--trials", 3,
             "--results", tmp_path / "results")  # fmt: skip
    refused = command(*flags, code=2).stderr
    assert refused.count("\n") == 1
    assert "have labels for probe_top1, got" in refused
    assert not (tmp_path / "results").exists()
    command(*flags, "--objective-metric", "val_loss")
    trials = pd.read_parquet(tmp_path / "results" / "noise_schedule" / "trials")
    assert trials["probe_top1"].isna().all()
    assert trials["val_loss"].notna().all()


@pytest.mark.slow
def test_a_trial_over_two_workers(command: Command, pictures: Path, tmp_path: Path) -> None:
    command(*SWEEP, "--data", pictures, "--image-size", 8, "--patch-size", 2, "--model", "nano", "--trials", 2,
            "--workers", 2, "--results", tmp_path)  # fmt: skip
    trials = pd.read_parquet(tmp_path / "noise_schedule" / "trials")
    assert trials["status"].tolist() == ["finished"] * 2
    assert trials["workers"].tolist() == [2] * 2


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
    said = command(*FLAGS, "--workers", 2, "--results", tmp_path).stdout.splitlines()
    assert said[0] == "starting Ray; 2 workers start as soon as resources are free"
    assert [line[:15] for line in said[1:-2]] == [f"epoch    {epoch} of 2" for epoch in range(3)]
    alone, together = (pd.read_parquet(place / "pretrain" / "curves") for place in (plain, tmp_path))
    assert len(alone) == len(together) == 3
    pd.testing.assert_series_equal(together["train_loss"], alone["train_loss"], rtol=1e-5)
    assert pd.read_parquet(tmp_path / "pretrain" / "trials")["workers"].tolist() == [2]
    checkpoint = next((tmp_path / "pretrain" / "checkpoints").iterdir())
    probe = pd.read_parquet(tmp_path / "pretrain" / "trials")["probe_top1"].item()
    assert f"{probe:.4f}" in command("-m", "darl.cli", "evaluate", checkpoint).stdout


def test_a_checkpoint_is_evaluated_and_drawn_from(command: Command, plain: Path, tmp_path: Path) -> None:
    checkpoint = next((plain / "pretrain" / "checkpoints").iterdir())
    said = command("-m", "darl.cli", "evaluate", checkpoint).stdout
    probe = pd.read_parquet(plain / "pretrain" / "trials")["probe_top1"].item()
    assert f"{probe:.4f}" in said
    command("-m", "darl.cli", "generate", checkpoint, "--count", 4, "--output", tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.size == (2 * 8 + 6, 2 * 8 + 6)


@pytest.mark.slow
def test_a_run_that_diverges_over_workers_is_a_failed_row_at_once(command: Command, tmp_path: Path) -> None:
    wild = ("--learning-rate", 1e30, "--warmup", 0, "--workers", 2)
    said = command(*FLAGS, *wild, "--results", tmp_path, code=1).stderr
    assert "failed: NonFiniteLossError: loss is" in said
    assert pd.read_parquet(tmp_path / "pretrain" / "trials")["status"].tolist() == ["failed"]


@pytest.mark.slow
def test_a_run_out_of_memory_is_a_failed_row_and_is_retried_by_the_next_call(command: Command, tmp_path: Path) -> None:
    flags = ("tests/integration/bad_pretraining.py", *FLAGS[2:], "--noise", "bad:mode=memory", "--results", tmp_path)
    for more in ([], ["--no-ray"]):
        said = command(*flags, *more, code=1)
        assert said.stderr.endswith("failed: MemoryError: cannot allocate 1 TiB\n")
        (epoch_line,) = [line for line in said.stdout.splitlines() if line.startswith("epoch")]
        assert epoch_line.startswith("epoch    0 of 2 | val loss")
        assert said.stderr.count("workers ended: MemoryError: cannot allocate 1 TiB\n") == (0 if more else 4)
    trials = pd.read_parquet(tmp_path / "pretrain" / "trials")
    assert trials[["attempt", "status", "error"]].to_numpy().tolist() == [
        [attempt, "failed", "MemoryError: cannot allocate 1 TiB"] for attempt in (1, 2)
    ]


@pytest.mark.slow
def test_an_interrupted_run_reports_it_and_continues(ray_address: str, tmp_path: Path) -> None:
    flags = words(*FLAGS[:3], "--epochs", 200, "--evaluations", 20, "--save-every", 10, "--results", tmp_path)
    running = subprocess.Popen(
        flags, cwd=ROOT, env=environ(ray_address), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    next(line for line in running.stdout if line.startswith("epoch   10 "))
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=100)
    assert running.returncode == 130, said
    assert said == "interrupted; run the same command to resume from the tables and the last checkpoints\n"
    assert next((tmp_path / "pretrain" / "checkpoints").glob("*/step-*/trainer.pt"))
    again = subprocess.Popen(flags, cwd=ROOT, env=environ(ray_address), stdout=subprocess.PIPE, text=True)
    assert again.stdout is not None
    assert next(iter(again.stdout)).startswith("resuming from the last checkpoint")
    next(line for line in again.stdout if line.startswith("epoch   20 "))
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=100)
    assert not list((tmp_path / "pretrain" / "trials").glob("*.parquet"))


def test_a_diverged_run_is_a_failed_row(command: Command, tmp_path: Path) -> None:
    said = command(*FLAGS, "--no-ray", "--results", tmp_path, "--learning-rate", 1e30, "--warmup", 0, code=1).stderr
    assert "failed: NonFiniteLossError: loss is" in said
    row = pd.read_parquet(tmp_path / "pretrain" / "trials").iloc[0]
    assert row["status"] == "failed"
    assert row["error"].startswith("NonFiniteLossError: loss is")
