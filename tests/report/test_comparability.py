"""Trials are compared only by metrics that are comparable between them."""

from dataclasses import replace
from typing import Any

import pytest

from darl.errors import UserError
from darl.report.findings import find, rank
from darl.sweep.design import Design
from tests.report.conftest import Make
from tests.report.example_answers import column
from tests.report.example_trials import ORDERS, PAPER, THREE, Row, cell


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
                "has learned; rank by probe_top1, knn_top1, few_shot_5_top1, few_shot_10_top1, attentive_top1, "
                "finetune_top1 or val_loss"
            )

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"order": "hilbert"}, "order"),
            ({"channels": 3}, "channels"),
            ({"causal": False}, "causal"),
            ({"model.patch_size": 4}, "model_patch_size"),
            ({"objective": "mse", "noise": None}, "noise, objective"),
            ({"objective.prediction": "eps"}, "objective_prediction"),
        ],
    )
    def test_training_losses_of_different_tasks_are_refused(self, make: Make, change: Row, field: str):
        design = replace(ORDERS, cells={"one": {}, "other": change}, baseline="one", seeds=1)
        trials = make(self.one_each(design, train_loss=0.1))
        with pytest.raises(UserError, match=f"got 'train_loss' where .*{field.split(', ')[0]}"):
            find(design, trials, "train_loss")

    def test_training_losses_of_one_task_are_compared(self, make: Make):
        trials = make(cell("raster", 0.5, 0.6, train_loss=0.1))
        assert rank(trials, "train_loss")["train_loss"].tolist() == pytest.approx([0.1])
        rates = replace(ORDERS, cells={"low": {"learning_rate": 1e-3}, "high": {"learning_rate": 1e-2}}, baseline="low")
        (found,) = find(rates, make(self.one_each(rates, train_loss=0.2)), "train_loss")
        assert column(found, "mean") == {"low": 0.2, "high": 0.2}

    @pytest.mark.parametrize("metric", ["val_loss", "val_loss_gamma_0_1"])
    @pytest.mark.parametrize(
        "change", [{"objective.normalize_target": True}, {"model.patch_size": 4}, {"order": "hilbert"}, {"channels": 3}]
    )
    def test_validation_losses_of_different_targets_are_refused(self, make: Make, metric: str, change: Row):
        design = replace(ORDERS, cells={"one": {}, "other": change}, baseline="one", seeds=1)
        trials = make(self.one_each(design, val_loss_gamma_0_1=0.1))
        field = next(iter(change)).replace(".", "_")
        with pytest.raises(
            UserError,
            match=f"where {field} differ: .*; rank by probe_top1, .* or finetune_top1$",
        ):
            find(design, trials, metric)

    def test_losses_are_not_advised_for_different_objectives(self, make: Make):
        design = replace(ORDERS, cells={"one": {}, "mse": {"objective": "mse", "noise": None}}, baseline="one", seeds=1)
        trials = make(self.one_each(design, train_loss=0.1))
        for metric in ("val_loss", "train_loss"):
            with pytest.raises(
                UserError,
                match=r"where .*objective.* differ: .*; rank by probe_top1, .* or finetune_top1$",
            ):
                find(design, trials, metric)

    def test_groups_may_differ_in_what_is_not_comparable(self, make: Make):
        design = replace(
            self.NOISE, cells={"small": {}, "large": {"model.patch_size": 4}}, baseline=None,
            groups={"small": "small", "large": "large"},
        )  # fmt: skip
        assert len(find(design, make(self.one_each(design)), "val_loss")) == 2

    def test_an_unknown_metric_is_refused(self, make: Make):
        for ask in (lambda: find(ORDERS, make(*THREE), "accuracy"), lambda: rank(make(*THREE), "accuracy")):
            with pytest.raises(UserError, match=r"^metric must be one of .*probe_top1.*, got 'accuracy'$"):
                ask()

    def test_a_metric_without_values_is_refused(self, make: Make):
        for ask in (lambda: find(ORDERS, make(cell("raster", None))), lambda: rank(make(cell("raster", None)))):
            with pytest.raises(UserError, match=r"^metric must have values; without labels .*, got 'probe_top1'$"):
                ask()
