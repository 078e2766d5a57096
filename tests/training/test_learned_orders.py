"""Orders that are learned: a run resumes bit for bit, and micro-batches and workers change nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch

from darl.data import Dataset
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.model.objectives.mse import Mse
from darl.model.random_orders import Learned
from darl.optim import Optimizer
from darl.training import checkpoint
from darl.training.adapted import ORDER_SCORES
from darl.training.events import Saved
from darl.training.pretrain import fit
from tests.training.example_followers import CPU, columns, losses, nothing, over_two_workers


def experiment(**changes: Any) -> Experiment:
    return Experiment(
        **{
            "model": EncoderConfig(width=16, depth=1, heads=2, patch_size=4),
            "epochs": 4,
            "batch_size": 24,
            "objective": Mse(),
            "noise": None,
            "causal": False,
            "random_order": Learned(rate=0.5),
            "optim": Optimizer(ema=0.9),
            **changes,
        }
    )


def scores(evaluations: list[dict[str, Any]]) -> list[list[float]]:
    """The patches' scores at each evaluation."""
    return [[float(score) for score in str(each[ORDER_SCORES]).split()] for each in evaluations]


@pytest.mark.parametrize("stop", [1, 5])
def test_a_run_killed_while_orders_are_learned_is_resumed_bit_for_bit(
    small: Dataset, tmp_path: Path, stop: int
) -> None:
    options: Any = {"device": CPU, "full": nothing, "save_every": 1}
    whole = list(fit(experiment(), small, folder=tmp_path / "whole", **options))
    for event in fit(experiment(), small, folder=tmp_path / "cut", **options):
        if isinstance(event, Saved) and event.step == stop:
            break
    newest = checkpoint.latest(tmp_path / "cut")
    rest = list(fit(experiment(), small, folder=tmp_path / "cut", resume=newest, **options))
    assert losses(rest) == losses(whole)[stop:]
    assert scores(columns(rest)) == scores(columns(whole))
    last = [checkpoint.latest(tmp_path / part) for part in ("whole", "cut")]
    for name in ("model.safetensors", "ema.safetensors"):
        assert (last[0] / name).read_bytes() == (last[1] / name).read_bytes()


def test_scores_begin_equal_and_move_apart_and_the_checkpoint_has_them(small: Dataset, tmp_path: Path) -> None:
    first, last = scores(columns(list(fit(experiment(), small, device=CPU, full=nothing, folder=tmp_path))))
    assert first == [0.0] * 4
    assert max(last) - min(last) > 0.05
    learned = checkpoint.load_pretrained(tmp_path).model.order_policy
    assert learned is not None
    assert bool((learned.strengths != 0).any())


def test_microbatches_give_the_step_of_the_whole(small: Dataset) -> None:
    whole, parts = (list(fit(experiment(accumulate=count), small, device=CPU, full=nothing)) for count in (1, 4))
    torch.testing.assert_close(torch.tensor(losses(parts)), torch.tensor(losses(whole)), rtol=1e-5, atol=0)
    assert scores(columns(parts))[-1] == pytest.approx(scores(columns(whole))[-1], abs=1e-4)


def test_two_workers_agree_and_give_the_trace_of_one(small: Dataset, tmp_path: Path) -> None:
    events = list(fit(experiment(), small, device=CPU, full=nothing))
    together, ended = over_two_workers(experiment(), small, tmp_path)
    torch.testing.assert_close(torch.tensor(together), torch.tensor(losses(events)), rtol=1e-5, atol=0)
    assert scores(ended)[-1] == pytest.approx(scores(columns(events))[-1], abs=1e-4)
