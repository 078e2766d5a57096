"""Faults while a sweep runs are reported and recorded, and no finished trial is lost or duplicated."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.cli.sweep_script import run
from tests.integration.conftest import ROOT, Command, environ, words

pytestmark = pytest.mark.timeout(600)

KILLS = 20
ORDERS = ("sweeps/patch_order.py", "--orders", "fixed")
FAST = ("--epochs", 4, "--batch-size", 32, "--image-size", 8, "--patch-size", 2, "--model", "nano")


@pytest.mark.slow
def test_a_failing_trial_is_tried_three_times_with_a_row_each(command: Command, pictures: Path, tmp_path: Path) -> None:
    flags = ("tests/integration/bad_sweep.py", *FAST, "--data", pictures, "--results", tmp_path)
    said = command(*flags).stdout
    trials = pd.read_parquet(tmp_path / "bad" / "trials")
    rows = {mode: own.sort_values("attempt") for mode, own in trials.groupby("noise_mode")}
    assert {mode: own["status"].tolist() for mode, own in rows.items()} == {
        "crash": ["failed"] * 3, "memory": ["failed"] * 3, "nan": ["failed"], "fine": ["finished"],
    }  # fmt: skip
    assert all(own["attempt"].tolist() == list(range(1, len(own) + 1)) for own in rows.values())
    assert rows["memory"]["error"].str.contains("MemoryError: cannot allocate 1 TiB").all()
    assert rows["nan"]["error"].str.contains("NonFiniteLossError: loss is nan").all()
    assert rows["crash"]["error"].str.match(r"Actor\w*Error: \w").all()
    assert "MemoryError" in said
    last = trials.query("noise_mode == 'crash'").nlargest(1, "attempt").iloc[0]
    (row,) = (tmp_path / "bad" / "trials").glob(f"{last['trial_id']}*-3.parquet")
    row.unlink()  # as if the sweep had been stopped after two failures: one is left
    command(*flags)
    command(*flags)
    again = pd.read_parquet(tmp_path / "bad" / "trials").groupby("noise_mode").size()
    assert again.to_dict() == {"crash": 3, "memory": 3, "nan": 3, "fine": 1}


@pytest.mark.slow
def test_a_sweep_cut_short_continues_with_the_same_command(
    command: Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    flags = (*ORDERS, *FAST, "--data", pictures, "--results", tmp_path, "--seeds", 1)
    folder = tmp_path / "patch_order" / "trials"
    command(*flags, "--max-trials", 3)
    assert len(pd.read_parquet(folder)) == 3
    ended = command(*flags, "--max-hours", 0.0005)
    assert "stopped by --max-hours 0.0005; run the same command to continue" in ended.stderr
    assert set(pd.read_parquet(folder)["status"]) == {"finished"}  # what was cut off is no row
    done = len(pd.read_parquet(folder))
    run(monkeypatch, *map(str, flags[1:]), "--dry-run", sweep="patch_order")
    assert f"and not run again: {done}\n" in capsys.readouterr().out
    assert f"{done} of at most 8 trials were there already" in command(*flags).stdout
    trials = pd.read_parquet(folder)
    assert len(trials) == trials["order"].nunique() == 8
    assert trials["attempt"].eq(1).all()


@pytest.mark.slow
def test_a_second_driver_stops(command: Command, ray_address: str, pictures: Path, tmp_path: Path) -> None:
    flags = (*ORDERS, *FAST, "--data", pictures, "--results", tmp_path, "--seeds", 1)
    first = subprocess.Popen(words(*flags), cwd=ROOT, env=environ(ray_address), stdout=subprocess.DEVNULL)
    wait_for(first, (tmp_path / "patch_order" / "sweep.json").exists)
    said = command(*flags, code=2).stderr
    assert f"got '{tmp_path}/patch_order' (held by process {first.pid} on" in said
    assert len([line for line in said.splitlines() if line.startswith("error:")]) == 1
    assert first.wait(280) == 0
    assert len(pd.read_parquet(tmp_path / "patch_order" / "trials")) == 8


@pytest.mark.slow
def test_a_full_disk_is_reported_and_leaves_whole_rows(ray_address: str, pictures: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", small], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system needs root: {mounted.stderr.strip()}")
    flags = (*ORDERS, *FAST, "--data", pictures, "--results", small, "--seeds", 3)
    said = (tmp_path / "stderr").open("w+")
    driver = subprocess.Popen(words(*flags), cwd=ROOT, env=environ(ray_address), stdout=subprocess.DEVNULL, stderr=said)
    try:
        wait_for(driver, lambda: list(small.glob("patch_order/trials/*.parquet")))
        with (small / "ballast").open("wb", buffering=0) as ballast:
            while driver.poll() is None:  # over and over: what a finished trial frees is filled too
                with contextlib.suppress(OSError):
                    while ballast.write(bytes(4096)):
                        pass
                time.sleep(0.01)
        assert driver.returncode == 1
        last = (tmp_path / "stderr").read_text().strip().splitlines()[-1]
        assert last.startswith("error: ")
        assert "could not be written (No space left on device)" in last
        trials = pd.read_parquet(small / "patch_order" / "trials")
        assert 24 > len(trials) == trials[["trial_id", "attempt"]].drop_duplicates().shape[0] > 0
    finally:
        driver.kill()
        driver.wait()
        said.close()
        subprocess.run(["umount", "--lazy", small], check=True)


@pytest.mark.slow
def test_a_vanished_results_folder_is_reported(ray_address: str, pictures: Path, tmp_path: Path) -> None:
    flags = (*ORDERS, *FAST, "--data", pictures, "--results", tmp_path / "r", "--seeds", 1)
    driver = subprocess.Popen(
        words(*flags), cwd=ROOT, env=environ(ray_address), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_for(driver, lambda: list(tmp_path.glob("r/patch_order/trials/*.parquet")))
    shutil.rmtree(tmp_path / "r", ignore_errors=True)
    _, said = driver.communicate(timeout=200)
    assert driver.returncode == 1
    assert said.strip().splitlines()[-1].startswith("error: ")
    assert "could not be written (No such file or directory)" in said


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_twenty_random_kills_lose_and_duplicate_nothing(
    command: Command, ray_address: str, pictures: Path, tmp_path: Path
) -> None:
    moments, kills, sweeps = random.Random(0), 0, 0
    while kills < KILLS:
        sweeps += 1
        flags = ("sweeps/noise_schedule.py", *FAST, "--data", pictures, "--results", tmp_path, "--name", f"s{sweeps}",
                 "--trials", 12, "--seeds", 2, "--save-every", 3)  # fmt: skip
        folder = tmp_path / f"s{sweeps}"
        more, trials = kill_over_and_over(command, flags, ray_address, folder, KILLS - kills, moments)
        kills += more
        own = trials[trials["seed"] == 0]
        assert len(own) == 12
        the_sampler_knows(folder, own)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("sweep", "flags", "later"),
    [
        ("patch_order", (*FAST, "--orders", "fixed", "--seeds", 2), {8}),
        ("transfer", ("--epochs", 2, "--trials", 4), {12, 18}),
    ],
)
def test_killed_designs_and_searches_lose_and_duplicate_nothing(
    sweep: str,
    flags: tuple[object, ...],
    later: set[int],
    command: Command,
    ray_address: str,
    pictures: Path,
    tmp_path: Path,
) -> None:
    data = ("--data", pictures) if sweep == "patch_order" else ()
    own = (f"sweeps/{sweep}.py", *flags, *data, "--results", tmp_path, "--save-every", 3)
    kills, trials = kill_over_and_over(command, own, ray_address, tmp_path / sweep, 5, random.Random(1))
    assert kills > 0
    assert sum(trials["seed"] == 0) == 8
    assert sum(trials["seed"] > 0) in later


def kill_over_and_over(
    command: Command, flags: tuple[object, ...], ray_address: str, folder: Path, most: int, moments: random.Random
) -> tuple[int, pd.DataFrame]:
    """Start a sweep and kill it, at most so often, and let it end: the number of kills, and the trials.

    Nothing is lost, and nothing is there twice.
    """
    before: dict[str, bytes] = {}
    started: set[str] = set()
    kills, ended = 0, False
    while kills < most and not ended:
        driver = subprocess.Popen(words(*flags), cwd=ROOT, env=environ(ray_address), stdout=subprocess.DEVNULL)
        try:
            ended = driver.wait(moments.uniform(6, 18)) == 0
            assert ended
        except subprocess.TimeoutExpired:
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
            kills += 1
        before = rows_are_whole(folder, before)
        started |= {path.parent.name for path in folder.glob("checkpoints/*/experiment.json")}
    command(*flags)
    rows_are_whole(folder, before)
    trials = pd.read_parquet(folder / "trials")
    assert started <= set(trials["trial_id"])
    assert trials["trial_id"].is_unique
    assert trials["attempt"].eq(1).all()
    assert not pd.read_parquet(folder / "curves").duplicated(["trial_id", "attempt", "epoch"]).any()
    return kills, trials


def wait_for(driver: subprocess.Popen[str], ready: Callable[[], object]) -> None:
    """Wait until a condition holds, while the driver runs, for at most two minutes."""
    deadline = time.monotonic() + 120
    while not ready():
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rows_are_whole(folder: Path, before: dict[str, bytes]) -> dict[str, bytes]:
    """Assert that every earlier row is unchanged and that all rows can be read."""
    after = {path.name: path.read_bytes() for path in folder.glob("trials/*.parquet")}
    assert before.items() <= after.items()
    if after:
        assert len(pd.read_parquet(folder / "trials")) == len(after)
    return after


def the_sampler_knows(folder: Path, trials: pd.DataFrame) -> None:
    """Assert that Optuna's study holds every trial in its correct state."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / "optuna.log")))
    study = optuna.load_study(study_name=None, storage=storage)
    recorded = {trial.user_attrs["trial_id"]: trial.state.name for trial in study.trials}
    states = {"finished": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
    assert recorded == {row["trial_id"]: states[row["status"]] for row in trials.to_dict("records")}
