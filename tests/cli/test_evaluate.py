"""`darl evaluate`: figures with intervals, and every block with `--layers`."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from darl.cli import main
from darl.data import load
from darl.training.pretrain import fit
from tests.evaluation.example_subjects import CPU, experiment


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run = experiment(depth=2, epochs=1)
    list(fit(run, load("digits", image_size=8, channels=1), device=CPU, folder=folder, full=lambda *_: {}))
    return folder


def evaluate(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["darl", "evaluate", *map(str, arguments)])
    main()


def test_an_accuracy_has_its_interval_beside_it(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(monkeypatch, checkpoint, "--protocols", "knn,rankme", "--device", "cpu")
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if "knn_top1" in line]
    assert "±" in line
    assert "half_width" not in said
    assert "rankme" in said


def test_layers_are_a_table_and_a_figure(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "depth"
    evaluate(monkeypatch, checkpoint, "--layers", "--output", output, "--device", "cpu", "--data", "digits:0-1")
    said = capsys.readouterr().out
    table = pd.read_parquet(output / "layers.parquet")
    assert table[["block", "blocks", "readout"]].to_numpy().tolist()[-1] == [2, 2, "tokens"]
    assert table["chosen"].sum() == 1
    assert all(f"{value:.4f} ±" in said for value in table["probe_top1"])
    assert (output / "layers.png").read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_told_before_anything_is_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for flags, message in (
        (("--layers", "--protocols", "knn"), "--protocols must be left out with --layers"),
        (("--layers", "--test"), "--test must be left out with --layers"),
        (("--layers", "--output", file), "--output must be"),
        (("--protocols", "attentive:block=3"), "block must be in 1 to 2"),
    ):
        with pytest.raises(SystemExit) as stopped:
            evaluate(monkeypatch, checkpoint, *flags, "--device", "cpu")
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
