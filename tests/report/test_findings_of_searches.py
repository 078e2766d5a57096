"""Findings on the trials of a search, and on its race on fresh seeds."""

from dataclasses import replace

import pytest

from darl.report.findings import find
from darl.report.terminal import search_summary, summary
from tests.report.conftest import Make
from tests.report.example_answers import column, shown
from tests.report.example_trials import SEARCH, Row, cell


class TestSearch:
    FOUND = (
        cell("paper", 0.60, sweep=SEARCH),
        cell("a=0.1, b=2", 0.70, sweep=SEARCH),
        cell("a=3, b=1", 0.75, sweep=SEARCH, status="stopped"),
    )

    def fresh(self, name: str, *probes: float) -> list[Row]:
        return cell(name, *probes, sweep=SEARCH, first=1)

    def one_falls_behind(self) -> tuple[list[Row], ...]:
        return (
            self.fresh("paper", 0.60, 0.61, 0.62, 0.61),
            self.fresh("a=0.1, b=2", 0.63, 0.64, 0.66, 0.63),
            self.fresh("a=3, b=1", 0.40, 0.42, 0.42),
        )

    def test_before_the_race(self, make: Make):
        (finding,) = find(replace(SEARCH, seeds=1), make(*self.FOUND))
        assert finding.found["cell"].tolist() == ["a=0.1, b=2", "paper"]
        assert finding.found["value"].tolist() == [0.7, 0.6]
        assert finding.table.empty
        assert finding.counts == {"finished": 2, "stopped": 1, "failed": 0, "missing": 0}
        assert finding.sentence == (
            "a=0.1, b=2 is the best of 2 points by linear probe with 70.0 % (one seed), 10.0 points above paper. One "
            "seed decides nothing, and the best of many looks better than it is. Set seeds to 7 to run the best "
            "points again on 6 fresh seeds. The best is 40.0 points above random initialisation."
        )
        assert (
            "The best points still have to run on all fresh seeds; run the same command"
            in find(SEARCH, make())[0].sentence
        )

    def test_the_baseline_leads_before_the_race(self, make: Make):
        (finding,) = find(SEARCH, make(cell("a=0.1, b=2", 0.5, sweep=SEARCH), self.FOUND[0]))
        assert finding.sentence.startswith(
            "paper is the best of 2 points by linear probe with 60.0 % (one seed), which is the baseline. One"
        )

    def test_only_fresh_seeds_are_compared(self, make: Make):
        rows = self.fresh("paper", 0.60, 0.61, 0.62), self.fresh("a=0.1, b=2", 0.63, 0.62, 0.66)
        (finding,) = find(SEARCH, make(*self.FOUND, *rows))
        assert column(finding, "mean") == pytest.approx({"a=0.1, b=2": 0.6367, "paper": 0.61}, abs=1e-4)
        assert column(finding, "planned") == {"a=0.1, b=2": 3, "paper": 3}
        assert finding.sentence.startswith(
            "a=0.1, b=2 leads after the race with 63.7 % ± 5.2 (3 fresh seeds), 2.7 points above paper (95 % interval "
        )
        assert finding.found["value"].tolist() == [0.7, 0.6]

    def test_a_race_that_was_cut_short_is_not_decided(self, make: Make):
        alone = self.fresh("paper", 0.60, 0.61, 0.62)
        (finding,) = find(SEARCH, make(*self.FOUND, alone))
        assert finding.table["cell"].tolist() == ["paper", "a=0.1, b=2"]
        assert (finding.counts["finished"], finding.counts["missing"]) == (5, 3)
        assert "a=0.1, b=2: 0 of 3 seeds" in finding.notes
        assert finding.sentence.startswith("a=0.1, b=2 is the best of 2 points by linear probe with 70.0 % (one")
        assert "paper has 61.0 % ± 2.5 (3 fresh seeds). No other cell has a result to compare it" in finding.sentence
        (finding,) = find(SEARCH, make(*self.FOUND, alone, self.fresh("a=0.1, b=2", 0.63)))
        assert (
            "a=0.1, b=2 has a better mean, 63.0 %, but only 1 of 3 fresh seeds. Of the others, paper, the baseline, "
            "leads the race, which has not ended, with 61.0 % ± 2.5 (3 fresh seeds); on the seeds that both have, "
            "a=0.1, b=2 is 3.0 points above it."
        ) in finding.sentence
        assert finding.counts["missing"] == 2

    def test_a_baseline_without_a_fresh_seed_counts_as_missing(self, make: Make):
        (finding,) = find(SEARCH, make(*self.FOUND, self.fresh("a=0.1, b=2", 0.63, 0.64, 0.65)))
        assert (
            "a=0.1, b=2 has 64.0 % ± 2.5 (3 fresh seeds). No other cell has a result to compare it" in finding.sentence
        )
        assert "paper: 0 of 3 seeds" in finding.notes

    def test_a_dropped_contender_is_not_incomplete(self, make: Make):
        (finding,) = find(replace(SEARCH, seeds=5), make(*self.one_falls_behind()))
        assert finding.table["cell"].tolist()[-1] == "a=3, b=1"
        assert column(finding, "complete")["a=3, b=1"] is True
        assert finding.table["rank"].isna().tolist() == [False, False, True]
        assert finding.notes == ["a=3, b=1: dropped by the race after 3 of 4 seeds"]
        assert "3 of 4 (dropped)" in shown(summary(finding))

    def test_a_contender_not_dropped_is_incomplete(self, make: Make):
        rows = self.fresh("paper", 0.60, 0.61, 0.62), self.fresh("a=3, b=1", 0.60, 0.60)
        (finding,) = find(SEARCH, make(*rows))
        assert finding.notes == ["a=3, b=1: 2 of 3 seeds"]
        assert "2 of 3 (incomplete)" in shown(summary(finding))

    def test_the_baseline_is_never_dropped(self, make: Make):
        (finding,) = find(SEARCH, make(self.fresh("paper", 0.40, 0.41), self.fresh("a=3, b=1", 0.60, 0.62, 0.6)))
        assert finding.notes == ["paper: 2 of 3 seeds"]

    def test_a_former_contender_does_not_keep_the_race_open(self, make: Make):
        sweep = replace(SEARCH, contenders=1)
        rows = self.fresh("paper", 0.60, 0.61, 0.62), self.fresh("a=0.1, b=2", 0.63, 0.62, 0.61)
        (finding,) = find(sweep, make(*self.FOUND, *rows, self.fresh("a=3, b=1", 0.60)))
        assert finding.sentence.startswith("a=0.1, b=2 leads after the race with 62.0 %")
        assert finding.notes == ["a=3, b=1: 1 of 3 seeds, and no longer among the best of the search"]
        assert finding.counts["missing"] == 0
        assert "1 of 3 (overtaken)" in shown(summary(finding))

    @pytest.mark.parametrize(("failures", "sentence"), [(3, "leads after the race"), (2, "leads the race, which")])
    def test_a_trial_that_failed_three_times_ends_the_race(self, make: Make, failures: int, sentence: str):
        rows = self.fresh("paper", 0.60, 0.61, 0.62), self.fresh("a=0.1, b=2", 0.60, 0.60)
        lost = [
            cell("a=0.1, b=2", None, sweep=SEARCH, first=3, status="failed", error="E", attempt=attempt)
            for attempt in range(failures)
        ]
        (finding,) = find(SEARCH, make(*self.FOUND, *rows, *lost))
        assert f"paper, the baseline, {sentence}" in finding.sentence
        assert (finding.counts["failed"], finding.counts["missing"]) == (1, 0)
        why = "; the other trials have no result" if failures == 3 else ""
        assert finding.notes == [f"a=0.1, b=2: 2 of 3 seeds{why}", "failed: E"]

    def test_a_dropped_contender_does_not_lead(self, make: Make):
        left = self.fresh("a=3, b=1", 0.55, 0.57, 0.58)
        rows = self.fresh("paper", 0.6, 0.61, 0.62, 0.2), self.fresh("a=0.1, b=2", 0.63, 0.64, 0.66, 0.22)
        (finding,) = find(replace(SEARCH, seeds=6), make(*rows, left))
        assert finding.sentence.startswith("No cell has all its 5 fresh seeds yet; so far a=0.1, b=2 leads with 53.8 %")
        assert finding.table["cell"].tolist() == ["a=0.1, b=2", "paper", "a=3, b=1"]

    def test_a_former_contender_does_not_lead(self, make: Make):
        rows = self.fresh("paper", 0.6), self.fresh("a=0.1, b=2", 0.61), self.fresh("a=3, b=1", 0.59, 0.58, 0.6)
        (finding,) = find(replace(SEARCH, contenders=1), make(*self.FOUND, *rows))
        assert "a=3, b=1 leads so far, though the search has found better since, with 59.0 %" in finding.sentence

    def test_a_race_without_results(self, make: Make):
        lost = [
            cell(name, None, sweep=SEARCH, first=first, status="failed", error="E", attempt=attempt)
            for name in ("paper", "a=0.1, b=2") for first in (1, 2, 3) for attempt in range(3)
        ]  # fmt: skip
        (finding,) = find(SEARCH, make(*self.FOUND, *lost))
        assert "best of many looks better than it is. No trial on a fresh seed gave a result." in finding.sentence

    def test_the_race_is_by_the_metric_of_the_search(self, make: Make):
        (finding,) = find(replace(SEARCH, seeds=5), make(*self.one_falls_behind()), "knn_top1")
        assert "leads after the race" in finding.sentence
        assert finding.notes == [
            "the search and its race went by linear probe",
            "a=3, b=1: dropped by the race after 3 of 4 seeds",
        ]

    def test_the_table(self, make: Make):
        (finding,) = find(SEARCH, make(*self.FOUND))
        text = shown(search_summary(finding))
        assert "Search by linear probe, one seed each: the best 2 of 2" in text
        first, second = (line for line in text.splitlines() if " s " in line)
        assert all(part in first for part in ("1", "a=0.1, b=2", "70.0 %", "50.0 %", "+40.0", "12 s"))
        assert "paper" in second
        assert "2 finished, 1 stopped early, 0 failed" in text
        assert "the best 1 of 2" in shown(search_summary(finding, top=1))

    def test_nothing_finished(self, make: Make):
        (finding,) = find(SEARCH, make())
        assert finding.sentence == "No trial has finished yet, so there is nothing to compare."
        assert list(finding.found.columns) == [
            "cell",
            "value",
            "gain",
            "over_pixels",
            "probe_top1",
            "init_probe_top1",
            "knn_top1",
            "seconds",
        ]
        assert finding.table.empty
