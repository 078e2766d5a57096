"""The `darl` command: its output, and one line and exit code 2 for a mistake."""

import subprocess
import sys
from pathlib import Path

import pytest

import darl
from darl.cli import main
from darl.cli.main import COMMANDS
from darl.results.tables import Results
from tests.results.example_tables import row

ROOT = Path(__file__).parents[2]


def test_a_closed_pipe_ends_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "darl.cli", "report", "sweeps/results/patch_order"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""
    assert running.returncode == 1


def test_help_lists_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "argv", ["darl", "--help"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for name, text in COMMANDS.items():
        assert f"{name:12} {text}" in said


@pytest.mark.parametrize("arguments", [[], ["train"], ["--version", "report"]])
def test_an_unknown_command_is_one_line_and_code_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["darl", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_package_exports_its_public_names_and_modules() -> None:
    script = "import darl; print(darl.Experiment.__name__, darl.create_model.__name__, darl.results.load.__name__)"
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == "Experiment create_model load\n"
    assert {"Experiment", "create_model", "results", "data", "__version__"} <= set(dir(darl))
    with pytest.raises(AttributeError, match="module 'darl' has no attribute 'nosuch'"):
        _ = darl.nosuch


def test_doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["darl", "doctor"])
    main()
    said = capsys.readouterr().out
    assert "torch" in said
    assert "digits" in said
    assert "1,438 + 359 images, 10 classes" in said


@pytest.mark.parametrize(("sweeps", "which"), [((), ""), (("noise", "order"), " (in it: noise, order)")])
def test_report_refuses_a_folder_without_a_sweep(
    sweeps: tuple[str, ...], which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in sweeps:
        Results(str(tmp_path), name).prepare()
    monkeypatch.setattr(sys, "argv", ["darl", "report", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    said = f"error: results must be one sweep's folder, RESULTS/SWEEP{which}, got {str(tmp_path)!r}\n"
    assert capsys.readouterr().err == said


def test_report_ranks_by_a_metric_that_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Results(str(tmp_path), "finetune")
    results.prepare()
    results.add_trial(row("aa", probe_top1=None, finetune_top1=0.75))
    monkeypatch.setattr(sys, "argv", ["darl", "report", str(tmp_path / "finetune")])
    main()
    said = capsys.readouterr().out
    assert "Configurations by fine-tuning" in said
    assert "75.0 %" in said


@pytest.mark.parametrize("output", ["nowhere/drawn.png", "drawn.jpg", "drawn", "."])
def test_unwritable_output_is_refused_before_images_are_generated(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["darl", "generate", "any", "--output", str(tmp_path / output)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    said = f"error: --output must be a PNG file in a folder that can be written, got {str(tmp_path / output)!r}\n"
    assert capsys.readouterr().err == said
