"""Commands with data, tables and checkpoints in an object store: S3 as moto serves it on loopback."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from darl.results.tables import load
from tests.integration.conftest import SWEEP, Command

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


def test_a_sweep_in_a_bucket(command: Command, bucket: Address, pictures: Path) -> None:
    files, _ = fs.FileSystem.from_uri(bucket(""))
    fs.copy_files(str(pictures), "bucket/pictures", fs.LocalFileSystem(), files)
    flags = (*SWEEP, "--trials", 2, "--data", bucket("pictures"), "--results", bucket("results"))
    said = command(*flags).stdout
    assert f"Report: {bucket('results/noise_schedule/report.html')}" in said
    trials = pd.read_parquet("bucket/results/noise_schedule/trials", filesystem=files)
    assert trials["status"].tolist() == ["finished"] * 2
    assert len(load(bucket("results/noise_schedule/curves"))) == 6
    left = files.get_file_info(fs.FileSelector("bucket/results/noise_schedule/.writing"))
    assert not [info.path for info in left if info.is_file]

    assert "2 of at most 2 trials were there already" in command(*flags).stdout
    pd.testing.assert_frame_equal(pd.read_parquet("bucket/results/noise_schedule/trials", filesystem=files), trials)
    sentence = command("-m", "darl.cli", "report", bucket("results/noise_schedule")).stdout.splitlines()[-1]
    assert sentence in said
    error = command("-m", "darl.cli", "report", bucket("results"), code=2).stderr
    assert "results must be one sweep's folder, RESULTS/SWEEP (in it: noise_schedule), got 's3://" in error
    for trial in trials.itertuples():
        checkpoints = bucket(f"results/noise_schedule/checkpoints/{trial.trial_id}")
        assert f"{trial.probe_top1:.4f}" in command("-m", "darl.cli", "evaluate", checkpoints).stdout


def test_pretraining_into_a_bucket(command: Command, bucket: Address, tmp_path: Path) -> None:
    flags = ("-m", "darl.cli", "pretrain", "--epochs", 1, "--workers", 2, "--results", bucket("results"))
    command(*flags)
    row = load(bucket("results/pretrain/trials")).iloc[0]
    checkpoints = bucket(f"results/pretrain/checkpoints/{row['trial_id']}")
    assert f"{row['probe_top1']:.4f}" in command("-m", "darl.cli", "evaluate", checkpoints).stdout
    drawn = tmp_path / "drawn.png"
    command("-m", "darl.cli", "generate", checkpoints, "--count", 1, "--steps", 1, "--output", drawn)
    assert drawn.exists()


def test_a_bucket_that_does_not_answer(command: Command) -> None:
    away = "s3://key:secret@bucket/results?scheme=http&endpoint_override=127.0.0.1:1&region=us-east-1"
    for field, words in (
        ("results", ("-m", "darl.cli", "report", away)),
        ("--results", ("-m", "darl.cli", "pretrain", "--results", away)),
        ("--results", (*SWEEP, "--dry-run", "--results", away)),
    ):
        error = command(*words, code=2).stderr
        assert error.startswith(f"error: {field} must be readable, got 's3://key:secret@bucket/results")
        assert len(error.splitlines()) == 1
