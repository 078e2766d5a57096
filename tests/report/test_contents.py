"""Rows on other data are kept separate, never averaged with a sweep's own."""

from dataclasses import replace

import pytest

from darl.data.content import DataContent
from darl.report.collect import findings_of
from darl.report.findings import rank
from tests.report.conftest import Make
from tests.report.example_answers import column
from tests.report.example_trials import ORDERS, THREE, cell, row

CONTENT = DataContent(train=80, validation=20, classes=2, fingerprint="a" * 16)
CHANGED = replace(CONTENT, train=81, fingerprint="b" * 16)
KNOWING = replace(ORDERS, contents={"digits": CONTENT})
OTHER = replace(ORDERS, contents={"digits": CHANGED})


def test_rows_on_other_data_are_left_out_with_a_note(make: Make):
    own = [trial for name in ORDERS.cells for trial in cell(name, 0.6, 0.6, 0.6, sweep=KNOWING)]
    trials = make(own, cell("raster", 0.9, 0.9, sweep=OTHER))
    (finding,) = findings_of([KNOWING], trials, trials.head(0))
    assert column(finding, "mean")["raster"] == pytest.approx(0.6)
    assert len(finding.trials) == 9
    assert finding.notes[-1] == (
        "2 rows of other settings are left out (data of other content: 81 + 20 images, 2 classes, fingerprint "
        "bbbbbbbbbbbbbbbb); run the sweep with those settings to report them"
    )


def test_rows_of_older_versions_and_of_moved_data_count(make: Make):
    moved = [row(replace(KNOWING.experiment({"order": "raster"}, 1), data="/moved"), 0.8)]
    trials = make(cell("raster", 0.6), moved, cell("hilbert", 0.7, sweep=KNOWING))
    (finding,) = findings_of([KNOWING], trials, trials.head(0))
    assert column(finding, "mean")["raster"] == pytest.approx(0.7)
    assert len(finding.trials) == 3
    assert not any("other settings" in note for note in finding.notes)


def test_losses_compare_rows_with_and_without_content(make: Make):
    trials = make(cell("raster", 0.6, val_loss=0.3), cell("raster", 0.6, first=1, sweep=KNOWING, val_loss=0.3))
    only = replace(KNOWING, cells={"raster": ORDERS.cells["raster"]})
    (finding,) = findings_of([only], trials, trials.head(0), "val_loss")
    assert column(finding, "mean")["raster"] == pytest.approx(0.3)


class TestRank:
    def test_configurations_on_other_data_are_separate(self, make: Make):
        ranked = rank(make(cell("raster", 0.6, sweep=KNOWING), cell("raster", 0.9, sweep=OTHER)))
        assert ranked["content_train"].tolist() == [81, 80]
        assert ranked["seeds"].tolist() == [1, 1]

    def test_data_sets_are_named_by_differing_addresses(self, make: Make):
        there = replace(OTHER, base=replace(ORDERS.base, data="/there"), contents={"/there": CHANGED})
        ranked = rank(make(cell("raster", 0.6, sweep=KNOWING), cell("raster", 0.9, sweep=there)))
        assert ranked["data"].tolist() == ["/there", "digits"]

    def test_data_that_has_moved_is_one_configuration(self, make: Make):
        there = replace(KNOWING, base=replace(ORDERS.base, data="/there"), contents={"/there": CONTENT})
        ranked = rank(make(cell("raster", 0.6, sweep=KNOWING), cell("raster", 0.8, first=1, sweep=there)))
        assert (ranked["seeds"].tolist(), ranked["probe_top1"].tolist()) == ([2], [pytest.approx(0.7)])

    def test_rows_without_content_join_those_at_their_address(self, make: Make):
        assert rank(make(cell("raster", 0.6), cell("raster", 0.8, first=1, sweep=KNOWING)))["seeds"].tolist() == [2]

    def test_rows_without_content_are_separate_if_the_data_changed(self, make: Make):
        both = make(*THREE, cell("raster", 0.6, first=4, sweep=KNOWING), cell("raster", 0.6, first=5, sweep=OTHER))
        assert sorted(rank(both)["seeds"]) == [1, 1, 3, 3, 3]
