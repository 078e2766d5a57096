"""The report of a scaling study: its sentences, its record in the folder, its figure."""

from dataclasses import replace

import pytest

from darl.report.collect import findings_of
from darl.report.findings import Findings, find
from darl.report.verdict import Scaled
from darl.results.schema import curves_schema
from darl.sweep.scaling import Scaling
from darl.sweep.scaling_plan import Forecast
from tests.report.example_scaling import STUDY, law, rows_of
from tests.report.example_trials import Row
from tests.report.figures.example_figures import drawn_figure, table

LAST = "width 64, 16 epochs"


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darl.sweep.scaling_law.RESAMPLES", 4)


def finding_of(study: Scaling, rows: list[Row]) -> Findings:
    (finding,) = find(study, table(rows))
    return finding


def verdict_of(study: Scaling, rows: list[Row]) -> Scaled:
    (verdict,) = finding_of(study, rows).verdicts
    assert isinstance(verdict, Scaled)
    return verdict


def foretold(value: float) -> Scaling:
    """The study with its last cell as the next size, for which this loss was foretold, give or take 0.01."""
    forecast = Forecast(value=value, low=value - 0.01, high=value + 0.01)
    return replace(STUDY, next_size=[LAST], forecasts={LAST: forecast})


def test_the_answer_has_the_best_size_the_law_and_the_agreement() -> None:
    rows = rows_of(STUDY)
    said = finding_of(STUDY, rows).sentence
    assert said.startswith("At the largest of 3 budgets width 64, 16 epochs has the lowest loss, ")
    assert "Twice the operations lower the loss by " in said
    assert "by the law of 27 runs, which misses them by 0.1 % (standard deviation)." in said
    assert "The loss foretells the accuracy by linear probe well: lower loss, higher accuracy (Kendall's tau 1" in said
    assert "foretold" not in said


@pytest.mark.parametrize(("shift", "words"), [(0.0, "inside that interval"), (0.05, "below it"), (-0.05, "above it")])
def test_a_forecast_is_compared_with_what_came(shift: float, words: str) -> None:
    own = STUDY.experiment(STUDY.cells[LAST])
    study = foretold(law(own.model_config.flops(), own.epochs * 1408) + shift)
    verdict = verdict_of(study, rows_of(study))
    assert verdict.runs == 24
    assert verdict.best is not None
    assert verdict.best.cell == "width 48, 16 epochs"
    said = finding_of(study, rows_of(study)).sentence
    assert f"For {LAST} the law foretold " in said
    assert "before it ran; it has 0.4" in said
    assert f", {words}." in said


def test_losses_that_mislead_are_said_to() -> None:
    rows = [{**row, "probe_top1": row["val_loss"]} for row in rows_of(STUDY)]
    assert (
        "The loss misleads: runs of lower loss have lower accuracy by linear probe" in finding_of(STUDY, rows).sentence
    )


def test_few_cells_have_no_law() -> None:
    rows = rows_of(STUDY, only=list(STUDY.cells)[:3])
    assert "A law is fitted to 6 cells or more of several sizes and lengths; these are too few." in (
        finding_of(STUDY, rows).sentence
    )


def test_the_last_stage_stands_for_the_one_before_it() -> None:
    first = replace(STUDY, cells={label: point for label, point in STUDY.cells.items() if label != LAST}, budgets={
        label: number for label, number in STUDY.budgets.items() if label != LAST})  # fmt: skip
    trials = table(rows_of(STUDY))
    assert len(findings_of([first], trials, table([]).reindex(columns=curves_schema().names))) == 1
    (only,) = findings_of([first, foretold(0.4)], trials, table([]).reindex(columns=curves_schema().names))
    assert only.sweep.forecasts


def test_groups_have_answers_of_their_own_without_their_name_in_each_cell() -> None:
    cells = {f"{group}: {label}": point | ({"noise.a": 1.0} if group == "b" else {})
             for group in "ab" for label, point in STUDY.cells.items()}  # fmt: skip
    budgets = {label: STUDY.budgets[label.removeprefix("a: ").removeprefix("b: ")] for label in cells}
    study = replace(STUDY, cells=cells, budgets=budgets, groups={label: label[0] for label in cells})
    first, second = find(study, table(rows_of(study)))
    assert first.sentence.startswith("a: At the largest of 3 budgets width 64, 16 epochs has ")
    assert second.sentence.startswith("b: At the largest")


def test_the_figure_has_a_line_for_each_size_and_what_was_foretold() -> None:
    study = foretold(0.4)
    figure = drawn_figure("scaling", finding_of(study, rows_of(study)))
    left, right = figure.figure.axes
    labels = left.get_legend_handles_labels()[1]
    assert labels == ["width 32", "width 48", "width 64", "law, best size", "foretold"]
    losses = {line.get_label(): line.get_ydata() for line in left.lines}
    assert len(losses["width 32"]) == 3
    assert sum(len(line.get_xdata()) for line in right.lines) == 27
    assert f"Foretold: {LAST} 0.4." in figure.alt
