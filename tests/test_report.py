"""From trials to an answer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from darl.config import Experiment
from darl.errors import UserError
from darl.report import Findings, counts, find, plain, rank, search_summary, summary
from darl.results import Results, load
from darl.sweep import Design
from tests.trials import ORDERS, PAPER, SEARCH, THREE, Row, cell, lost, row

Make = Callable[..., pd.DataFrame]


@pytest.fixture(params=["load", "pandas"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A frame by way of the files: by our reader, and by pandas alone."""

    def make(*rows: list[Row]) -> pd.DataFrame:
        results = Results(str(tmp_path), "orders")
        results.prepare()
        for one in (one for some in rows for one in some):
            results.add_trial(one)
        read = load if request.param == "load" or not rows else pd.read_parquet
        return read(results.trials_path)

    return make


def shown(table: Table) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def column(findings: Findings, name: str) -> Mapping[str, Any]:
    return findings.table.set_index("cell")[name].to_dict()


class TestDesign:
    def test_the_comparison(self, make: Make):
        (found,) = find(ORDERS, make(*THREE))
        assert found.table["cell"].tolist() == ["hilbert", "raster", "spiral"]
        assert found.table["rank"].tolist() == [1, 2, 3]
        assert found.table["complete"].all()
        best = found.table.iloc[0]
        assert best[["mean", "difference", "gain", "knn_top1"]].tolist() == pytest.approx([0.63, 0.02, 0.33, 0.5])
        # by hand: t is 4.302653; differences of 1, 2 and 3 points have a standard deviation of 1 point
        half = 0.01 * 4.302653 / 3**0.5
        assert best[["difference_low", "difference_high"]].tolist() == pytest.approx([0.02 - half, 0.02 + half])
        assert best[["low", "high"]].tolist() == pytest.approx([0.63 - 2 * half, 0.63 + 2 * half])
        assert best[["seeds", "planned", "pairs"]].tolist() == [3, 3, 3]
        assert best[["seconds", "trials_seconds"]].tolist() == [12.0, 36.0]
        assert column(found, "verdict") == {"hilbert": "inconclusive", "raster": "baseline", "spiral": "inconclusive"}
        assert found.counts == {"finished": 9, "stopped": 0, "failed": 0, "missing": 0}
        assert (found.metric, found.notes, found.found.empty) == ("probe_top1", [], True)

    def test_six_seeds_can_decide(self, make: Make):
        noise = [0.00, 0.01, -0.01, 0.005, 0.0, 0.01]
        rows = (
            cell("raster", *[0.6] * 6),
            cell("hilbert", *(0.65 + value for value in noise)),
            cell("spiral", *[0.6] * 6),
        )
        (found,) = find(replace(ORDERS, seeds=6), make(*rows))
        assert column(found, "verdict") == {"hilbert": "better", "raster": "baseline", "spiral": "inconclusive"}
        assert "above raster (95 %: 4.5 to 6.0): better, with a Holm-corrected p of < 0.001" in found.sentence
        assert "; of 2, 1 better and 0 worse than raster." in found.sentence

    def test_an_incomplete_cell_is_not_ranked(self, make: Make):
        trials = make(*THREE[:2], cell("spiral", 0.99, 0.98))
        (found,) = find(ORDERS, trials)
        assert found.table["cell"].tolist() == ["hilbert", "raster", "spiral"]
        assert found.table["rank"].isna().tolist() == [False, False, True]
        assert column(found, "complete")["spiral"] is False
        assert found.notes == ["spiral: 2 of 3 seeds"]
        assert found.counts["missing"] == 1
        assert found.sentence.startswith("hilbert is best with 63.0 %")

    def test_cells_without_any_result_are_in_the_table(self, make: Make):
        rows = [lost("spiral", repeat, "OutOfMemoryError: too wide") for repeat in range(3)]
        (found,) = find(replace(ORDERS, cells={**ORDERS.cells, "snake": {"order": "snake"}}), make(*THREE[:2], *rows))
        assert found.table["cell"].tolist() == ["hilbert", "raster", "spiral", "snake"]
        assert found.table["mean"].isna().tolist() == [False, False, True, True]
        assert column(found, "seeds")["spiral"] == 0
        assert column(found, "trials_seconds") == {"hilbert": 36, "raster": 36, "spiral": 6, "snake": 0}
        assert found.counts == {"finished": 6, "stopped": 0, "failed": 3, "missing": 3}
        assert found.notes == ["spiral: 0 of 3 seeds", "snake: 0 of 3 seeds", "failed: OutOfMemoryError: too wide"]

    def test_errors_are_told_once_and_three_at_most(self, make: Make):
        rows = [lost("spiral", repeat, f"E{repeat // 2}") for repeat in range(3)]
        more = [lost("hilbert", repeat, f"H{repeat}") for repeat in range(3)]
        (found,) = find(ORDERS, make(*rows, *more))
        told = [note for note in found.notes if "seeds" not in note]
        assert len(told) == 4
        assert len({note for note in told if note.startswith("failed: ")}) == 3
        assert told[-1] == "and 2 other errors"

    def test_only_the_last_attempt_counts(self, make: Make):
        first = cell("raster", None, status="failed", error="E")
        (found,) = find(ORDERS, make(first, cell("raster", 0.6, attempt=1)))
        assert (found.counts["failed"], found.counts["finished"], len(found.trials)) == (0, 1, 1)
        assert found.notes[-1] != "failed: E"

    def test_stopped_trials_are_counted_and_not_averaged(self, make: Make):
        (found,) = find(ORDERS, make(cell("raster", 0.6), cell("raster", 0.9, first=1, status="stopped")))
        assert column(found, "mean")["raster"] == pytest.approx(0.6)
        assert found.counts["stopped"] == 1

    def test_trials_of_other_settings_and_seeds_are_left_out(self, make: Make):
        longer = replace(ORDERS, base=Experiment(epochs=6))
        (found,) = find(ORDERS, make(*THREE, cell("raster", 0.9, sweep=longer), cell("raster", 0.9, first=3)))
        assert column(found, "mean")["raster"] == pytest.approx(0.61)
        assert len(found.trials) == 9
        assert found.notes == ["trials on seeds other than 0 to 2 are left out: 1"]
        assert set(found.trials["cell"]) == set(ORDERS.cells)

    def test_versions_of_the_code(self, make: Make):
        (found,) = find(ORDERS, make(*THREE[1:], cell("raster", 0.6, 0.61, 0.62, git_commit="abc")))
        assert found.notes == ["from 2 versions of the code"]
        assert "9 finished, 0 stopped early, 0 failed; from 2 versions of the code" in shown(summary(found))

    def test_groups_are_compared_each_with_its_baseline(self, make: Make):
        design = replace(
            ORDERS,
            groups={"raster": "rows", "hilbert": "curves", "spiral": "curves"},
            baselines={"curves": "spiral"},
        )
        rows, curves = find(design, make(*THREE))
        assert rows.table["cell"].tolist() == ["raster"]
        assert curves.table["cell"].tolist() == ["hilbert", "spiral"]
        assert column(curves, "verdict")["spiral"] == "baseline"
        assert (set(rows.table["group"]), set(curves.table["group"])) == ({"rows"}, {"curves"})
        assert (rows.counts["finished"], curves.counts["finished"]) == (3, 6)
        assert rows.sentence.startswith("rows: raster has 61.0 %")
        assert "curves by linear probe" in shown(summary(curves))

    def test_by_another_metric(self, make: Make):
        rows = cell("raster", 0.6, probe_top1_enlarged=0.5), cell("hilbert", 0.5, probe_top1_enlarged=0.55)
        (found,) = find(replace(ORDERS, seeds=1), make(*rows), "probe_top1_enlarged")
        assert found.table["cell"].tolist()[0] == "hilbert"
        assert found.table["mean"].tolist()[:2] == [0.55, 0.5]
        assert "The best is 20.0 points above random initialisation by linear probe." in found.sentence


class TestSearch:
    FOUND = (
        cell("paper", 0.60, sweep=SEARCH),
        cell("a=0.1, b=2", 0.70, sweep=SEARCH),
        cell("a=3, b=1", 0.75, sweep=SEARCH, status="stopped"),
    )

    def fresh(self, name: str, *probes: float) -> list[Row]:
        return cell(name, *probes, sweep=SEARCH, first=1)

    def test_before_the_race(self, make: Make):
        (found,) = find(replace(SEARCH, seeds=1), make(*self.FOUND))
        assert found.found["cell"].tolist() == ["a=0.1, b=2", "paper"]
        assert found.found["value"].tolist() == [0.7, 0.6]
        assert found.table.empty
        assert found.counts == {"finished": 2, "stopped": 1, "failed": 0, "missing": 0}
        assert found.sentence == (
            "a=0.1, b=2 is the best of 2 by linear probe with 70.0 %, 10.0 points above paper; one seed decides "
            "nothing, and the best of many looks better than it is: more --seeds run the best again on fresh ones. "
            "The best is 40.0 points above random initialisation."
        )
        assert "the best have yet to run again on fresh seeds." in find(SEARCH, make())[0].sentence

    def test_the_baseline_leads_before_the_race(self, make: Make):
        (found,) = find(SEARCH, make(cell("a=0.1, b=2", 0.5, sweep=SEARCH), self.FOUND[0]))
        assert found.sentence.startswith(
            "paper is the best of 2 by linear probe with 60.0 %, which is the baseline; one"
        )

    def test_only_fresh_seeds_are_compared(self, make: Make):
        rows = self.fresh("paper", 0.60, 0.61, 0.62), self.fresh("a=0.1, b=2", 0.63, 0.62, 0.66)
        (found,) = find(SEARCH, make(*self.FOUND, *rows))
        assert column(found, "mean") == pytest.approx({"a=0.1, b=2": 0.6367, "paper": 0.61}, abs=1e-4)
        assert column(found, "planned") == {"a=0.1, b=2": 3, "paper": 3}
        assert found.sentence.startswith(
            "a=0.1, b=2 is best after the race with 63.7 % ± 5.2 (3 fresh seeds), 2.7 points above paper (95 %: "
        )
        assert found.found["value"].tolist() == [0.7, 0.6]

    def test_a_dropped_contender_is_not_incomplete(self, make: Make):
        rows = (
            self.fresh("paper", 0.60, 0.61, 0.62, 0.61),
            self.fresh("a=0.1, b=2", 0.63, 0.64, 0.66, 0.63),
            self.fresh("a=3, b=1", 0.40, 0.42, 0.42),
        )
        (found,) = find(replace(SEARCH, seeds=5), make(*rows))
        assert found.table["cell"].tolist()[-1] == "a=3, b=1"
        assert column(found, "complete")["a=3, b=1"] is True
        assert found.table["rank"].isna().tolist() == [False, False, True]
        assert found.notes == ["a=3, b=1: dropped by the race after 3 of 4 seeds"]
        assert "3 of 4 (dropped)" in shown(summary(found))

    def test_one_that_has_not_fallen_is(self, make: Make):
        rows = self.fresh("paper", 0.60, 0.61, 0.62), self.fresh("a=3, b=1", 0.60, 0.60)
        (found,) = find(SEARCH, make(*rows))
        assert found.notes == ["a=3, b=1: 2 of 3 seeds"]
        assert "2 of 3 (incomplete)" in shown(summary(found))

    def test_the_baseline_is_never_dropped(self, make: Make):
        (found,) = find(SEARCH, make(self.fresh("paper", 0.40, 0.41), self.fresh("a=3, b=1", 0.60, 0.62, 0.6)))
        assert found.notes == ["paper: 2 of 3 seeds"]

    def test_the_table(self, make: Make):
        (found,) = find(SEARCH, make(*self.FOUND))
        text = shown(search_summary(found))
        assert "Found by linear probe, one seed each: the best 2 of 2" in text
        first, second = (line for line in text.splitlines() if " s " in line)
        assert all(part in first for part in ("1", "a=0.1, b=2", "70.0 %", "50.0 %", "+40.0", "12 s"))
        assert "paper" in second
        assert "2 finished, 1 stopped early, 0 failed" in text
        assert "the best 1 of 2" in shown(search_summary(found, top=1))

    def test_nothing_finished(self, make: Make):
        (found,) = find(SEARCH, make())
        assert found.sentence == "No trial has finished yet, so there is nothing to compare."
        assert list(found.found.columns) == [
            "cell",
            "value",
            "gain",
            "probe_top1",
            "init_probe_top1",
            "knn_top1",
            "seconds",
        ]
        assert found.table.empty


class TestSummary:
    def test_of_a_design(self, make: Make):
        text = shown(summary(find(ORDERS, make(*THREE))[0]))
        first, second, third = (line for line in text.splitlines() if " s " in line)
        parts = (
            "hilbert",
            "63.0 % ± 5.0",
            " 3 ",
            "+2.0 (-0.5 to 4.5)",
            "0.074",
            "inconclusive",
            "50.0 %",
            "+33.0",
            "12 s",
        )
        assert all(part in first for part in parts)
        assert "baseline" in second
        assert "-9.0 (" in third
        assert "9 finished, 0 stopped early, 0 failed" in text
        assert "nan" not in text.lower()

    def test_incomplete_cells_stand_last_and_are_marked(self, make: Make):
        text = shown(summary(find(ORDERS, make(*THREE[:2], cell("spiral", 0.99)))[0]))
        last = [line for line in text.splitlines() if " s " in line][-1]
        assert all(part in last for part in ("–", "spiral", "99.0 %", "1 of 3 (incomplete)", "one seed"))
        assert "7 finished, 0 stopped early, 0 failed, 2 missing" in text

    def test_without_a_baseline_there_are_no_tests(self, make: Make):
        text = shown(summary(find(replace(ORDERS, baseline=None), make(*THREE))[0]))
        assert "verdict" not in text
        assert "63.0 % ± 5.0" in text

    def test_by_neighbours_there_is_one_column_of_them(self, make: Make):
        assert shown(summary(find(ORDERS, make(*THREE), "knn_top1")[0])).count("50.0 %") == 3

    def test_of_nothing(self, make: Make):
        text = shown(summary(find(ORDERS, make())[0]))
        assert "0 finished, 0 stopped early, 0 failed, 9 missing" in text
        assert "0 of 3 (incomplete)" in text


class TestMetric:
    NOISE = replace(ORDERS, cells={"paper": PAPER, "other": {"noise.a": 0.1}}, baseline="paper", seeds=1)

    def one_each(self, sweep: Design, **values: Any) -> list[Row]:
        return [one for name in sweep.cells for one in cell(name, 0.5, sweep=sweep, **values)]

    def test_training_losses_of_different_schedules_are_refused(self, make: Make):
        trials = make(self.one_each(self.NOISE, train_loss=0.1))
        for ask in (lambda: find(self.NOISE, trials, "train_loss"), lambda: rank(trials, "train_loss")):
            with pytest.raises(UserError) as caught:
                ask()
            assert str(caught.value) == (
                "metric must be comparable between trials, got 'train_loss' where noise_a differ: raw pretraining "
                "losses of different noise schedules, targets or orders say how hard the task is, not what the model "
                "has learned; rank by probe_top1, knn_top1 or val_loss"
            )

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"order": "hilbert"}, "order"),
            ({"causal": False}, "causal"),
            ({"model.patch_size": 4}, "model_patch_size"),
            ({"objective": "mse", "noise": None}, "noise, objective"),
            ({"objective.prediction": "eps"}, "objective_prediction"),
        ],
    )
    def test_nor_of_different_tasks(self, make: Make, change: Row, field: str):
        design = replace(ORDERS, cells={"one": {}, "other": change}, baseline="one", seeds=1)
        trials = make(self.one_each(design, train_loss=0.1))
        with pytest.raises(UserError, match=f"got 'train_loss' where .*{field.split(', ')[0]}"):
            find(design, trials, "train_loss")

    def test_training_losses_of_one_task_are_not(self, make: Make):
        trials = make(cell("raster", 0.5, 0.6, train_loss=0.1))
        assert rank(trials, "train_loss")["train_loss"].tolist() == pytest.approx([0.1])
        rates = replace(ORDERS, cells={"low": {"learning_rate": 1e-3}, "high": {"learning_rate": 1e-2}}, baseline="low")
        (found,) = find(rates, make(self.one_each(rates, train_loss=0.2)), "train_loss")
        assert column(found, "mean") == {"low": 0.2, "high": 0.2}

    @pytest.mark.parametrize("metric", ["val_loss", "val_loss_gamma_0_1"])
    @pytest.mark.parametrize("change", [{"objective.normalize_target": True}, {"model.patch_size": 4}])
    def test_validation_losses_of_different_targets_are_refused(self, make: Make, metric: str, change: Row):
        design = replace(ORDERS, cells={"one": {}, "other": change}, baseline="one", seeds=1)
        trials = make(self.one_each(design, val_loss_gamma_0_1=0.1))
        field = next(iter(change)).replace(".", "_")
        with pytest.raises(UserError, match=f"where {field} differ: .*; rank by probe_top1 or knn_top1$"):
            find(design, trials, metric)

    def test_groups_may_differ_in_what_is_not_comparable(self, make: Make):
        design = replace(
            self.NOISE, cells={"small": {}, "large": {"model.patch_size": 4}}, baseline=None,
            groups={"small": "small", "large": "large"},
        )  # fmt: skip
        assert len(find(design, make(self.one_each(design)), "val_loss")) == 2

    def test_an_unknown_one(self, make: Make):
        for ask in (lambda: find(ORDERS, make(*THREE), "accuracy"), lambda: rank(make(*THREE), "accuracy")):
            with pytest.raises(UserError, match=r"^metric must be one of .*probe_top1.*, got 'accuracy'$"):
                ask()

    def test_one_that_no_trial_has(self, make: Make):
        for ask in (lambda: find(ORDERS, make(cell("raster", None))), lambda: rank(make(cell("raster", None)))):
            with pytest.raises(UserError, match=r"^metric must have values; without labels .*, got 'probe_top1'$"):
                ask()


class TestRank:
    def test_best_first_by_the_mean_over_seeds(self, make: Make):
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

    def test_a_field_that_some_do_not_have(self, make: Make):
        cosine = row(Experiment(epochs=5).changed({"noise": "cosine"}), 0.5)
        ranked = rank(make([cosine], cell("raster", 0.6)))
        assert ranked["noise"].tolist() == ["beta", "cosine"]
        assert ranked["noise_a"].isna().tolist() == [False, True]

    def test_planned_epochs_that_vary_are_one_column(self, make: Make):
        ranked = rank(make(cell("raster", 0.6), [row(Experiment(epochs=9), 0.7, epochs=9)]))
        assert ranked["epochs"].tolist() == [9, 5]
        assert list(ranked.columns).count("epochs") == 1

    def test_the_smallest_loss_is_best(self, make: Make):
        ranked = rank(make(cell("raster", 0.6, val_loss=0.3), cell("hilbert", 0.5, val_loss=0.1)), "val_loss")
        assert ranked["val_loss"].tolist() == [0.1, 0.3]
        assert {"probe_top1", "knn_top1"} <= set(ranked.columns)

    def test_only_finished_trials_with_a_value_count(self, make: Make):
        ranked = rank(make(cell("raster", 0.6, None), cell("hilbert", 0.9, status="stopped"), lost("spiral", 0, "E")))
        assert (ranked["probe_top1"].tolist(), ranked["seeds"].tolist()) == ([0.6], [1])

    def test_a_trial_finished_twice_counts_once(self, make: Make):
        assert rank(make(cell("raster", 0.6), cell("raster", 0.6, attempt=1)))["seeds"].tolist() == [1]

    def test_nothing_finished(self, make: Make):
        assert rank(make()).empty
        assert rank(make(lost("raster", 0, "E"))).empty


class TestPlain:
    def test_the_answer(self, make: Make):
        table, answer = plain(make(cell("raster", 0.6), cell("hilbert", 0.65)))
        assert answer == (
            "Best of 2 by linear probe: order hilbert with 65.0 % (one seed); one seed decides nothing, and the best "
            "of many looks better than it is. It is 35.0 points above random initialisation."
        )
        text = shown(table)
        assert all(part in text for part in ("order", "linear probe", "hilbert", "65.0 %", "+35.0", "12 s"))
        assert "2 finished, 0 stopped early, 0 failed" in text

    def test_seeds(self, make: Make):
        table, answer = plain(make(cell("raster", 0.6, 0.7), cell("hilbert", 0.9)))
        assert "order hilbert with 90.0 % (one seed); the differences are not tested." in answer
        assert "1 of 2" in shown(table)

    def test_how_many_more_there_are(self, make: Make):
        text = shown(plain(make(*THREE), top=2)[0])
        assert "the best 2 of 3" in text
        assert sum(" s " in line for line in text.splitlines()) == 2

    def test_one_configuration(self, make: Make):
        answer = plain(make(cell("raster", 0.6)))[1]
        assert answer.startswith("The only configuration has 60.0 % (one seed); there is nothing to compare it with.")

    def test_by_loss_without_labels(self, make: Make):
        rows = cell("raster", None, init_probe_top1=None, knn_top1=None)
        table, answer = plain(make(rows), "val_loss")
        assert answer == "The only configuration has 0.2 (one seed); there is nothing to compare it with."
        assert "nan" not in shown(table).lower()

    def test_nothing_finished(self, make: Make):
        assert plain(make())[1] == "No trial has finished yet, so there is nothing to compare."
        assert plain(make(lost("raster", 0, "E")))[1].startswith("No trial has finished (1 failed)")


def test_counts_trials_by_their_last_attempt(make: Make):
    trials = make(lost("raster", 0, "E"), cell("raster", 0.5, attempt=1), cell("hilbert", 0.4, status="stopped"))
    assert counts(trials) == {"finished": 1, "stopped": 1, "failed": 0}
