"""The optimiser and the learning-rate schedule are what their documentation says."""

import math

import pytest
import torch

from darl.experiment import Experiment
from darl.optim import Optimizer, build_optimizer, build_schedule


def test_the_learning_rate_warms_up_and_goes_down_to_nearly_nothing() -> None:
    model = torch.nn.Linear(2, 2)
    config = Optimizer(warmup=0.1)
    optimizer = build_optimizer(model, config, 1.0)
    schedule, rates = build_schedule(optimizer, config, 100), []
    for step in range(1, 101):
        schedule.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    torch.testing.assert_close(torch.tensor(rates[:9]), torch.arange(1, 10) / 10)
    expected = [0.5 * (1 + math.cos(math.pi * step / 101)) for step in range(10, 101)]
    assert rates[9:] == pytest.approx(expected)
    assert rates[-1] < 0.001


def test_vectors_do_not_decay_and_adamw_is_fused() -> None:
    model = Experiment().build()
    optimizer = build_optimizer(model, Optimizer(weight_decay=0.1), 1e-3)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    for name, value in model.named_parameters():
        assert (id(value) in decayed) == (value.ndim > 1 and "start_token" not in name), name
    assert all(group["fused"] for group in optimizer.param_groups)
