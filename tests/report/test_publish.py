"""The findings on a folder of several sweeps: their order and their notes."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from darl.report import html
from darl.report.collect import findings_of, stages_of
from darl.report.publish import present
from darl.results.tables import Results
from darl.sweep.design import Design
from darl.sweep.record import from_json, to_json
from darl.sweep.search import Search
from darl.sweep.space import BetaByShape
from tests.report.example_trials import NOISES, PAPER, SEARCH, cell, row
from tests.report.figures.example_figures import curves, search_rows, table

FINAL = Design(
    name="search",
    question="Which is it?",
    base=SEARCH.base.changed({"seed": SEARCH.base.seed + 1}),
    cells={"paper": PAPER, "other": NOISES["a=3, b=1"]},
    baseline="paper",
    seeds=2,
)
FIRST = replace(SEARCH, seeds=1)
OTHER = Search(
    name="search",
    question="Which noise on others?",
    base=SEARCH.base.changed({"data": "digits:0-4"}),
    space={"noise": BetaByShape()},
    first={"paper": PAPER},
    baseline="paper",
)


def rows() -> pd.DataFrame:
    """Rows of a search, of another that has just begun, and of the design that was built from both."""
    final = [*cell("paper", 0.8, 0.8, sweep=FINAL), *cell("other", 0.9, 0.9, sweep=FINAL)]
    return table([*search_rows(3), row(OTHER.experiment(PAPER), 0.7), *final])


def test_a_concluding_design_comes_before_its_searches() -> None:
    trials = rows()
    findings = findings_of(from_json(to_json([FIRST, OTHER, FINAL])), trials, curves(trials))
    assert [finding.sweep.question for finding in findings] == [
        "Which is it?",
        SEARCH.question,
        "Which noise on others?",
    ]
    assert not findings[0].notes  # the searches' own trials are nobody's that were left out
    page = html.render(findings, curves(trials), ())
    assert "<title>search: Which is it?</title>" in page


def test_a_search_has_a_note_on_its_pilot() -> None:
    trials = rows()
    reported = curves(trials, epochs=(0, 1, 3, 5))
    _, whole, begun = findings_of([FIRST, OTHER, FINAL], trials, reported)
    (note,) = [note for note in whole.notes if "Kendall" in note]
    assert "over 8 pilot trials: after epoch 1: not defined" in note
    assert begun.notes[-1] == (
        "no trial was stopped early: fewer than 8 have run all their epochs, too few for the pilot"
    )


def test_trials_of_other_settings_are_noted() -> None:
    others = [row(FINAL.experiment(PAPER).changed({"epochs": 9}), 0.7)]
    trials = table([*cell("paper", 0.8, 0.8, sweep=FINAL), *cell("other", 0.9, 0.9, sweep=FINAL), *others])
    (finding,) = findings_of([FINAL], trials, curves(trials))
    remedy = "run the sweep with those settings to report"
    assert finding.notes == [f"1 row of other settings is left out (epochs 9); {remedy} it"]
    many = [FINAL.base.changed({"epochs": epochs, "batch_size": 64, "seed": epochs}) for epochs in (7, 8, 9)]
    trials = table([*others, *(row(experiment, 0.7) for experiment in many)])
    (finding,) = findings_of([FINAL], trials, curves(trials))
    assert finding.notes[-1] == (
        f"4 rows of other settings are left out (3 other values of epochs, batch_size 64); {remedy} them"
    )
    trials["config"] = '{"noise": {"kind": "of later"}}'
    (finding,) = findings_of([FINAL], trials, curves(trials))
    assert finding.notes[-1] == "4 rows of other settings are left out"


def test_a_design_has_a_note_on_enlarged_images() -> None:
    design = replace(FINAL, enlarged=True)
    trials = rows()
    (finding,) = findings_of([design], trials, curves(trials))
    assert not [note for note in finding.notes if "as large" in note]
    trials["probe_top1_enlarged"] = trials["probe_top1"] - 0.1
    (finding,) = findings_of([design], trials, curves(trials))
    (note,) = [note for note in finding.notes if "as large" in note]
    assert note.startswith("on images 1.5 times as large: other leads with 80.0 % (2 seeds), 10.0 points")
    assert "random initialisation" not in note  # of enlarged images, that is not measured


def test_a_search_has_notes_on_its_pilot_and_on_enlarged_images() -> None:
    trials = table(search_rows(3, probe_top1_enlarged=0.5))
    (finding,) = findings_of([replace(FIRST, enlarged=True)], trials, curves(trials, epochs=(0, 1, 3, 5)))
    pilot, enlarged = finding.notes
    assert "8 pilot trials" in pilot
    assert enlarged.startswith("on images 1.5 times as large: ")


def test_a_folder_in_which_all_trials_have_failed_is_a_failure(tmp_path: Path) -> None:
    results = Results(str(tmp_path), FINAL.name)
    results.prepare()
    assert present([FINAL], results, files=False)  # nothing has run yet
    results.add_trial(cell("paper", None, sweep=FINAL, status="failed", error="E")[0])
    assert not present([FINAL], results, files=False)
    results.add_trial(cell("other", 0.9, sweep=FINAL)[0])
    assert present([FINAL], results, files=False)


COMMITTED = Path(__file__).parents[2] / "sweeps" / "results"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in COMMITTED.glob("*/sweep.json")))
def test_the_stored_cifar_answers_match_their_tables(name: str) -> None:
    results = Results(str(COMMITTED), name)
    answer = " ".join((COMMITTED / name / "answer.txt").read_text(encoding="utf-8").split())
    for finding in findings_of(stages_of(results), results.trials(), results.curves()):
        for text in (finding.sentence, *finding.notes):
            assert " ".join(text.split()) in answer
