"""`darl evaluate --robustness`: accuracies on corrupted images, as a table and a figure."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from darl.cli import main
from darl.data import load
from darl.evaluation.corruptions.base import Corruption
from darl.evaluation.corruptions.blur import GaussianBlur
from darl.evaluation.corruptions.digital import Contrast
from darl.training.pretrain import fit
from tests.evaluation.example_subjects import CPU, experiment


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run")
    data = load("digits", image_size=8, channels=1)
    list(fit(experiment(epochs=1), data, device=CPU, folder=folder, full=lambda *_: {}))
    return str(folder)


def evaluate(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The command's exit code. Two corruptions stand for all."""
    monkeypatch.setattr(Corruption, "kinds", lambda: {kind.kind: kind for kind in (Contrast, GaussianBlur)})
    monkeypatch.setattr(sys, "argv", ["darl", "evaluate", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "160")
    try:
        main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_a_table_a_figure_and_what_is_left_of_the_clean_accuracy(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    given = ("--robustness", "--data", "digits:0-2", "nonesuch", "--output", output, "--device", "cpu")
    assert evaluate(monkeypatch, run, *given) == 1
    table = pd.read_parquet(output / "robustness.parquet")
    own = table[table["data"] == "digits:0-2"]
    assert list(zip(own["corruption"], own["severity"], strict=True)) == [
        ("clean", 0), *((kind, n) for kind in ("contrast", "gaussian_blur") for n in range(1, 6)),
    ]  # fmt: skip
    assert own[["top1", "half_width", "pixels", "random", "images"]].notna().all(axis=None)
    failed = table[table["data"] == "nonesuch"]
    assert failed["error"].str.contains("must be digits").all()
    said = capsys.readouterr()
    corrupted = own[own["severity"] > 0]["top1"].mean()
    assert f"corrupted {100 * corrupted:.1f} %" in said.out
    assert "these change nothing in images of 8 pixels: gaussian_blur" in said.out
    assert "error: 1 of 2 evaluations failed: nonesuch" in said.err
    assert (output / "robustness_1.png").read_bytes().startswith(b"\x89PNG")


def test_what_it_stands_instead_of_is_refused(
    run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, message in (
        (("--protocols", "knn"), "--protocols must be left out with --robustness"),
        (("--layers",), "--robustness must be left out with --layers"),
    ):
        assert evaluate(monkeypatch, run, "--robustness", *flags, "--device", "cpu") == 2
        assert message in capsys.readouterr().err
