"""The commands as their user runs them, on one Ray.

A sweep that is killed in the middle, its tables, the same command again; pretraining over Ray's workers. They lie in
one file so that one process of `pytest --dist loadfile` runs them all: several Rays would fight for the cores.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest

from tests.cli.sweep_script import run
from tests.integration.conftest import ROOT, SWEEP, Command, Here, environ, words

pytestmark = pytest.mark.timeout(600)

NUMBERS = ["noise_a", "noise_b", "probe_top1", "knn_top1", "val_loss", "train_loss", "init_probe_top1", "seconds"]


@dataclass(frozen=True)
class Swept:
    """A search that was killed in the middle and then called again, with one trial more."""

    results: Path
    before: dict[str, bytes]
    """The rows at the kill, by file."""
    unfinished: set[str]
    """The trials that had a checkpoint and no row."""
    said: str
    """What the second call printed."""


def flags_of(pictures: Path, results: Path) -> tuple[object, ...]:
    return (*SWEEP, "--data", pictures, "--image-size", 8, "--patch-size", 2, "--model", "nano", "--save-every", 2,
            "--results", results)  # fmt: skip


def rows_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("trials/*.parquet")}


def begun_without_row(folder: Path) -> set[str]:
    begun = {path.parent.parent.name for path in folder.glob("checkpoints/*/step-*/trainer.pt")}
    return begun - {name.split("-")[0] for name in rows_of(folder)}


@pytest.fixture(scope="module")
def swept(command: Command, ray_address: str, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    results = tmp_path_factory.mktemp("results")
    flags, folder = flags_of(pictures, results), results / "noise_schedule"
    driver = subprocess.Popen(
        words(*flags, "--trials", 4), cwd=ROOT, env=environ(ray_address), stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while len(rows_of(folder)) < 2 or not begun_without_row(folder):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before, unfinished = rows_of(folder), begun_without_row(folder)
    said = command(*flags, "--trials", 5).stdout
    return Swept(results=results, before=before, unfinished=unfinished, said=said)


@pytest.fixture
def results(swept: Swept) -> Path:
    return swept.results


def test_a_killed_sweep_continues_without_loss_or_duplicates(swept: Swept) -> None:
    folder, before = swept.results / "noise_schedule", swept.before
    assert 2 <= len(before) < 5
    assert f"{len(before)} of at most 5 trials were there already" in swept.said
    assert before.items() <= rows_of(folder).items()
    trials = pd.read_parquet(folder / "trials")
    assert len(trials) == trials["trial_id"].nunique() == 5
    assert (trials["attempt"] == 1).all()
    assert swept.unfinished <= set(trials["trial_id"])
    assert not pd.read_parquet(folder / "curves").duplicated(["trial_id", "epoch"]).any()


def test_a_sweep_ends_with_an_answer_and_its_tables(command: Command, swept: Swept, results: Path) -> None:
    said = swept.said
    assert "Search by linear probe" in said
    assert "random initialisation" in said
    assert "one seed" in said
    assert f'pandas.read_parquet("{results}/noise_schedule/trials")' in said
    trials = pd.read_parquet(results / "noise_schedule" / "trials")
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
    assert (len(trials), shown) == (5, {"noise.a", "noise.b"})


def test_polars_and_duckdb_read_the_same(results: Path) -> None:
    folder = results / "noise_schedule" / "trials"
    expected = pd.read_parquet(folder).sort_values("trial_id")
    by_polars = pl.read_parquet(f"{folder}/*.parquet").sort("trial_id")
    by_duckdb = duckdb.sql(f"select * from read_parquet('{folder}/*.parquet') order by trial_id")
    for name in NUMBERS:
        assert by_polars[name].dtype == pl.Float64
        np.testing.assert_array_equal(by_polars[name].to_numpy(), expected[name])
        np.testing.assert_array_equal(by_duckdb.fetchnumpy()[name], expected[name])


def test_the_same_command_runs_nothing_again(
    command: Command, pictures: Path, swept: Swept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = flags_of(pictures, swept.results)
    folder = swept.results / "noise_schedule" / "trials"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert "5 of at most 5 trials were there already" in command(*flags, "--trials", 5).stdout
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    run(monkeypatch, *map(str, flags[1:]), "--report", sweep="noise_schedule")
    assert "Search by linear probe" in capsys.readouterr().out


@pytest.mark.slow
def test_more_seeds_repeat_the_best_and_the_known_points(command: Command, pictures: Path, tmp_path: Path) -> None:
    command(*flags_of(pictures, tmp_path), "--trials", 4, "--seeds", 2)
    trials = pd.read_parquet(tmp_path / "noise_schedule" / "trials")
    repeated = trials[trials["seed"] == 1]
    assert len(trials) == 4 + len(repeated)
    assert len(repeated) in (3, 4)  # the three known points and, where it is another, the best
    assert (repeated["epochs"] == 3).all()


@pytest.mark.slow
def test_images_without_labels_are_judged_by_the_validation_loss(
    command: Command, pictures: Path, tmp_path: Path
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in pictures.glob("*/*.png"):
        (flat / path.name).write_bytes(path.read_bytes())
    command(*flags_of(flat, tmp_path / "results"), "--trials", 3, "--objective-metric", "val_loss")
    trials = pd.read_parquet(tmp_path / "results" / "noise_schedule" / "trials")
    assert trials["probe_top1"].isna().all()
    assert trials["val_loss"].notna().all()


@pytest.mark.slow
def test_a_trial_over_two_workers(command: Command, pictures: Path, tmp_path: Path) -> None:
    command(*flags_of(pictures, tmp_path), "--trials", 2, "--workers", 2)
    trials = pd.read_parquet(tmp_path / "noise_schedule" / "trials")
    assert trials["status"].tolist() == ["finished"] * 2
    assert trials["workers"].tolist() == [2] * 2


FLAGS = ("-m", "darl.cli", "pretrain", "--data", "digits:0-1", "--epochs", 2, "--batch-size", 32)
"""Flags of a run with nine steps per epoch."""


def test_two_workers_give_the_losses_of_one(command: Command, here: Here, tmp_path: Path) -> None:
    said = command(*FLAGS, "--workers", 2, "--results", tmp_path / "two").stdout.splitlines()
    assert said[0].startswith("data: 288 + 72 images of 2 classes; ")
    assert said[1] == "starting Ray; 2 workers start as soon as resources are free"
    assert [line[:15] for line in said[2:-2]] == [f"epoch    {epoch} of 2" for epoch in range(3)]
    here(*FLAGS[2:], "--no-ray", "--results", tmp_path / "one")
    alone, together = (pd.read_parquet(tmp_path / name / "pretrain" / "curves") for name in ("one", "two"))
    assert len(alone) == len(together) == 3
    pd.testing.assert_series_equal(together["train_loss"], alone["train_loss"], rtol=1e-5)
    trial = pd.read_parquet(tmp_path / "two" / "pretrain" / "trials").iloc[0]
    assert trial["workers"] == 2
    checkpoint = next((tmp_path / "two" / "pretrain" / "checkpoints").iterdir())
    assert f"{trial['probe_top1']:.4f}" in here("evaluate", checkpoint).out


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
    flags = words(
        *FLAGS[:5], "--batch-size", 32, "--epochs", 200, "--evaluations", 20, "--save-every", 10, "--results", tmp_path
    )
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
    _, second = (next(again.stdout) for _ in range(2))  # the first says what the data are
    assert second.startswith("resuming from the last checkpoint")
    next(line for line in again.stdout if line.startswith("epoch   20 "))
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=100)
    assert not list((tmp_path / "pretrain" / "trials").glob("*.parquet"))
