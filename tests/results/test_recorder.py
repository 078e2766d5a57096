"""The recorder writes an attempt with its curve, its number and its start."""

from collections import Counter
from datetime import timedelta
from typing import Any

from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.results.recorder import TrialRecorder, attempts_of
from darl.results.rows import now
from darl.results.tables import Results
from darl.training.parallel import Workers

EXPERIMENT = Experiment(model=EncoderConfig(width=16, depth=1, heads=2, patch_size=2), epochs=1)


def evaluation(epoch: int, seconds: float) -> dict[str, Any]:
    metrics = {"probe_top1": 0.5 + epoch / 10, "knn_top1": 0.4, "val_loss": 1.0}
    return {
        "epoch": epoch, "step": epoch, "images_seen": 128 * epoch, "metrics": metrics, "train_loss": None,
        "learning_rate": 0.0, "seconds": seconds, "images_per_second": None,
    }  # fmt: skip


def test_each_attempt_gets_a_row_a_curve_and_the_next_number(results: Results) -> None:
    recorder = TrialRecorder(results, Workers(count=2), Counter())
    recorder.record(EXPERIMENT, [], status="failed", started_at=now(), error="OSError: gone")
    recorder.record(EXPERIMENT, [evaluation(0, 1.0), evaluation(1, 2.0)], status="finished", started_at=now())
    trials = results.trials().sort_values("attempt")
    assert trials[["attempt", "status", "workers", "epochs"]].to_numpy().tolist() == [
        [1, "failed", 2, 0],
        [2, "finished", 2, 1],
    ]
    assert trials["probe_top1"].tolist()[1] == 0.6
    assert trials["flops"].tolist()[1] > 0
    assert results.curves()["attempt"].tolist() == [2, 2]
    assert attempts_of(results.trials()) == {EXPERIMENT.trial_id: 2}


def test_a_resumed_run_is_dated_back_by_the_time_that_it_has_run(results: Results) -> None:
    recorder, began = TrialRecorder(results, Workers(), Counter()), now()
    row = recorder.record(EXPERIMENT, [evaluation(1, 3600.0)], status="finished", started_at=began, host="10.0.0.7")
    assert timedelta(seconds=3590) < began - row["started_at"] <= timedelta(seconds=3600)
    assert row["host"] == "10.0.0.7"
