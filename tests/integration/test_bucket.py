"""Commands with data, tables and checkpoints in an object store: S3 as moto serves it on loopback."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from darl.results.tables import load
from tests.cli.sweep_script import run
from tests.integration.conftest import SWEEP, Command, Here

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Address = Callable[[str], str]


@pytest.fixture(scope="module")
def bucket() -> Iterator[Address]:
    """The address of a path in a bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()

    def address(path: str) -> str:
        return f"s3://key:secret@bucket/{path}?scheme=http&endpoint_override={host}:{port}&region=us-east-1"

    files, _ = fs.FileSystem.from_uri(f"{address('')}&allow_bucket_creation=true")
    files.create_dir("bucket")
    yield address
    server.stop()


def test_a_sweep_in_a_bucket(command: Command, here: Here, bucket: Address, pictures: Path) -> None:
    files, _ = fs.FileSystem.from_uri(bucket(""))
    fs.copy_files(str(pictures), "bucket/pictures", fs.LocalFileSystem(), files)
    flags = (*SWEEP, "--image-size", 8, "--patch-size", 2, "--model", "nano", "--trials", 2,
             "--data", bucket("pictures"), "--results", bucket("results"))  # fmt: skip
    said = command(*flags).stdout
    assert f"Report: {bucket('results/noise_schedule/report.html')}" in said
    trials = pd.read_parquet("bucket/results/noise_schedule/trials", filesystem=files)
    assert trials["status"].tolist() == ["finished"] * 2
    assert len(load(bucket("results/noise_schedule/curves"))) == 6
    left = files.get_file_info(fs.FileSelector("bucket/results/noise_schedule/.writing"))
    assert not [info.path for info in left if info.is_file]

    assert "2 of at most 2 trials were there already" in command(*flags).stdout
    pd.testing.assert_frame_equal(pd.read_parquet("bucket/results/noise_schedule/trials", filesystem=files), trials)
    sentence = here("report", bucket("results/noise_schedule")).out.splitlines()[-1]
    assert sentence in said
    error = here("report", bucket("results"), code=2).err
    assert "results must be one sweep's folder, RESULTS/SWEEP (in it: noise_schedule), got 's3://" in error
    for trial in trials.itertuples():
        checkpoints = bucket(f"results/noise_schedule/checkpoints/{trial.trial_id}")
        assert f"{trial.probe_top1:.4f}" in here("evaluate", checkpoints).out


def test_pretraining_into_a_bucket(command: Command, here: Here, bucket: Address, tmp_path: Path) -> None:
    flags = ("--data", "digits:0-1", "--epochs", 1, "--workers", 2, "--results", bucket("results"))
    command("-m", "darl.cli", "pretrain", *flags)
    row = load(bucket("results/pretrain/trials")).iloc[0]
    checkpoints = bucket(f"results/pretrain/checkpoints/{row['trial_id']}")
    assert f"{row['probe_top1']:.4f}" in here("evaluate", checkpoints).out
    drawn = tmp_path / "drawn.png"
    here("generate", checkpoints, "--count", 1, "--steps", 1, "--output", drawn)
    assert drawn.exists()


def test_a_bucket_that_does_not_answer(
    here: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    away = "s3://key:secret@bucket/results?scheme=http&endpoint_override=127.0.0.1:1&region=us-east-1"
    errors = {
        "results": here("report", away, code=2).err,
        "--results": here("pretrain", "--results", away, code=2).err,
    }
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *SWEEP[1:], "--dry-run", "--results", away)
    assert stop.value.code == 2
    for field, error in (*errors.items(), ("--results", capsys.readouterr().err)):
        assert error.startswith(f"error: {field} must be readable, got 's3://key:secret@bucket/results")
        assert len(error.splitlines()) == 1
