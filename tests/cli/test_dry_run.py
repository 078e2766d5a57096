"""`--dry-run` prints what a sweep would run and what that costs, and writes nothing."""

from pathlib import Path

import pytest

from darl.cli import dry_run
from darl.data import Dataset
from darl.experiment import Experiment
from darl.model.orders import Order
from darl.results.tables import Results
from darl.sweep.design import Design
from tests.cli.sweep_script import run
from tests.report.example_trials import row


def test_a_dry_run_prints_the_cost_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        monkeypatch,
        "--dry-run",
        "--results",
        str(tmp_path / "results"),
        "--trials",
        "7",
        "--seeds",
        "3",
        "--epochs",
        "2",
    )
    said = capsys.readouterr().out
    assert "Beta(a, b): a log-uniform in [0.003, 10], b in [0.03, 10]" in said
    assert "known point: paper: a=0.03, b=1" in said
    assert "trials: 7 points on seed 0, then the best 3 and the known ones on 2 fresh seeds" in said
    few = "2 fresh seeds: no difference can be distinguished from noise after 5 comparisons"
    assert (
        f"{few}; smallest detectable difference with 6 fresh seeds 6.3 points, with 12 fresh seeds 3.5 points\n" in said
    )
    assert "estimated cost:" in said
    assert "CPU-hours" in said
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ("patch_order", ["cell: raster  (the baseline)", "trials: 28 = 14 cells × seeds 0 to 1"]),
        ("position_encoding", ["cell: rope2d, no mask", "trials: 20 = 10 cells × seeds 0 to 1"]),
        ("objective", ["and 38 cells more", "trials: 100 = 50 cells × seeds 0 to 1"]),
        ("joint", ["order: one of raster", "log-uniform in [0.00025, 0.016]", "one seed: no difference can be"]),
        (
            "tokenizer",
            [
                "cell: 16 tokens → tokens, one epoch",
                "trials: 28 = 14 cells",
                "each: 1 to 2 epochs",
                "before them: dvae",
            ],
        ),
        ("transfer", ["suits digits:5-9?", "cell: best of digits:0-4 on digits:5-9", "trials: 12 = 6 cells"]),
    ],
)
def test_a_dry_run_prints_the_plan_of_every_sweep(
    sweep: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--dry-run", "--seeds", "2", "--epochs", "2", "--results", str(tmp_path / "r"), sweep=sweep)
    said = capsys.readouterr().out
    for text in [*words, "GPU-hours", "PFLOPs"]:
        assert text in said
    assert ("seeds: no difference can be" in said or "smallest difference" in said) == (sweep != "joint")
    assert not (tmp_path / "r").exists()


def test_a_scaling_studys_next_size_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--objective", "mse", "--budgets", "2", "--epochs", "4", "--seeds", "2", "--results", str(tmp_path / "r"))
    run(monkeypatch, "--dry-run", *flags, sweep="scaling")
    said = capsys.readouterr().out
    assert "trials: 12 trials (6 cells, 2 seeds)" in said
    assert "  cell: width 96, 4 epochs\ntrials: 4 trials (2 cells, 2 seeds)" in said
    assert "in all at most 16 trials" in said


LIKE_RAR = ("target_aware", "learned", "learned_hard", "annealed")
"""The orders for each image that need no position encoding."""


@pytest.mark.parametrize(
    ("flags", "cells"),
    [
        (["--orders", "drawn"], ["raster", "two_stream", "position_instruction", *LIKE_RAR]),
        (["--orders", "drawn", "--position", "absent"], ["raster", *LIKE_RAR]),
        (["--objective", "nepa"], [*Order.kinds()]),
        (["--condition", "labels"], [*Order.kinds()]),
    ],
    ids=" ".join,
)
def test_orders_for_each_image_are_cells_where_the_settings_allow_it(
    flags: list[str], cells: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--dry-run", "--seeds", "1", "--epochs", "2", *flags, sweep="patch_order")
    said = capsys.readouterr().out
    assert [line.split()[1] for line in said.splitlines() if line.startswith("  cell: ")] == cells


def test_orders_for_each_image_alone_need_an_objective_that_takes_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--dry-run", "--orders", "drawn", "--objective", "nepa", sweep="patch_order")
    assert ended.value.code == 2
    assert "--objective must be mse or diffusion for --orders drawn, got 'nepa'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(monkeypatch, "--dry-run", "--orders", "drawn", "--condition", "labels", sweep="patch_order")
    assert "--orders must be fixed where one of attention, next_patches, condition, " in capsys.readouterr().err


def test_a_masked_objectives_positions_are_compared_without_the_mask_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--objective", "masked", "--seeds", "2", "--epochs", "2", "--results", str(tmp_path / "r"))
    run(monkeypatch, "--dry-run", *flags, sweep="position_encoding")
    said = capsys.readouterr().out
    assert "trials: 10 = 5 cells × seeds 0 to 1" in said
    assert ", causal" not in said


def test_an_evaluation_reads_all_patches_whatever_training_reads(digits: Dataset) -> None:
    base = Experiment().changed({"objective": "mae", "noise": None, "causal": False, "epochs": 1})
    config, images = base.model_config, 11 * 128
    sweep = Design(name="s", question="?", base=base, cells={"mae": {}}, baseline="mae", seeds=1, evaluations=1)
    assert config.trunk_flops(16) > 2 * config.flops()
    passes = 2 * (len(digits.train) + 2 * len(digits.validation))
    classifiers = 2 * sum(protocol.flops(digits, config) for protocol in sweep.full.members)
    expected = 3 * config.flops() * images + config.trunk_flops(16) * passes + classifiers
    assert dry_run._flops(base, digits, sweep) == pytest.approx(expected)


def test_a_dry_run_counts_trials_that_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Results(str(tmp_path), "patch_order")
    results.prepare()
    for seed, status in enumerate(("finished", "finished", "failed", "finished")):  # the last one of more --seeds
        results.add_trial(row(Experiment(epochs=2, seed=seed), 0.7, status=status))
    results.add_trial(row(Experiment(epochs=3), 0.7))  # of another sweep
    flags = ("--seeds", "3", "--epochs", "2", "--results", str(tmp_path))
    run(monkeypatch, "--dry-run", *flags, sweep="patch_order")
    assert "already finished or stopped and not run again: 2\n" in capsys.readouterr().out


def test_a_dry_run_of_an_incomplete_design(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for trials, words in (("4", "less than one seed of each cell"), ("12", "one seed")):
        flags = ("--orders", "fixed", "--epochs", "2", "--trials", trials, "--results", str(tmp_path))
        run(monkeypatch, "--dry-run", *flags, sweep="patch_order")
        said = capsys.readouterr().out
        assert f"trials: the first {trials} of 24 = 8 cells × seeds 0 to 2\n" in said
        power = (
            "no difference can be distinguished from noise; smallest detectable difference with 6 seeds 6.8 points, "
            "with 12 seeds 3.7 points"
        )
        assert f"\n{words}: {power}\n" in said


def test_a_dry_run_of_an_incomplete_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--design", "grid", "--grid", "2", "--seeds", "2", "--results", str(tmp_path))
    for more, words in (([], "trials: 14 = 7 cells"), (["--trials", "5"], "trials: the first 5 of 14 = 7 cells")):
        run(monkeypatch, "--dry-run", *flags, *more)
        assert f"{words} × seeds 0 to 1\n" in capsys.readouterr().out


def test_a_dry_run_counts_the_yardsticks_and_those_that_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Results(str(tmp_path), "patch_order")
    results.prepare()
    mae = Experiment().changed({"objective": "mae", "noise": None, "causal": False})
    for epochs in (8, 27, 9):  # at equal passes, at equal FLOPs, and of another sweep
        results.add_trial(row(mae.changed({"epochs": epochs}), 0.7))
    flags = ("--dry-run", "--orders", "fixed", "--seeds", "2", "--epochs", "8", "--results", str(tmp_path))
    run(monkeypatch, *flags, "--yardsticks", sweep="patch_order")
    said = capsys.readouterr().out
    assert "  MAE: mae:normalize_target=True,mask_ratio=0.75,decoder_depth=0,decoder_width=0; 0.29 times" in said
    assert "8 epochs, and 27 epochs at equal FLOPs\n" in said
    assert "trials: 16 trials (8 cells beside the leader, 2 seeds)\n" in said
    assert "in all at most 32 trials," in said  # 16 of the sweep
    assert "already finished or stopped and not run again: 2\n" in said
