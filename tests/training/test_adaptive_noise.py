"""A schedule that follows the losses: a run resumes bit for bit, and micro-batches and workers change nothing."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from darl.data import Dataset
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.model.noise import nearest_beta
from darl.model.schedules.infonoise import InfoNoise
from darl.optim import Optimizer
from darl.training import checkpoint
from darl.training.adapted import COLUMNS, ORDER_SCORES
from darl.training.events import Saved
from darl.training.pretrain import fit
from tests.training.example_followers import CPU, columns, losses, nothing, over_two_workers


@pytest.fixture(scope="module")
def small(digits: Dataset) -> Dataset:
    """96 digits to train on: three steps of 32 an epoch."""
    train = dataclasses.replace(digits.train, pixels=digits.train.pixels[:96], labels=digits.train.labels[:96])
    return dataclasses.replace(digits, train=train)


def experiment(**changes: Any) -> Experiment:
    size = EncoderConfig(width=16, depth=1, heads=2, patch_size=2)
    noise, optim = InfoNoise(warmup=2), Optimizer(ema=0.9)
    return Experiment(**{"model": size, "epochs": 4, "batch_size": 32, "noise": noise, "optim": optim, **changes})


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_a_run_killed_while_the_schedule_adapts_is_resumed_bit_for_bit(
    small: Dataset, tmp_path: Path, stop: int
) -> None:
    options: Any = {"device": CPU, "full": nothing, "save_every": 1}
    whole = list(fit(experiment(), small, folder=tmp_path / "whole", **options))
    for event in fit(experiment(), small, folder=tmp_path / "cut", **options):
        if isinstance(event, Saved) and event.step == stop:
            break
    newest = checkpoint.latest(tmp_path / "cut")
    assert newest is not None
    assert newest.name == f"step-{stop:08d}"
    rest = list(fit(experiment(), small, folder=tmp_path / "cut", resume=newest, **options))
    assert losses(rest) == losses(whole)[stop:]
    assert columns(rest) == columns(whole)
    last = [checkpoint.latest(tmp_path / part) for part in ("whole", "cut")]
    for name in ("model.safetensors", "ema.safetensors"):
        assert (last[0] / name).read_bytes() == (last[1] / name).read_bytes()


def test_the_schedule_adapts_and_a_checkpoint_holds_it(small: Dataset, tmp_path: Path) -> None:
    events = list(fit(experiment(), small, device=CPU, full=nothing, folder=tmp_path))
    first, last = columns(events)
    assert first.keys() == last.keys() == COLUMNS.keys() - {ORDER_SCORES}
    assert last["adapted_a"] != first["adapted_a"]
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    model = experiment().build()
    model.load_state_dict(load_file(newest / checkpoint.MODEL_FILE))
    assert model.adaptation is not None
    assert model.adaptation.state_dict()["steps"] == 12
    assert model.schedule is not None
    assert nearest_beta(model.schedule).a == pytest.approx(last["adapted_a"])
    averaged = checkpoint.load_pretrained(tmp_path).model.adaptation  # averaged before the last step's losses count
    assert averaged is not None
    assert averaged.state_dict()["steps"] == 11


def test_microbatches_give_the_step_of_the_whole(small: Dataset) -> None:
    whole, parts = (
        losses(list(fit(experiment(accumulate=count), small, device=CPU, full=nothing))) for count in (1, 4)
    )
    torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), rtol=1e-5, atol=0)


def test_two_workers_agree_and_give_the_trace_of_one(small: Dataset, tmp_path: Path) -> None:
    events = list(fit(experiment(), small, device=CPU, full=nothing))
    together, ended = over_two_workers(experiment(), small, tmp_path)
    torch.testing.assert_close(torch.tensor(together), torch.tensor(losses(events)), rtol=1e-5, atol=0)
    assert ended[-1]["adapted_a"] == pytest.approx(columns(events)[-1]["adapted_a"], rel=1e-4)
