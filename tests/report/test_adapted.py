"""Where schedules and orders that follow the losses have come to: the notes and the figures."""

from dataclasses import replace

import pytest
import torch

from darl.model.noise import Beta
from darl.report.adapted import learned_schedules, on_adapted, on_learned_orders, places
from darl.report.collect import findings_of
from darl.report.findings import Findings, find
from darl.training.adapted import COLUMNS, ORDER_SCORES, adapted_columns
from tests.report.example_trials import ORDERS, SEARCH, row
from tests.report.figures.example_figures import curves, drawn_figure, search_rows, table

GUEST = {"noise": "infonoise"}
SWEEP = replace(SEARCH, guests={"infonoise": GUEST})


def raced(*ends: Beta) -> Findings:
    """A search, and trials of InfoNoise on fresh seeds that ended at these schedules."""
    rows = [row(SWEEP.experiment(GUEST, repeat), 0.8, **adapted_columns(end)) for repeat, end in enumerate(ends, 1)]
    (finding,) = find(SWEEP, table([*search_rows(), *rows]))
    return finding


def test_its_place_is_the_geometric_mean_over_trials() -> None:
    (name, (a, b, count)), *_ = places(raced(Beta(a=1.0, b=0.2), Beta(a=4.0, b=0.8))).items()
    assert (name, a, b, count) == ("infonoise", pytest.approx(2), pytest.approx(0.4), 2)


def test_the_note_names_the_nearest_beta_beside_the_best_of_the_search() -> None:
    finding = raced(Beta(a=1.0, b=0.2))
    best = finding.found["cell"].iloc[0]
    expected = (
        "infonoise follows the losses: at the end its mean and variance were those of a=1, b=0.2 (one trial); "
        f"the best of the search is {best}"
    )
    assert on_adapted(finding) == [expected]
    (whole,) = findings_of([SWEEP], finding.trials.drop(columns=["cell", "final"]), curves(finding.trials))
    assert expected in whole.notes


def test_the_schedule_is_read_back_from_its_quantiles() -> None:
    schedule = learned_schedules(raced(Beta(a=2.0, b=5.0), Beta(a=2.0, b=5.0)))["infonoise"]
    probability = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    torch.testing.assert_close(
        schedule.quantile(probability), Beta(a=2.0, b=5.0).quantile(probability), rtol=1e-5, atol=0
    )


def test_figures_show_it() -> None:
    finding = raced(Beta(a=1.0, b=0.2))
    chart = drawn_figure("map", finding)
    labels = [text.get_text() for legend in chart.figure.legends for text in legend.get_texts()]
    assert "infonoise at its end (1, 0.2)" in labels
    assert "infonoise is no Beta: shown is the Beta with the mean and variance of its end." in chart.caption
    assert "infonoise (best), as it ended 3 %" in drawn_figure("schedules", finding).alt


def test_tables_without_such_trials_or_columns_have_no_note() -> None:
    (finding,) = find(SEARCH, table(search_rows()))
    assert on_adapted(finding) == []
    old = replace(finding, trials=finding.trials.drop(columns=[*COLUMNS]))
    assert on_adapted(old) == []


LEARNS = {"random_order": "learned", "causal": False}
DRAWN = replace(ORDERS, cells={"raster": {"order": "raster"}, "learned": LEARNS})


def learned(*scores: str) -> Findings:
    """A design with trials of learned orders that ended with these scores."""
    rows = [row(DRAWN.experiment(LEARNS, repeat), 0.8, **{ORDER_SCORES: text}) for repeat, text in enumerate(scores)]
    rows += [row(DRAWN.experiment({"order": "raster"}, repeat), 0.7) for repeat in range(len(scores))]
    (finding,) = find(DRAWN, table(rows))
    return finding


def test_the_note_on_learned_orders_says_how_far_they_are_from_random_and_whether_seeds_agree() -> None:
    rising, falling = (" ".join(str(patch / 15) for patch in path) for path in (range(16), reversed(range(16))))
    early = "a patch of the early quarter comes before one of the late quarter 1.6 times as often as after it"
    assert on_learned_orders(learned(rising)) == [f"learned has learned its orders (one trial): {early}"]
    for second, tau in ((rising, "1.00"), (falling, "-1.00")):
        (note,) = on_learned_orders(learned(rising, second))
        assert note == (
            f"learned has learned its orders (2 trials): {early}; the seeds' orders agree with Kendall's tau {tau}"
        )


def test_the_figure_of_orders_shows_the_most_probable_one() -> None:
    chart = drawn_figure("orders", learned(" ".join(str(patch) for patch in range(16))))
    titles = [axes.get_title(loc="left") for axes in chart.figure.axes]
    assert titles[:2] == ["raster", "learned"]
    path = chart.figure.axes[1].lines[1].get_xydata()
    assert path is not None
    assert [4 * row + column for column, row in path.tolist()] == [*reversed(range(16))]
    assert "Of learned orders the most probable one is shown" in chart.caption
