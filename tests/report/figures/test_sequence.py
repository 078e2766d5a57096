"""The figure of the loss along the sequence shows the tables' numbers, each cell in its own place."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from darl.metrics import LOSS_BY_PATCH, LOSS_BY_STEP
from darl.report.figures import sequence
from darl.report.figures.figure import ReportFigure
from darl.report.figures.looks import looks
from darl.report.figures.style import applied
from darl.report.findings import Findings
from tests.report.example_trials import ORDERS, THREE, cell
from tests.report.figures.example_figures import curves, orders

CELLS = {
    "raster": {"order": "raster"},
    "two_stream": {"random_order": "two_stream", "causal": False},
    "annealed": {"random_order": "two_stream:0.5,0.75", "causal": False},
}
DRAWN = replace(ORDERS, cells=CELLS)


def with_losses(findings: Findings) -> pd.DataFrame:
    """Curves whose losses say which trial, epoch and step they are of."""
    table = curves(findings.trials)
    numbers = {key: number for number, key in enumerate(findings.trials["trial_id"])}
    base = [numbers[key] + epoch / 10 for key, epoch in zip(table["trial_id"], table["epoch"], strict=True)]
    table[LOSS_BY_STEP] = [list(value + np.arange(16) / 100) for value in base]
    table[LOSS_BY_PATCH] = [list(value + np.arange(16)[::-1] / 100) for value in base]
    return table


def drawn(findings: Findings, table: pd.DataFrame) -> ReportFigure:
    with applied():
        figure = sequence.draw(findings, table)
    assert figure is not None
    return figure


def test_each_cell_has_its_mean_over_seeds_at_the_last_evaluation() -> None:
    findings = orders(*THREE)
    means = sequence.profiles(findings, with_losses(findings), LOSS_BY_STEP)
    for number, name in enumerate(("raster", "hilbert", "spiral")):
        seeds = [3 * number + seed + 0.5 + np.arange(16) / 100 for seed in range(3)]
        np.testing.assert_allclose(means.loc[name], np.mean(seeds, axis=0))


def test_lines_maps_and_words_show_the_numbers() -> None:
    findings = orders(*THREE)
    table = with_losses(findings)
    figure, every = drawn(findings, table), looks(findings)
    steps, patches = (sequence.profiles(findings, table, column) for column in (LOSS_BY_STEP, LOSS_BY_PATCH))
    for name in ("raster", "hilbert", "spiral"):
        above = next(axes for axes in figure.figure.axes if axes.get_title(loc="left") == name)
        below = figure.figure.axes[figure.figure.axes.index(above) + 4]
        np.testing.assert_allclose(np.asarray(above.images[0].get_array()).ravel(), patches.loc[name])
        (own,) = [line for line in below.lines if to_hex(str(line.get_color())) == every[name].color]
        np.testing.assert_allclose(np.asarray(own.get_ydata(), dtype=float), steps.loc[name])
        assert len(below.lines) == 3
        assert (
            f"{name}: {steps.loc[name, 0]:.3g} at the first step, {steps.loc[name, 15]:.3g} at the last" in figure.alt
        )


def test_orders_of_each_image_are_told_apart() -> None:
    findings = orders(*(cell(name, 0.5, sweep=DRAWN) for name in CELLS), sweep=DRAWN)
    figure = drawn(findings, with_losses(findings))
    assert [part.partition(":")[0] for part in figure.alt.partition(". ")[2].split("; ")] == list(CELLS)
    every = looks(findings)
    assert len({(look.color, str(look.dashes)) for look in every.values()}) == 3
    assert every["raster"].color == every["two_stream"].color or every["raster"] != every["two_stream"]


def test_it_is_left_out_where_it_does_not_suit() -> None:
    findings = orders(*THREE)
    assert sequence.draw(findings, curves(findings.trials)) is None  # of an older version
    assert sequence.draw(findings, curves(findings.trials).drop(columns=[LOSS_BY_STEP])) is None
    one = orders(THREE[0])
    assert sequence.draw(one, with_losses(one)) is None
    noises = replace(ORDERS, cells={"a": {"noise.a": 0.1}, "b": {"noise.a": 0.2}}, baseline="a")
    alike = orders(*(cell(name, 0.5, sweep=noises) for name in noises.cells), sweep=noises)
    assert sequence.draw(alike, with_losses(alike)) is None


@pytest.mark.parametrize("failed", [{"status": "failed"}, {"status": "stopped"}])
def test_only_finished_trials_count(failed: dict[str, str]) -> None:
    findings = orders(cell("raster", 0.5), cell("hilbert", 0.6), cell("spiral", 0.7, **failed))
    means = sequence.profiles(findings, with_losses(findings), LOSS_BY_STEP)
    assert set(means.index) == {"raster", "hilbert"}
