"""Trials without a sweep's record: ranked by configuration, answered, and counted."""

import pytest

from darl.experiment import Experiment
from darl.report.findings import counts, rank
from darl.report.terminal import print_ranking, ranking, wide_console
from tests.report.conftest import Make
from tests.report.example_answers import shown
from tests.report.example_trials import SEARCH, THREE, cell, lost, row


class TestRank:
    def test_configurations_are_ranked_by_their_mean_over_seeds(self, make: Make):
        ranked = rank(make(cell("raster", 0.8, 0.6), cell("hilbert", 0.5), cell("spiral", 0.9)))
        assert ranked["rank"].tolist() == [1, 2, 3]
        assert ranked["order"].tolist() == ["spiral", "raster", "hilbert"]
        assert ranked["probe_top1"].tolist() == pytest.approx([0.9, 0.7, 0.5])
        assert ranked["seeds"].tolist() == [1, 2, 1]
        assert list(ranked.columns[:4]) == ["rank", "order", "probe_top1", "seeds"]

    def test_shows_the_fields_that_vary(self, make: Make):
        ranked = rank(make(cell("paper", 0.5, sweep=SEARCH), cell("a=3, b=1", 0.6, sweep=SEARCH)))
        assert list(ranked.columns[:3]) == ["rank", "noise_a", "probe_top1"]
        assert ranked["noise_a"].tolist() == [3.0, 0.03]

    def test_fields_that_only_some_records_have_are_columns(self, make: Make):
        cosine = row(Experiment(epochs=5).changed({"noise": "cosine"}), 0.5)
        ranked = rank(make([cosine], cell("raster", 0.6)))
        assert ranked["noise"].tolist() == ["beta", "cosine"]
        assert ranked["noise_a"].isna().tolist() == [False, True]

    def test_planned_epochs_that_vary_are_one_column(self, make: Make):
        ranked = rank(make(cell("raster", 0.6), [row(Experiment(epochs=9), 0.7, epochs=9)]))
        assert ranked["epochs"].tolist() == [9, 5]
        assert list(ranked.columns).count("epochs") == 1

    def test_the_smallest_loss_is_best(self, make: Make):
        ranked = rank(
            make(cell("paper", 0.6, sweep=SEARCH, val_loss=0.3), cell("a=3, b=1", 0.5, sweep=SEARCH, val_loss=0.1)),
            "val_loss",
        )
        assert ranked["val_loss"].tolist() == [0.1, 0.3]
        assert {"probe_top1", "knn_top1"} <= set(ranked.columns)

    def test_only_finished_trials_with_a_value_count(self, make: Make):
        ranked = rank(make(cell("raster", 0.6, None), cell("hilbert", 0.9, status="stopped"), lost("spiral", 0, "E")))
        assert (ranked["probe_top1"].tolist(), ranked["seeds"].tolist()) == ([0.6], [1])

    def test_a_repeated_trial_counts_once(self, make: Make):
        assert rank(make(cell("raster", 0.6), cell("raster", 0.6, attempt=1)))["seeds"].tolist() == [1]

    def test_nothing_finished(self, make: Make):
        assert rank(make()).empty
        assert rank(make(lost("raster", 0, "E"))).empty


class TestPlain:
    def test_the_answer(self, make: Make):
        table, answer = ranking(make(cell("raster", 0.6), cell("hilbert", 0.65)))
        assert answer == (
            "Best of 2 by linear probe: order hilbert with 65.0 % (one seed). One seed decides nothing, and the best "
            "of many looks better than it is. It is 35.0 points above random initialisation."
        )
        text = shown(table)
        assert all(part in text for part in ("order", "linear probe", "hilbert", "65.0 %", "+35.0", "12 s"))
        assert "2 finished, 0 stopped early, 0 failed" in text

    def test_seeds(self, make: Make):
        table, answer = ranking(make(cell("raster", 0.6, 0.7), cell("hilbert", 0.9)))
        assert "order hilbert with 90.0 % (one seed). The differences are not tested." in answer
        assert "1 of 2" in shown(table)

    def test_title_counts_the_hidden_configurations(self, make: Make):
        text = shown(ranking(make(*THREE), top=2)[0])
        assert "the best 2 of 3" in text
        assert sum(" s " in line for line in text.splitlines()) == 2

    def test_one_configuration(self, make: Make):
        answer = ranking(make(cell("raster", 0.6)))[1]
        assert answer.startswith("The only configuration has 60.0 % (one seed). No other setting was run.")

    def test_by_loss_without_labels(self, make: Make):
        rows = cell("raster", None, init_probe_top1=None, knn_top1=None)
        table, answer = ranking(make(rows), "val_loss")
        assert answer == "The only configuration has 0.2 (one seed). No other setting was run."
        assert "nan" not in shown(table).lower()

    def test_nothing_finished(self, make: Make):
        assert ranking(make())[1] == "No trial has finished yet, so there is nothing to compare."
        assert ranking(make(lost("raster", 0, "E")))[1].startswith("No trial has finished (1 failed)")

    def test_no_gain_over_random_initialisation_of_a_run_from_given_weights(self, make: Make):
        started = row(Experiment(epochs=5, init="sha256:00"), 0.6)
        assert "random initialisation" not in ranking(make([started]))[1]

    def test_data_sets_are_ranked_apart(self, make: Make):
        moved, other = Experiment(epochs=5).changed({"data": "/a"}), Experiment(epochs=5).changed({"data": "/b"})
        trials = make([row(moved, 0.6)], [row(other, 0.9)], cell("raster", 0.5))
        console = wide_console()
        with console.capture() as captured:
            print_ranking(console, trials, "probe_top1")
        text = captured.get()
        headings = {line for line in text.splitlines() if line.startswith("data: ")}
        assert headings == {"data: /a", "data: /b", "data: digits"}
        assert text.count("The only configuration has") == 3
        with console.capture() as captured:
            print_ranking(console, trials.head(0), "probe_top1")
        assert "No trial has finished yet" in captured.get()


def test_counts_trials_by_their_last_attempt(make: Make):
    trials = make(lost("raster", 0, "E"), cell("raster", 0.5, attempt=1), cell("hilbert", 0.4, status="stopped"))
    assert counts(trials) == {"finished": 1, "stopped": 1, "failed": 0}
