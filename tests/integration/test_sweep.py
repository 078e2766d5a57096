"""The sweep as its user runs it: the command, the tables, the same command again, and a kill in the middle."""

import os
import signal
import subprocess
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest

from darl.results import trials_schema
from tests.integration.conftest import ROOT, SWEEP, Command, environ, words

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.timeout(600)]

NUMBERS = ["noise_a", "noise_b", "probe_top1", "knn_top1", "val_loss", "train_loss", "init_probe_top1", "seconds"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


def test_a_sweep_ends_with_an_answer_and_its_tables(command: Command, pictures: Path, results: Path) -> None:
    said = command(*SWEEP, "--data", pictures, "--image-size", 8, "--patch-size", 2, "--model", "nano", "--trials", 5,
                   "--results", results).stdout  # fmt: skip
    assert "Best by linear probe" in said
    assert "random" in said
    assert f'pandas.read_parquet("{results}/noise_schedule/trials")' in said
    trials = pd.read_parquet(results / "noise_schedule" / "trials")
    assert len(trials) == trials["trial_id"].nunique() == 5
    assert set(trials["status"]) <= {"finished", "stopped"}
    known = trials[trials["status"] == "finished"]
    assert {(0.03, 1.0), (1.0, 1.0), (0.5, 0.5)} <= set(
        zip(known["noise_a"].round(6), known["noise_b"].round(6), strict=True)
    )
    assert list(trials.columns) == trials_schema().names
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
    command(*flags, "--trials", 5)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    command(*flags, "--trials", 7)
    after = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(after) == 7
    assert before.items() <= after.items()
    report = command(*flags, "--report").stdout
    assert "Best by linear probe" in report


def test_more_seeds_repeat_the_best_and_the_known_points(command: Command, pictures: Path, results: Path) -> None:
    flags = (*SWEEP, "--data", pictures, "--image-size", 8, "--patch-size", 2, "--model", "nano", "--results", results)
    command(*flags, "--trials", 7, "--seeds", 2)
    trials = pd.read_parquet(results / "noise_schedule" / "trials")
    repeated = trials[trials["seed"] == 1]
    assert len(trials) == 7 + len(repeated)
    assert len(repeated) in (3, 4)  # the three known points and, where it is another, the best
    assert (repeated["epochs"] == 3).all()


def test_a_killed_sweep_goes_on_and_loses_and_doubles_nothing(
    command: Command, ray_address: str, pictures: Path, tmp_path: Path
) -> None:
    flags = (*SWEEP, "--data", pictures, "--image-size", 8, "--patch-size", 2, "--model", "nano", "--trials", 6,
             "--results", tmp_path, "--save-every", 2, "--epochs", 9)  # fmt: skip
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
    assert 2 <= len(before) < 6
    command(*flags)
    after = {path.name: path.read_bytes() for path in folder.glob("trials/*.parquet")}
    assert before.items() <= after.items()
    trials = pd.read_parquet(folder / "trials")
    assert len(trials) == trials["trial_id"].nunique() == 6
    assert (trials["attempt"] == 1).all()
    assert unfinished <= set(trials["trial_id"])
    assert not pd.read_parquet(folder / "curves").duplicated(["trial_id", "epoch"]).any()


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


def test_a_trial_over_two_workers(command: Command, pictures: Path, tmp_path: Path) -> None:
    command(*SWEEP, "--data", pictures, "--image-size", 8, "--patch-size", 2, "--model", "nano", "--trials", 1,
            "--workers", 2, "--results", tmp_path)  # fmt: skip
    trials = pd.read_parquet(tmp_path / "noise_schedule" / "trials")
    assert trials["status"].tolist() == ["finished"]
    assert trials["workers"].tolist() == [2]
