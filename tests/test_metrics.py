"""Metrics: how they are written, and what follows from what they say about themselves."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from darl.metrics import (
    ENLARGED_PROBE,
    GAMMA_GRID,
    GAMMA_LOSSES,
    KNN,
    METRICS,
    PROBE,
    RANKING_METRICS,
    TRAINING_LOSS,
    VALIDATION_LOSS,
    Metric,
)


@pytest.mark.parametrize(
    ("metric", "value", "text", "aligned"),
    [
        (PROBE, 0.6214, "62.1 %", "62.1 %"),
        (KNN, 1, "100.0 %", "100.0 %"),
        (VALIDATION_LOSS, 0.123456, "0.1235", "0.1235"),
        (TRAINING_LOSS, 0.012, "0.012", "0.0120"),
        (GAMMA_LOSSES[0.1], 1.23456, "1.235", "1.2346"),
        (PROBE, math.nan, "", ""),
        (VALIDATION_LOSS, None, "", ""),
    ],
)
def test_accuracies_are_written_in_percent(metric: Metric, value: float | None, text: str, aligned: str) -> None:
    assert metric.format_value(value) == text
    assert metric.format_aligned(value) == aligned


def test_differences_of_accuracies_are_points() -> None:
    assert (PROBE.format_difference(-0.0031), PROBE.format_difference_with_unit(0.0031)) == ("-0.3", "0.3 points")
    assert VALIDATION_LOSS.format_difference(0.0031) == "0.0031"
    assert VALIDATION_LOSS.format_difference_with_unit(0.0031) == "0.0031"


def test_axes_name_the_unit() -> None:
    assert PROBE.axis == "linear probe, top-1 (%)"
    assert VALIDATION_LOSS.axis == "validation loss (MSE)"
    assert GAMMA_LOSSES[0.3].axis == "validation loss at gamma 0.3 (MSE)"


def test_a_sweep_is_not_judged_by_the_training_loss() -> None:
    assert RANKING_METRICS == (
        "probe_top1", "knn_top1", "few_shot_5_top1", "few_shot_10_top1", "attentive_top1", "finetune_top1", "val_loss",
    )  # fmt: skip


def test_every_gamma_has_a_column() -> None:
    assert [metric.column for metric in GAMMA_LOSSES.values()] == [
        f"val_loss_gamma_0_{round(10 * gamma)}" for gamma in GAMMA_GRID
    ]
    assert {metric.column for metric in GAMMA_LOSSES.values()} < METRICS.keys()


def test_gains_over_random_initialisation_are_reported_for_accuracies() -> None:
    assert {METRICS[metric.gain_by or metric.column].unit for metric in METRICS.values()} == {PROBE.unit}
    assert ENLARGED_PROBE.gain_by == ""


HEAVY = {"pandas", "timm", "scipy", "sklearn", "pyarrow", "torchvision", "matplotlib", "ray"}

ALONE = """
import sys, types
package = types.ModuleType("darl")  # without its __init__, which imports more
package.__path__ = [{folder!r}]
sys.modules["darl"] = package
import {modules}
print(*{{name.partition(".")[0] for name in sys.modules}})
"""


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("darl.metrics, darl.aspects", {*HEAVY, "torch"}),
        ("darl.evaluation.protocol, darl.evaluation.standard", HEAVY),
    ],
)
def test_modules_of_definitions_import_nothing_heavy(modules: str, heavy: set[str]) -> None:
    folder = str(Path(__file__).parents[1] / "darl")
    script = ALONE.format(folder=folder, modules=modules)
    names = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not heavy & set(names)
