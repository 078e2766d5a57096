"""From trials to an answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from darl.errors import UserError
from darl.report import PAPER, answer, counts, rank, summary
from darl.results import Results, load

Make = Callable[..., pd.DataFrame]


def trial(probe: float | None, *, a: float = 0.03, b: float = 1.0, seed: int = 0, **values: Any) -> dict[str, Any]:
    """A row as a sweep writes it, of a record with the fields that matter here."""
    noise = {"kind": "beta", "a": a, "b": b}
    record = {"noise": noise, "objective": {"kind": "diffusion"}, "seed": seed, "epochs": 5} | values.pop("record", {})
    name = f"{a:g}x{b:g}x{seed}x{json.dumps(values.get('epochs', 5))}".replace(".", "")
    row = {
        "trial_id": name, "attempt": 0, "status": "finished", "seed": seed, "epochs": 5, "config": json.dumps(record),
        "noise": "beta", "noise_a": a, "noise_b": b, "probe_top1": probe, "knn_top1": 0.5, "val_loss": 0.2,
        "init_probe_top1": 0.3, "init_knn_top1": 0.2, "seconds": 12.0, "darl_version": "0.1.0",
    }  # fmt: skip
    return row | values


@pytest.fixture(params=["load", "pandas"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A frame by way of the files: by our reader, and by pandas alone."""

    def make(*rows: dict[str, object]) -> pd.DataFrame:
        results = Results(str(tmp_path), "noise")
        results.prepare()
        for row in rows:
            results.add_trial(row)
        read = load if request.param == "load" or not rows else pd.read_parquet
        return read(results.trials_path)

    return make


def shown(trials: pd.DataFrame, metric: str = "probe_top1", **options: int) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(summary(trials, metric, **options))
    return captured.get()


class TestRank:
    def test_best_first_by_the_mean_over_seeds(self, make: Make):
        ranked = rank(make(trial(0.5, a=0.1), trial(0.8), trial(0.6, seed=1), trial(0.9, a=1.0)))
        assert ranked["rank"].tolist() == [1, 2, 3]
        assert ranked["noise_a"].tolist() == [1.0, 0.03, 0.1]
        assert ranked["probe_top1"].tolist() == pytest.approx([0.9, 0.7, 0.5])
        assert ranked["seeds"].tolist() == [1, 2, 1]

    def test_shows_the_fields_that_vary(self, make: Make):
        ranked = rank(make(trial(0.5, a=0.1), trial(0.6)))
        assert list(ranked.columns[:4]) == ["rank", "noise_a", "probe_top1", "seeds"]
        assert list(ranked.columns[4:]) == ["knn_top1", "init_probe_top1", "init_knn_top1", "epochs", "seconds"]

    def test_shows_kinds_where_they_differ(self, make: Make):
        cosine = trial(0.5, trial_id="cc", noise="cosine", record={"noise": {"kind": "cosine"}})
        ranked = rank(make(trial(0.6), cosine))
        assert ranked["noise"].tolist() == ["beta", "cosine"]
        assert ranked["noise_a"].isna().tolist() == [False, True]

    def test_planned_epochs_that_vary_are_one_column(self, make: Make):
        ranked = rank(make(trial(0.6), trial(0.7, epochs=9, record={"epochs": 9})))
        assert ranked["epochs"].tolist() == [9, 5]
        assert list(ranked.columns).count("epochs") == 1

    def test_the_smallest_loss_is_best(self, make: Make):
        ranked = rank(make(trial(0.6, val_loss=0.3), trial(0.5, a=0.1, val_loss=0.1)), "val_loss")
        assert ranked["val_loss"].tolist() == [0.1, 0.3]
        assert {"probe_top1", "knn_top1"} <= set(ranked.columns)

    def test_only_finished_trials_count(self, make: Make):
        ranked = rank(make(trial(0.6), trial(0.9, a=0.1, status="stopped"), trial(None, a=0.2, status="failed")))
        assert len(ranked) == 1

    def test_a_seed_without_a_value_is_not_counted(self, make: Make):
        ranked = rank(make(trial(0.6), trial(None, seed=1)))
        assert (ranked["probe_top1"].tolist(), ranked["seeds"].tolist()) == ([0.6], [1])

    def test_a_trial_finished_twice_counts_once(self, make: Make):
        assert rank(make(trial(0.6), trial(0.6, attempt=1)))["seeds"].tolist() == [1]

    def test_nothing_finished(self, make: Make):
        assert rank(make()).empty
        assert rank(make(trial(None, status="failed"))).empty


class TestMetric:
    def test_training_losses_of_different_schedules_are_refused(self, make: Make):
        trials = make(trial(0.5, train_loss=0.1), trial(0.6, a=0.1, train_loss=0.2))
        with pytest.raises(UserError) as caught:
            rank(trials, "train_loss")
        assert str(caught.value) == (
            "metric must be comparable between trials, got 'train_loss' where noise_a differ: a noisier schedule has a "
            "larger loss, whatever the model has learned; rank by probe_top1, knn_top1 or val_loss"
        )

    def test_training_losses_of_one_schedule_are_not(self, make: Make):
        trials = make(trial(0.5, train_loss=0.1), trial(0.6, seed=1, train_loss=0.2))
        assert rank(trials, "train_loss")["train_loss"].tolist() == pytest.approx([0.15])

    @pytest.mark.parametrize("metric", ["val_loss", "val_loss_gamma_0_1"])
    def test_losses_of_different_targets_are_refused(self, make: Make, metric: str):
        other = {"objective": {"kind": "diffusion", "normalize_target": True}}
        trials = make(trial(0.5), trial(0.6, trial_id="bb", record=other))
        with pytest.raises(UserError, match=r"objective_normalize_target differ: .*; rank by probe_top1 or knn_top1$"):
            rank(trials, metric)

    def test_an_unknown_one(self, make: Make):
        with pytest.raises(UserError, match=r"^metric must be one of .*probe_top1.*, got 'accuracy'$"):
            rank(make(trial(0.5)), "accuracy")

    def test_one_that_no_trial_has(self, make: Make):
        with pytest.raises(UserError, match=r"^metric must have values; without labels .*, got 'probe_top1'$"):
            rank(make(trial(None)))


def test_counts_trials_by_their_last_attempt(make: Make):
    trials = make(trial(None, status="failed"), trial(0.5, attempt=1), trial(0.4, a=0.1, status="stopped"))
    assert counts(trials) == {"finished": 1, "stopped": 1, "failed": 0}


class TestSummary:
    def test_shows_what_pretraining_gave(self, make: Make):
        text = shown(make(trial(0.6123), trial(0.25, a=0.1), trial(0.9, a=0.2, status="stopped")))
        assert all(header in text for header in ("noise_a", "probe", "random init", "gain", "kNN", "seeds"))
        first, second = (line for line in text.splitlines() if " s " in line)
        assert all(cell in first for cell in ("0.03", "61.2 %", "30.0 %", "+31.2 %", "50.0 %", "12 s"))
        assert "-5.0 %" in second
        assert "90.0 %" not in text
        assert "2 finished, 1 stopped early, 0 failed" in text

    def test_says_how_many_more_there_are(self, make: Make):
        text = shown(make(*(trial(0.5, a=index / 100) for index in range(1, 5))), top=3)
        assert "top 3 of 4 configurations" in text
        assert sum(" s " in line for line in text.splitlines()) == 3

    def test_incomplete_cells_and_several_versions(self, make: Make):
        text = shown(make(trial(0.5), trial(0.6, seed=1), trial(0.7, a=0.1, git_commit="abc")))
        assert "1 of 2" in text
        assert "from 2 versions of the code" in text

    def test_by_loss(self, make: Make):
        text = shown(make(trial(None, init_probe_top1=None), trial(None, a=0.1, val_loss=0.12)), "val_loss")
        assert "validation loss" in text
        assert "0.12" in text
        assert "nan" not in text

    def test_of_nothing(self, make: Make):
        assert "0 finished, 0 stopped early, 0 failed" in shown(make())


class TestAnswer:
    def test_one_seed(self, make: Make):
        trials = make(trial(0.6), trial(0.65, a=0.1, b=2.0))
        assert answer(trials) == (
            "Best of 2 by linear probe: noise_a 0.1, noise_b 2 with 65.0 %, 35.0 points above random initialisation, "
            "5.0 points above the paper's (beta, 0.03, 1); each ran with one seed, so the differences are not tested "
            "and the best of many looks better than it is."
        )

    def test_the_papers_own_is_best(self, make: Make):
        assert "which is the paper's (beta, 0.03, 1);" in answer(make(trial(0.6), trial(0.5, a=0.1)))

    def test_without_the_papers_there_is_no_comparison(self, make: Make):
        assert "paper" not in answer(make(trial(0.6, a=0.2), trial(0.5, a=0.1)))

    def test_seeds(self, make: Make):
        rows = [trial(0.6), trial(0.7, seed=1), trial(0.5, a=0.1), trial(0.5, a=0.1, seed=1)]
        assert "; mean of 2 seeds, and the differences are not tested." in answer(make(*rows))

    def test_incomplete_seeds(self, make: Make):
        trials = make(trial(0.6), trial(0.7, seed=1), trial(0.9, a=0.1))
        assert "; incomplete, 1 of 2 seeds, and the differences are not tested." in answer(trials)

    def test_worse_than_random(self, make: Make):
        assert "with 20.0 %, 10.0 points below random initialisation" in answer(make(trial(0.2)))

    def test_by_loss_without_labels(self, make: Make):
        trials = make(trial(None, val_loss=0.2), trial(None, a=0.1, val_loss=0.15))
        assert answer(trials, "val_loss").startswith(
            "Best of 2 by validation loss: noise_a 0.1 with 0.15, 0.05 below the paper's (beta, 0.03, 1); "
        )

    def test_by_loss_and_by_neighbours(self, make: Make):
        trials = make(trial(0.6), trial(0.5, a=0.1, val_loss=0.15))
        assert " with 0.15, its linear probe 20.0 points above random initialisation, " in answer(trials, "val_loss")
        assert " by kNN: noise_a 0.03 with 50.0 %, 30.0 points above random" in answer(trials, "knn_top1")

    def test_another_baseline(self, make: Make):
        trials = make(trial(0.6), trial(0.65, a=0.1), trial(0.5, a=0.2))
        assert "5.0 points above the baseline (0.03);" in answer(trials, baseline={"noise_a": 0.03})

    def test_one_configuration(self, make: Make):
        text = answer(make(trial(0.6)))
        assert "the only configuration with 60.0 %" in text
        assert text.endswith("there is nothing to compare it with.")

    def test_nothing_finished(self, make: Make):
        assert answer(make()) == "No trial has finished yet, so there is nothing to compare."

    def test_the_paper_is_the_default_baseline(self):
        assert PAPER == {"noise": "beta", "noise_a": 0.03, "noise_b": 1.0}
