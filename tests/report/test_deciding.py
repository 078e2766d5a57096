"""What the report says about the images that decided, and the final figure on a test split."""

from dataclasses import replace

import pandas as pd

from darl.report.collect import findings_of
from darl.report.deciding import on_the_split
from darl.report.findings import Findings, find
from tests.report.example_trials import ORDERS, SEARCH, cell
from tests.report.figures.example_figures import table

HELD_OUT = {"split": "held out of train", "content_validation": 10_000}

FINAL = (
    "decided on 10,000 images held out of the training split; the test split's 5,000 images gave each "
    "finished trial's final figures, and decided nothing"
)


def finding(**values: object) -> Findings:
    """Raster leads; its three seeds have other values on the test split than the others."""
    rows = [
        row | {"test_probe_top1": 0.7 + seed / 100 if values.get("content_test") else None}
        for seed, row in enumerate(cell("raster", 0.80, 0.81, 0.82, **values))
    ]
    (found,) = find(ORDERS, table([*rows, *cell("spiral", 0.7, 0.7, 0.7, **values)]))
    return found


def test_held_out_images_decide_and_the_test_split_is_final() -> None:
    final = "on the test split raster has 71.0 % ± 2.5 by linear probe (3 seeds)"
    assert on_the_split(finding(**HELD_OUT, content_test=5_000)) == [FINAL, final]


def test_without_a_test_split_the_note_says_what_decided() -> None:
    assert on_the_split(finding(**HELD_OUT)) == ["decided on 10,000 images held out of the training split"]
    own = {"split": "validation", "content_validation": 400}
    assert on_the_split(finding(**own)) == ["decided on the 400 images of the validation split"]


def test_rows_of_earlier_versions_say_nothing() -> None:
    assert on_the_split(finding()) == []
    old = finding()
    assert on_the_split(replace(old, trials=old.trials.drop(columns=["split", "content_test"]))) == []


def test_a_search_without_a_race_has_its_best_points_figure() -> None:
    rows = cell("paper", 0.8, sweep=SEARCH, **HELD_OUT, content_test=5_000, test_probe_top1=0.75)
    rows += cell("a=3, b=1", 0.7, sweep=SEARCH, **HELD_OUT, content_test=5_000, test_probe_top1=0.9)
    (found,) = find(SEARCH, table(rows))
    assert on_the_split(found) == [FINAL, "on the test split paper has 75.0 % by linear probe (one seed)"]


def test_the_note_is_among_the_reports_and_other_metrics_have_the_probes_figure() -> None:
    values = {**HELD_OUT, "content_test": 5_000, "few_shot_10_top1": 0.5}
    rows = finding(**values).trials.drop(columns=["cell", "final"])
    (found,) = findings_of([ORDERS], rows, pd.DataFrame(columns=["trial_id"]), "few_shot_10_top1")
    assert FINAL in found.notes
    assert "by linear probe (3 seeds)" in found.notes[found.notes.index(FINAL) + 1]
