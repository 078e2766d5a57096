"""`darl embed`: features of every image in a Parquet file."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image

from darl.cli import main
from darl.data import load
from darl.evaluation.subject import Readout, Subject
from darl.training.checkpoint import load_pretrained
from darl.training.pretrain import fit
from tests.evaluation.example_subjects import CPU, experiment


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run = experiment(depth=2, epochs=1)
    list(fit(run, load("digits", image_size=8, channels=1), device=CPU, folder=folder, full=lambda *_: {}))
    return folder


def embed(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["darl", "embed", *map(str, arguments)])
    main()


def test_every_image_has_a_row_with_its_features(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "digits.parquet"
    embed(monkeypatch, checkpoint, "--output", output, "--batch-size", 100)
    assert capsys.readouterr().out.splitlines() == [
        "data: 1,438 + 359 images of 10 classes; a fifth of train held out to decide; 1 channel, 8 × 8 pixels",
        f"{output}: 1,797 images",
    ]
    table = pd.read_parquet(output)
    assert list(table.columns) == ["path", "split", "label", "features"]
    assert table["split"].value_counts().to_dict() == {"train": 1438, "validation": 359}
    assert pl.read_parquet(output)["features"].dtype == pl.Array(pl.Float32, 16)
    pretrained, digits = load_pretrained(checkpoint), load("digits", image_size=8, channels=1)
    subject, readout = Subject(pretrained.model, digits, CPU), Readout(2, "mean")
    for split in ("train", "validation"):
        own = table[table["split"] == split]
        expected = subject.features(split, [readout])[readout]
        torch.testing.assert_close(torch.tensor(np.stack(own["features"])), expected, rtol=1e-4, atol=1e-5)
        assert own["label"].astype(int).tolist() == subject.labels(split).tolist()


def test_a_readout_can_be_chosen(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    output = tmp_path / "tokens.parquet"
    embed(monkeypatch, checkpoint, "--output", output, "--block", 1, "--readout", "tokens", "--mask", "removed")
    model, digits = load_pretrained(checkpoint).model, load("digits", image_size=8, channels=1)
    readout = Readout(1, "tokens")
    expected = Subject(model, digits, CPU).features("validation", [readout], masked=False)[readout]
    table = pd.read_parquet(output).query("split == 'validation'")
    torch.testing.assert_close(torch.tensor(np.stack(table["features"])), expected, rtol=1e-4, atol=1e-5)


def test_images_without_labels_and_broken_ones(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        Image.fromarray(np.full((9, 9), 40 * number, np.uint8)).save(photos / f"{number}.png")
    (photos / "5.png").write_bytes(b"no image")
    embed(monkeypatch, checkpoint, "--data", photos, "--output", tmp_path / "photos.parquet")
    table = pd.read_parquet(tmp_path / "photos.parquet")
    assert sorted(Path(path).name for path in table["path"]) == [f"{number}.png" for number in range(5)]
    assert table["label"].isna().all()
    assert "skipped " in (said := capsys.readouterr().err)
    assert "5.png" in said


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--output", "features.csv"], "--output must be a .parquet file in a folder that can be written"),
        (["--output", "absent/features.parquet"], "--output must be a .parquet file in a folder that can be written"),
        (["--block", "3"], "--block must be at most 2, got 3"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_file(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    error: str,
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        embed(monkeypatch, checkpoint, *flags)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert error in said
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
