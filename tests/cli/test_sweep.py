"""A user's mistake is one line that names field, value and remedy, ends with exit code 2, and writes nothing."""

import runpy
import signal
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from darl.cli.flags import Parser
from darl.cli.parser import run_command
from darl.cli.stages import with_flags
from darl.cli.sweep_flags import add_sweep_flags
from darl.experiment import Experiment
from darl.sweep.samplers import GaussianProcess, Random
from darl.sweep.search import Search
from darl.sweep.space import BetaByShape
from darl.training.termination import interrupted_by_termination
from tests.cli.sweep_script import SWEEPS, run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Folders of unusable data, each with another fault."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    pd.DataFrame({"x": [1, 2], "label": [0, 1]}).to_parquet(tmp_path / "blind.parquet")
    (tmp_path / "flat").mkdir()
    for index in range(40):
        pixels = np.random.default_rng(index).integers(0, 255, (8, 8, 3), dtype="uint8")
        Image.fromarray(pixels).save(tmp_path / "flat" / f"{index}.png")
    return tmp_path


MISTAKES = [
    (["--data", "nosuch"], "--data must be digits, a folder of images"),
    (["--data", "{place}/missing"], "--data must be readable"),
    (["--data", "{place}/empty"], "--data must hold images"),
    (["--data", "{place}/torn.parquet"], "--data must hold Parquet files that can be read"),
    (["--data", "{place}/blind.parquet"], "--data must have an image column"),
    (["--data", "{place}/flat", "--batch-size", "8"], "--data must have labels for probe_top1, got"),
    (["--patch-size", "3"], "--image-size must be a multiple of patch_size 3, got 8"),
    (["--noise", "beta:a=-1,b=1"], "noise.a must be positive, got -1.0"),
    (["--noise", "beta:1,-2"], "noise.b must be positive, got -2.0"),
    (["--noise", "gauss"], "--noise must be one of"),
    (["--noise", "cosine"], "--noise must be left to the sweep, which varies it, got 'cosine'"),
    (["--order", "zigzag"], "--order must be one of"),
    (["--objective", "mse"], "--objective must be diffusion"),
    (["--trials", "0"], "argument --trials: must be a whole number of at least 1, got '0'"),
    (["--epochs", "many"], "argument --epochs: must be a whole number of at least 1, got 'many'"),
    (["--model", "giant"], "argument --model: invalid choice: 'giant'"),
    (["--learning-rate", "0"], "--learning-rate must be positive, got 0.0"),
    (["--batch-size", "5000"], "--batch-size must be between 1 and the 1438 training images, got 5000"),
    (["--workers", "4", "--accumulate", "64"], "--accumulate must divide a worker's 16 images of each batch, got 64"),
    (["--workers", "3"], "--batch-size must be a multiple of the 3 workers, got 64"),
    (
        ["--workers", "3", "--batch-size", "48", "--protocols", "few_shot,finetune", "--dry-run"],
        "protocol.batch_size must be a multiple of the 3 workers, got 64; its value is set by --protocols finetune:",
    ),
    (
        ["--workers", "2", "--protocols", "few_shot,finetune:batch_size=30,augmentation=full", "--dry-run"],
        "protocol.batch_size must leave each worker an even number of images: Mixup and CutMix take pairs, got 30",
    ),
    (["--yardsticks", "--seeds", "1"], "--seeds must be 2 or more: a search uses the first, and yardsticks"),
    (["--yardsticks", "--objective-metric", "val_loss"], "--objective-metric must be comparable between trials, got"),
    (["--nonsense"], "unrecognized arguments: --nonsense"),
    (["--data", "digits:4-2"], "--data must be digits or some of its classes 0 to 9, as digits:0-4, got 'digits:4-2'"),
    (["--max-hours", "soon"], "argument --max-hours: must be a number of at least 0, got 'soon'"),
    (["--max-hours", "nan"], "argument --max-hours: must be a number of at least 0, got 'nan'"),
    (["--log", "paper"], "argument --log: invalid choice: 'paper'"),
    (["--max-gpu-hours", "1"], "--max-gpu-hours must come with --gpus-per-worker, got 1.0"),
    (["--set", "optim.clip"], "--set must be FIELD=VALUE, as optim.clip=0.5, got 'optim.clip'"),
    (["--set", "optim.clp=1"], "optim.clp must be a field of Optimizer, one of weight_decay, beta1"),
    (["--set", "optim.clip=-1"], "--set optim.clip must be 0 or more, got -1.0"),
    (["--set", "optim.clip=much"], "--set optim.clip must be a number, got 'much'"),
    (
        ["--noise", "beta:0.1", "--set", "noise.b=2"],
        "--noise must be left to the sweep, which varies it, got 'beta:a=0.1,b=1'",
    ),
    (["--set", "noise.a=1"], "--set noise.a must be left to the sweep, which varies it, got '1'"),
    (["--set", "noise=cosine"], "--set noise must be left to the sweep, which varies it, got 'cosine'"),
    (["--set", "init=sha256:0"], "--set init must be given as --init, got 'sha256:0'"),
    (["--set", "data=nosuch"], "--set data must be given as --data, got 'nosuch'"),
    (
        ["--set", "epochs=2", "patch_size=2"],
        "error: patch_size must be a field of Experiment, one of data, content, image_size",
    ),
    (["--channels", "2"], "--channels must be 1 (grey) or 3 (RGB), got 2"),
    (["--crop-scale", "0"], "--crop-scale must lie in (0, 1], got 0.0"),
    (["--ema", "1"], "--ema must be in [0, 1), got 1.0"),
    (["--patch-size", "8"], "--patch-size must leave more than one patch of image_size 8, got 8"),
    (["--grid", "1", "--design", "grid"], "--grid must be at least 2, got 1"),
    (
        ["--name", "../elsewhere"],
        "--name must start with a letter or digit and hold only letters, digits, '.', '-' and '_', got '../elsewhere'",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_one_line_and_code_2(
    arguments: list[str],
    message: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = place / "results"
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "--results", str(results), *(word.format(place=place) for word in arguments))
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not results.exists()


def searched(*given: str) -> Search:
    """A script's own search, with the flags that are given."""
    parser = Parser()
    add_sweep_flags(parser, trials=3, seeds=1)
    parser.set_defaults(name=None)
    own = Search(
        name="s", question="?", base=Experiment(), space={"noise": BetaByShape()}, metric="knn_top1", evaluations=5,
        sampler=GaussianProcess(startup=3),
    )  # fmt: skip
    changed = with_flags(own, parser.parse_args(given))
    assert isinstance(changed, Search)
    return changed


def test_flags_that_are_not_given_leave_what_the_script_sets() -> None:
    own = searched()
    assert (own.name, own.metric, own.evaluations, own.sampler) == ("s", "knn_top1", 5, GaussianProcess(startup=3))
    changed = searched("--objective-metric", "val_loss", "--evaluations", "2", "--sampler", "random")
    assert (changed.metric, changed.evaluations, changed.sampler) == ("val_loss", 2, Random())


def test_sigterm_ends_a_sweep_as_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    def terminated() -> None:
        with interrupted_by_termination():
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        run_command(terminated, Namespace())
    assert ended.value.code == 143
    assert "run the same command to resume" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_bug_keeps_its_traceback() -> None:
    def broken() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        run_command(broken, Namespace())


def test_a_sweep_whose_losses_are_not_comparable_needs_labels(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "--data", f"{place}/flat", "--batch-size", "8", sweep="patch_order")
    assert stop.value.code == 2
    said = "without them there is val_loss, which does not compare what this sweep varies"
    assert capsys.readouterr().err.endswith(f"; {said}\n")


@pytest.mark.parametrize("data", [["digits"], ["digits:0-4", "digits:5-9", "digits:0-4"]])
def test_transfer_needs_several_data_sets(
    data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "--data", *data, "--results", str(tmp_path / "r"), sweep="transfer")
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: --data must be two or more data sets, each once, got {data}\n"


def test_losses_of_different_targets_are_refused_as_the_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--objective-metric", "val_loss", "--results", str(tmp_path / "r"))
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *flags, sweep="objective")
    assert stop.value.code == 2
    assert "objective_normalize_target" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("sweep", "flags", "message"),
    [
        ("patch_order", (), "--objective must read patches in an order, as mse and diffusion do, got 'mae'"),
        ("joint", (), "--objective must be diffusion: others have no noise schedule, got 'mae'"),
        ("position_encoding", ("--causal",), "--causal must be false for objective mae, got True"),
        (
            "position_encoding", ("--objective-metric", "val_loss"),
            "--objective-metric must be one of probe_top1, knn_top1, few_shot_5_top1, few_shot_10_top1, "
            "attentive_top1, finetune_top1 for objective "
            "mae, got 'val_loss'",
        ),
    ],
)  # fmt: skip
def test_sweeps_that_a_masked_objective_has_no_answer_for_are_refused(
    sweep: str,
    flags: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "--objective", "mae", *flags, "--results", str(tmp_path / "r"), sweep=sweep)
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_the_transfer_matrix_has_fresh_seeds_and_distinct_schedules() -> None:
    transfer = runpy.run_path(str(SWEEPS / "transfer.py"))
    searches = [
        Search(
            name="transfer", question="?", base=Experiment(data=data), space={"noise": BetaByShape()},
            first={"paper": transfer["PAPER_POINT"]},
        )
        for data in ("digits:0-4", "digits:5-9")
    ]  # fmt: skip

    def cells_of(points: list[dict[str, float]]) -> list[str]:
        rows = [
            {"status": "finished", "config": one.experiment(point).to_json(), "probe_top1": 0.5}
            for one, point in zip(searches, points, strict=True)
        ]
        options = SimpleNamespace(flags=SimpleNamespace(seeds=3))
        matrix = transfer["matrix"](options, searches, pd.DataFrame(rows))
        own = {one.experiment(point).trial_id for one, point in zip(searches, points, strict=True)}
        assert not own & {matrix.experiment(point, repeat).trial_id for _, point, repeat in matrix.planned()}
        return list(matrix.cells)

    other = {"noise.a": 0.5, "noise.b": 0.5}
    assert cells_of([transfer["PAPER_POINT"]] * 2) == ["paper on digits:0-4", "paper on digits:5-9"]
    assert len(cells_of([other, other])) == 4
    assert len(cells_of([other, {"noise.a": 0.2, "noise.b": 0.5}])) == 6


def test_help_names_every_flag_of_the_contract_and_every_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "--help")
    assert stop.value.code == 0
    said = capsys.readouterr().out
    flags = "data model image-size patch-size objective epochs batch-size trials seeds max-concurrent workers"
    more = "gpus-per-worker results name dry-run report max-hours max-gpu-hours max-trials log evaluations"
    for flag in [*flags.split(), *more.split()]:
        assert f"--{flag}" in said
    for kind in ("nested_raster", "rope2d", "cosine", "diffusion"):
        assert kind in said
    assert "default: results" in said
