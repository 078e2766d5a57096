"""One contract for every way to read random orders: a class that is defined goes through it by itself."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from darl.errors import UserError
from darl.experiment import Experiment
from darl.model.config import ModelConfig
from darl.model.darl import Darl
from darl.model.encoder_config import EncoderConfig
from darl.model.noise import Beta
from darl.model.objectives.base import Objective
from darl.model.orders import Hilbert
from darl.model.positions import Rotary2d
from darl.model.random_orders import RandomOrder
from tests.model.counted_operations import counted_operations

ORDERS: list[Any] = [kind() for kind in RandomOrder.kinds().values()]
OBJECTIVES = [kind() for kind in Objective.kinds().values()]
TAKING = [one for one in OBJECTIVES if one.takes_random_order]
REFUSING = [one for one in OBJECTIVES if not one.takes_random_order and one.kind in ("mae", "masked", "nepa")]
ANNEALED = [one for one in ORDERS if one.policy(16) is None]
"""Those whose orders become the fixed one; learned orders do not."""
every_order = pytest.mark.parametrize("order", ORDERS, ids=str)
every_objective = pytest.mark.parametrize("objective", TAKING, ids=str)


def config(order: RandomOrder, objective: Objective) -> ModelConfig:
    return ModelConfig(
        size=EncoderConfig(width=32, depth=2, heads=2, patch_size=2),
        image_size=(8, 8),
        channels=1,
        order=Hilbert(),
        position=Rotary2d(),
        causal=False,
        random_order=order,
        objective=objective,
        noise=Beta() if objective.uses_noise else None,
    )


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@every_order
@every_objective
def test_the_loss_is_finite_and_every_part_of_the_model_learns_from_it(order: RandomOrder, objective: Objective):
    model = config(order, objective).build(0)
    draws = model.draw(range(4), 0)
    out = model(images(), draws)
    assert bool(out["loss"].isfinite())
    assert out["prediction"].shape == (4, 16, 4)
    out["loss"].backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []
    assert torch.equal(model(images(), draws)["loss"], out["loss"])
    assert counted_operations(model, images(), draws) == 4 * model.flops()


@every_order
@every_objective
def test_no_patch_is_predicted_from_itself_or_a_later_one(order: RandomOrder, objective: Objective):
    model = config(order, objective).build(0)
    draws = dict(model.draw(range(1), 0))
    if "gamma" in draws:
        draws["gamma"] = torch.zeros_like(draws["gamma"])
    before, rank = model(images(1), draws)["prediction"], draws["order"].argsort(1)[0]
    for patch in (0, 7, 15):
        row, column = divmod(int(model.order[patch]), 4)
        changed = images(1)
        changed[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 1
        moved = (model(changed, draws)["prediction"] - before)[0].abs().amax(1)
        assert moved[rank <= rank[patch]].max() < 1e-6
        assert rank[patch] == 15 or moved[rank > rank[patch]].min() > 1e-6


@every_order
def test_a_row_draws_the_same_in_any_share_of_the_batch(order: RandomOrder):
    model = config(order, TAKING[0]).build(0)
    for progress in (0.0, 1.0):
        whole, part, other = (
            model.draw(rows, 5, step, progress=progress)["order"]
            for rows, step in ((range(96), 1), (range(30, 40), 1), (range(96), 2))
        )
        assert torch.equal(whole[30:40], part)
        assert torch.equal(whole.sort(1).values, torch.arange(16).expand(96, -1))
        assert not torch.equal(whole, other)


@pytest.mark.parametrize("order", ANNEALED, ids=str)
def test_it_can_be_annealed(order: RandomOrder):
    annealed = config(replace(order, random_until=0.2, fixed_from=0.6), TAKING[0]).build(0)
    fixed = torch.arange(16)
    shares = [
        (annealed.draw(range(64), 0, progress=at)["order"] != fixed).any(1).float().mean() for at in (0.1, 0.4, 0.6)
    ]
    assert shares[0] == 1
    assert 0.2 < shares[1] < 0.8
    assert shares[2] == 0


@every_order
@every_objective
def test_images_are_drawn_and_patches_estimated(order: RandomOrder, objective: Objective):
    model = config(order, objective).build(0)
    assert model.can_draw
    drawn = model.generate(2, steps=1)
    assert drawn.shape == (2, 1, 8, 8)
    assert torch.equal(drawn, model.generate(2, steps=1))
    clean, estimate = model.denoiser(images(), model.draw_orders(range(4), 0))
    assert estimate(torch.zeros_like(clean), torch.zeros(4, 16)).shape == clean.shape == (4, 16, 4)


@every_order
def test_all_weights_follow_from_the_seed(order: RandomOrder):
    first, again, other = (config(order, TAKING[0]).build(seed) for seed in (1, 1, 2))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert "reader" not in name or not torch.equal(value, other.state_dict()[name])


@every_order
@pytest.mark.parametrize("objective", REFUSING, ids=str)
def test_objectives_without_an_order_refuse_it(order: RandomOrder, objective: Objective):
    with pytest.raises(UserError, match=rf"^random_order must be left out for objective {objective.kind}, got '"):
        config(order, objective)


@every_order
def test_it_survives_a_record_and_is_a_column(order: RandomOrder):
    own = Experiment(random_order=order, causal=False)
    assert Experiment.from_record(json.loads(own.to_json())) == own
    assert own.trial_id != Experiment(causal=False).trial_id


@every_order
def test_bfloat16_and_checkpoints_are_taken(order: RandomOrder):
    model: Darl = config(order, TAKING[0]).build(0)
    model.encoder.grad_checkpointing = True
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.train()(images(), model.draw(range(4), 0))["loss"]
    loss.backward()
    assert bool(loss.isfinite())
