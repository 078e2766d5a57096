"""Training with random orders: they are drawn and annealed again exactly on resumption, and in parts."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from darl.data import Dataset
from darl.evaluation.protocol import Protocols
from darl.experiment import Experiment
from darl.model.encoder_config import EncoderConfig
from darl.model.objectives.mse import Mse
from darl.model.random_orders import PositionInstruction, RandomOrder, TargetAware, TwoStream
from darl.training import checkpoint
from darl.training.events import Evaluated, Stepped
from darl.training.pretrain import fit

ANNEALED = TargetAware(random_until=0.25, fixed_from=0.75)
"""Random in the first 4 of 12 steps, the raster in the last 3, and between them both."""
EVALUATED = {"full": Protocols.parse("denoising")}


@pytest.fixture(scope="module")
def small(digits: Dataset) -> Dataset:
    """96 digits to train on: three steps of 32 an epoch."""
    train = dataclasses.replace(digits.train, pixels=digits.train.pixels[:96], labels=digits.train.labels[:96])
    held = digits.validation
    validation = dataclasses.replace(held, pixels=held.pixels[:64], labels=held.labels[:64])
    return dataclasses.replace(digits, train=train, validation=validation)


def experiment(random_order: RandomOrder, **changes: Any) -> Experiment:
    size = EncoderConfig(width=16, depth=1, heads=2, patch_size=2)
    own = {"objective": Mse(), "noise": None, "model": size, "epochs": 4, "batch_size": 32, "causal": False}
    return Experiment(random_order=random_order, **{**own, **changes})


def run(own: Experiment, data: Dataset, **options: Any) -> tuple[list[float], list[Any]]:
    """The losses of all steps, and what the evaluations gave."""
    events = list(fit(own, data, device=torch.device("cpu"), **{**EVALUATED, **options}))
    evaluated = [(event.epoch, event.metrics) for event in events if isinstance(event, Evaluated)]
    return [event.loss for event in events if isinstance(event, Stepped)], evaluated


@pytest.mark.parametrize(
    ("order", "stop"),
    [*((ANNEALED, stop) for stop in (2, 5, 7, 10)), (TwoStream(random_until=0.5), 7), (PositionInstruction(), 5)],
    ids=str,
)
def test_a_run_killed_after_any_checkpoint_is_resumed_bit_for_bit(
    small: Dataset, tmp_path: Path, order: RandomOrder, stop: int
) -> None:
    own, steps = experiment(order), iter(range(1, 13))
    whole, evaluated = run(own, small, folder=tmp_path / "whole")
    first, _ = run(own, small, folder=tmp_path / "cut", stop=lambda: next(steps) == stop)
    newest = checkpoint.latest(tmp_path / "cut")
    rest, again = run(own, small, folder=tmp_path / "cut", resume=newest)
    assert (len(first), len(whole)) == (stop, 12)
    assert first + rest == whole
    assert again == evaluated
    last = [checkpoint.latest(tmp_path / part) / "model.safetensors" for part in ("whole", "cut")]
    assert last[0].read_bytes() == last[1].read_bytes()


def test_orders_are_annealed_by_the_steps_that_were_taken(small: Dataset) -> None:
    """Until the first image is read in the fixed order, and not after it, a run is as one that is never annealed."""
    orders = (TargetAware(), ANNEALED, TargetAware(random_until=0.25))
    never, annealed, slower = (run(experiment(order), small)[0] for order in orders)
    assert annealed[:4] == slower[:4] == never[:4]
    assert all(one != other for one, other in zip(annealed[4:], never[4:], strict=True))
    assert annealed[5:] != slower[5:]


def test_microbatches_give_the_step_of_the_whole(small: Dataset) -> None:
    whole, parts = (run(experiment(ANNEALED, accumulate=accumulate), small)[0] for accumulate in (1, 4))
    torch.testing.assert_close(torch.tensor(parts), torch.tensor(whole), rtol=1e-5, atol=0)
