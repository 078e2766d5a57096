"""`darl evaluate` on several data sets and runs: one table, one figure, and failures that are rows."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from darl.cli import main
from darl.data import load
from darl.data.vtab import TASKS
from darl.errors import UserError
from darl.training.pretrain import fit
from tests.data.example_images import pngs, write_folder, write_parquet
from tests.evaluation.example_subjects import CPU, experiment

KNN = ("--protocol", "knn:block=last,readout=mean", "rankme", "--device", "cpu")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two runs' folders."""
    folders = [tmp_path_factory.mktemp("run") for _ in range(2)]
    for seed, folder in enumerate(folders):
        run = experiment(epochs=1, seed=seed)
        list(fit(run, load("digits", image_size=8, channels=1), device=CPU, folder=folder, full=lambda *_: {}))
    return list(map(str, folders))


def evaluate(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The command's exit code."""
    monkeypatch.setattr(sys, "argv", ["darl", "evaluate", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    try:
        main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_runs_and_data_are_one_table_and_a_figure(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The images of the folder are larger and in colour: they are brought to the models' size and channels."""
    names = [f"{split}/{label}/{n}.png" for split in ("train", "val") for label in "ab" for n in range(6)]
    folder = write_folder(tmp_path / "pictures", names)
    output = tmp_path / "out"
    code = evaluate(monkeypatch, *runs, "--data", "digits:0-2", folder, *KNN, "--output", output)
    table = pd.read_parquet(output / "transfer.parquet")
    assert code == 0
    assert set(table["run"]) == set(runs)
    assert list(table["data"].unique()) == ["digits:0-2", str(folder)]
    best = table[table["metric"] == "knn_top1"]
    assert len(best) == 4
    assert best[["value", "half_width", "pixels", "random", "images"]].notna().all(axis=None)
    assert list(best["split"].unique()) == ["held out of train", "validation"]
    assert table["error"].isna().all()
    said = capsys.readouterr().out
    for row in best.itertuples():
        assert f"{row.value:.4f} ± {row.half_width:.4f}" in said
    assert (output / "transfer.png").read_bytes().startswith(b"\x89PNG")


def test_data_that_cannot_be_loaded_is_a_row_and_the_command_goes_on(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    code = evaluate(monkeypatch, runs[0], "--data", "nonesuch", "digits:0-2", *KNN, "--output", output)
    table = pd.read_parquet(output / "transfer.parquet")
    assert code == 1
    failed = table[table["data"] == "nonesuch"]
    assert failed["value"].isna().all()
    assert failed["error"].str.contains("must be digits, .* got 'nonesuch'").all()
    assert table[table["data"] == "digits:0-2"]["value"].notna().all()
    assert "error: 1 of 2 evaluations failed: nonesuch" in capsys.readouterr().err


def test_a_benchmark_counts_the_tasks_that_its_means_hold(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DARL_DATA_ROOT", str(tmp_path))

    def nowhere(*_: object) -> None:
        raise UserError("is not here", field="data")

    for place in ("open_torchvision", "_open_hub"):
        monkeypatch.setattr(f"darl.data.vtab.{place}", nowhere)
    for name in ("dtd", "svhn", "eurosat"):
        for split, count in (("train", 20), ("test", 8)):
            write_parquet(tmp_path / "vtab" / name / f"{split}.parquet", pngs(count), [n % 4 for n in range(count)])
    code = evaluate(monkeypatch, runs[0], "--data", "vtab", *KNN, "--output", tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "transfer.parquet")
    assert code == 1
    assert list(table["data"].unique()) == [f"vtab:{task.name}" for task in TASKS]
    measured = table[table["metric"].eq("knn_top1") & table["value"].notna()]
    assert (list(measured["images"]), list(measured["train_images"])) == ([8] * 3, [20] * 3)
    assert set(measured["split"]) == {"test"}
    assert measured["note"].str.contains("20 training images, all there are").all()
    said = capsys.readouterr()
    values = dict(zip(measured["data"], measured["value"], strict=True))
    natural = (values["vtab:dtd"] + values["vtab:svhn"]) / 2
    assert f"natural: {100 * natural:.1f} %, mean of 2 of 7 tasks; missing: vtab:caltech101, vtab:cifar100" in said.out
    assert "structured: none of 8 tasks" in said.out
    assert f"all: {100 * sum(values.values()) / 3:.1f} %, mean of 3 of 19 tasks" in said.out
    assert "error: 16 of 19 evaluations failed" in said.err


def test_mistakes_are_told_before_anything_runs(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    for flags, message in (
        (("--protocols", "nonesuch"), "--protocols must be one of"),
        (("--layers",), "--layers must be left out with several runs or data sets"),
        (("--data", "digits", "vtab:dogs"), "--data must be vtab or vtab: and one of"),
    ):
        assert evaluate(monkeypatch, *runs, *flags, "--device", "cpu", "--output", output) == 2
        assert message in capsys.readouterr().err
    assert evaluate(monkeypatch, runs[0], tmp_path / "no run", "--device", "cpu") == 2
    assert not output.exists()
